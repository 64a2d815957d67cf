"""Who acts in a use case, why, and under which retry key."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ledger.aggregates.event import Event
from ledger.aggregates.retry_keys import RetryKeyTaken
from ledger.errors import Conflict, InvalidInput, Tampered
from ledger.policy import Caller

REASON_LENGTH_MAX = 1000


class RetryKey(NamedTuple):
    """A client's word that this is one request, however often it is sent.

    It is kept in the sealed events of the change. The same caller's request with the same key is
    carried out once; sent again, it gets the outcome that it had.
    """

    operation: str
    """The same key of another operation is another request."""
    key: str
    asked: str
    """A digest of what was asked for, without values: those are compared with the stored ones."""

    def __str__(self) -> str:
        return f"{self.operation} {self.key} {self.asked}"

    def is_of(self, request: str | None) -> bool:
        """Whether an event carries this key; `retry-key-reused` if it does for something else."""
        if request is None or not request.startswith(f"{self.operation} {self.key} "):
            return False
        if request != str(self):
            raise retry_key_reused()
        return True

    def require_same(self, taken: Event) -> None:
        """`retry-key-reused` where the key was taken for something else."""
        if not isinstance(taken, RetryKeyTaken):
            raise Tampered("wrong-stream", "A retry key's stream tells of something else.")
        if taken.asked != self.asked:
            raise retry_key_reused()


class Acting(msgspec.Struct, frozen=True):
    """A caller with a reason; without a caller it is the slot that is unlocked."""

    caller: Caller | None = None
    reason: str = ""
    retry: RetryKey | None = None

    @property
    def request(self) -> str | None:
        """What events keep of the retry key."""
        return None if self.retry is None else str(self.retry)

    def __post_init__(self) -> None:
        checked_reason(self.reason)


def retry_key_reused() -> Conflict:
    """For a key that came with another request before."""
    return Conflict(
        "retry-key-reused",
        "This retry key stands for another request already.",
        hint="Take a new key for each change, and the same one only to send it again.",
    )


def checked_reason(reason: str) -> str:
    """The reason as it was given; `invalid-reason` if it is too long or no text."""
    if len(reason) > REASON_LENGTH_MAX:
        raise InvalidInput(
            "invalid-reason", f"A reason has at most {REASON_LENGTH_MAX} characters."
        )
    if not reason.isascii() and any("\ud800" <= character <= "\udfff" for character in reason):
        raise InvalidInput("invalid-reason", "A reason is valid Unicode text.")
    return reason
