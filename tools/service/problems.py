"""Failures as problem documents (RFC 9457), and which status each gets; the one switch.

A family has one status, but for codes that say more precisely what HTTP has a number for. The
document carries our stable code, sentence and hint, which hold no secret.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ledger.errors import LedgerError

TYPE_PREFIX: Final = "urn:credledger:"

_BY_FAMILY: Final = {
    "unexpected": 500,
    "invalid": 422,
    "not-found": 404,
    "refused": 403,
    "conflict": 409,
    "key-unavailable": 503,
    "unavailable": 503,
    "tampered": 503,
}
_BY_CODE: Final = {
    "malformed-body": 400,
    "malformed-header": 400,
    "no-caller": 401,
    "token-refused": 401,
    "method-not-allowed": 405,
    "request-too-slow": 408,
    "body-too-large": 413,
    "unknown-media-type": 415,
    "charset-not-taken": 415,
    "content-encoding-not-taken": 415,
    "wrong-passphrase": 403,
    "wrong-key-file": 403,
    "no-such-slot": 422,
    "sealed": 423,
    "no-ledger": 503,
    "too-many-requests": 429,
}
_TITLES: Final = {
    "unexpected": "Unexpected",
    "invalid": "Invalid",
    "not-found": "Not found",
    "refused": "Refused",
    "conflict": "Conflict",
    "key-unavailable": "Key unavailable",
    "unavailable": "Unavailable",
    "tampered": "Tampered",
}
STATUSES: Final = tuple(sorted({*_BY_FAMILY.values(), *_BY_CODE.values()}))
CLOSING: Final = frozenset({408, 413})
"""Statuses of requests that are not read to their end, so that nothing can follow them."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failure, as RFC 9457 has it."""

    type: Annotated[str, Meta(description="urn:credledger: and the code.")]
    title: Annotated[str, Meta(description="The family of the error.")]
    status: int
    code: Annotated[str, Meta(description="Stable; programs match on it.")]
    detail: Annotated[str, Meta(description="One sentence.")]
    hint: Annotated[str, Meta(description="What to do next.")] = ""
    position: Annotated[int, Meta(description="Where in the log it stands.")] | None = None
    credential_page: (
        Annotated[str, Meta(description="Where the owner can set the missing credentials.")] | None
    ) = None


def status_of(error: LedgerError) -> int:
    """The status of an error."""
    return _BY_CODE.get(error.code) or _BY_FAMILY.get(error.family, 500)


def problem_of(error: LedgerError) -> Problem:
    """The document of an error."""
    return Problem(
        f"{TYPE_PREFIX}{error.code}",
        _TITLES.get(error.family, "Unexpected"),
        status_of(error),
        error.code,
        error.message,
        error.hint,
        error.position,
        error.credential_page,
    )
