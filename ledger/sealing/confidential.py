"""What holds a key or a passphrase: it is never stored, copied to another process or printed.

But for the keys of `state` and `access`, and of streams' names, which `handed_over` tells the
processes that decide accesses again (decision 30) and that check archives (decision 29).
"""

from __future__ import annotations

from typing import Self

from ledger.discreet import Discreet


class Confidential(Discreet):
    """Refuses to be pickled, and is printed without its secrets."""

    __slots__ = ()

    def __reduce__(self) -> str:
        raise TypeError(f"{type(self).__name__} holds secrets and is never stored")

    def __copy__(self) -> Self:
        """As little as it is stored; a struct would make one."""
        raise TypeError(f"{type(self).__name__} holds secrets and is never stored")
