"""Which exit code each family of errors gets; the one switch.

0 done · 1 unexpected · 2 invalid · 3 not found · 4 refused · 5 conflict · 6 key unavailable ·
7 unavailable · 8 tampered · 130 interrupted, as shells say it
"""

from __future__ import annotations

from typing import Final

DONE: Final = 0
UNEXPECTED: Final = 1
INTERRUPTED: Final = 130

EXIT_CODES: Final = {
    "unexpected": UNEXPECTED,
    "invalid": 2,
    "not-found": 3,
    "refused": 4,
    "conflict": 5,
    "key-unavailable": 6,
    "unavailable": 7,
    "tampered": 8,
}


def exit_code(family: str) -> int:
    """The exit code of a family of errors; 1 for a family that nobody knows."""
    return EXIT_CODES.get(family, UNEXPECTED)
