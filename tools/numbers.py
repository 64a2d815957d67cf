"""How large a number may be that somebody gives: a place in the log, a version, a count.

Every reader of JSON tells whole numbers up to this one apart, those that keep them in a double as
well, and either store holds it with room for the next one. It is written in the digits 0 to 9: no
signs, no blanks, nothing between digits, and no other script's digits, though Python takes them.
"""

from __future__ import annotations

from typing import Final

NUMBER_MAX: Final = (1 << 53) - 1


def is_digits(text: str) -> bool:
    """Whether a text is a number as people write a position."""
    return text.isascii() and text.isdecimal()
