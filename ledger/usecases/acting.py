"""Who acts in a use case, and why."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.errors import InvalidInput
from ledger.policy import Caller

REASON_LENGTH_MAX = 1000


@dataclass(frozen=True, slots=True)
class Acting:
    """A caller with a reason; without a caller it is the slot that is unlocked."""

    caller: Caller | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        checked_reason(self.reason)


def checked_reason(reason: str) -> str:
    """The reason as it was given; `invalid-reason` if it is too long or no text."""
    if len(reason) > REASON_LENGTH_MAX:
        raise InvalidInput(
            "invalid-reason", f"A reason has at most {REASON_LENGTH_MAX} characters."
        )
    if not reason.isascii() and any("\ud800" <= character <= "\udfff" for character in reason):
        raise InvalidInput("invalid-reason", "A reason is valid Unicode text.")
    return reason
