"""Problem documents (RFC 9457) as the errors of `ledger.errors`, told apart by their titles.

The code, sentence and hint are the service's own. What is no problem document of ours, because some
machine in between answered, becomes `answer-unreadable`, or `service-unavailable` from 500 on.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ledger.errors import (
    Conflict,
    InvalidInput,
    KeyUnavailable,
    LedgerError,
    NotFound,
    Refused,
    Tampered,
    Unavailable,
)
from tools.client.answers import unreadable

PROBLEM_BYTES_MAX = 64 * 1024
_BY_TITLE: Final = {
    "Invalid": InvalidInput,
    "Not found": NotFound,
    "Refused": Refused,
    "Conflict": Conflict,
    "Key unavailable": KeyUnavailable,
    "Unavailable": Unavailable,
    "Tampered": Tampered,
}


class _Problem(msgspec.Struct):
    title: str
    code: str
    detail: str
    hint: str = ""
    position: int | None = None
    credential_page: str | None = None


def error_of(status: int, content: bytes) -> LedgerError:
    """The error that an answer other than 200 tells."""
    if len(content) <= PROBLEM_BYTES_MAX:
        try:
            told = msgspec.json.decode(content, type=_Problem)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
        else:
            return _BY_TITLE.get(told.title, LedgerError)(
                told.code,
                told.detail,
                hint=told.hint,
                position=told.position,
                credential_page=told.credential_page,
            )
    if status >= 500:
        return Unavailable(
            "service-unavailable",
            f"Something before the service answered with status {status}.",
            hint="Look at the proxy between; the service's own answers say more.",
        )
    return unreadable()
