"""A struct like another one but for some fields, as a type checker sees it.

`mypy` holds what is given to `dataclasses.replace` against the names and types of the fields, and
that of msgspec against nothing. Structs are dataclasses to it, so it is shown the former.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import replace
else:
    from msgspec.structs import replace

__all__ = ["replace"]
