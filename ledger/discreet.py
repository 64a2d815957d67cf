"""What is printed of a struct that holds more than anybody should read."""

from __future__ import annotations

from typing import Any, ClassVar


class Discreet:
    """Tells the fields in `SHOWN` when it is printed, and no others."""

    __slots__ = ()
    SHOWN: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({told})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The same for `rich`, which asks structs past their `repr`."""
        return [(name, getattr(self, name)) for name in self.SHOWN]
