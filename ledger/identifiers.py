"""Names of things, each in one canonical form made before any decision.

A *name* (application ID, field name) is compared casefolded after NFC and shown as first
written; a *position* is a place in the log, a *version* a place in a stream or a count of a
mapping's values, an *epoch* a generation of keys. The three numbers are different types, so that
a checker refuses to mix them.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from typing import NewType

from ledger.errors import InvalidInput

Position = NewType("Position", int)
Version = NewType("Version", int)
Epoch = NewType("Epoch", int)
Period = NewType("Period", int)
"""A UTC month as the number YYYYMM, such as 202611."""

LedgerId = NewType("LedgerId", bytes)
"""32 bytes: SHA-256 over a label, the first operator's public signing key, and the salt."""

StreamId = NewType("StreamId", bytes)
"""16 bytes: a keyed digest, so that stored bytes do not tell whose stream it is."""

SlotId = NewType("SlotId", int)

_LEDGER_LABEL = b"credledger/v1/ledger"

APPLICATION_ID_LENGTH_MAX = 128
FIELD_NAME_LENGTH_MAX = 128
HOLD_NAME_LENGTH_MAX = 128
WRITTEN_LENGTH_MAX = 1024
"""A name with everything around it that its form leaves out; looked at before anything is done."""
NAME_MARKS = "_."
"""What may stand in a name besides letters, digits, `-` and, between others, blanks."""

_NAME = re.compile(rf"[\w{re.escape(NAME_MARKS)} \-]+")


def ledger_id_of(first_public_key: bytes, salt: bytes) -> bytes:
    """The ledger id: whoever pins it pins the first operator's key, and by it all signers."""
    return hashlib.sha256(_LEDGER_LABEL + first_public_key + salt).digest()


def application_key(text: str) -> str:
    """The form in which application IDs are compared; `invalid-application-id` if it is none."""
    if len(text) > WRITTEN_LENGTH_MAX:
        raise _too_long(APPLICATION_ID_LENGTH_MAX, "application ID", "invalid-application-id")
    return _application_key(text)


def field_key(text: str) -> str:
    """The form in which field names are compared; `invalid-field-name` if it is none."""
    if len(text) > WRITTEN_LENGTH_MAX:
        raise _too_long(FIELD_NAME_LENGTH_MAX, "field name", "invalid-field-name")
    return _field_key(text)


def hold_key(text: str) -> str:
    """The form in which names of holds are compared; `invalid-hold` if it is none."""
    if len(text) > WRITTEN_LENGTH_MAX:
        raise _too_long(HOLD_NAME_LENGTH_MAX, "hold's name", "invalid-hold")
    return _name_key(text, HOLD_NAME_LENGTH_MAX, "hold's name", "invalid-hold")


def display_name(text: str) -> str:
    """The form in which a name is shown: as written, NFC, without blanks around it."""
    return unicodedata.normalize("NFC", text).strip()


@functools.lru_cache(maxsize=16384)
def _application_key(text: str) -> str:
    return _name_key(text, APPLICATION_ID_LENGTH_MAX, "application ID", "invalid-application-id")


@functools.lru_cache(maxsize=8192)
def _field_key(text: str) -> str:
    return _name_key(text, FIELD_NAME_LENGTH_MAX, "field name", "invalid-field-name")


def _too_long(length_max: int, what: str, code: str) -> InvalidInput:
    return InvalidInput(code, f"The {what} must have 1 to {length_max} characters.")


def _name_key(text: str, length_max: int, what: str, code: str) -> str:
    shown = display_name(text)
    if not 1 <= len(shown) <= length_max:
        raise _too_long(length_max, what, code)
    if not _NAME.fullmatch(shown):
        raise InvalidInput(
            code,
            f"The {what} may hold letters, digits, '-', '_', '.' and spaces only.",
        )
    # Casefolding can undo NFC (e.g. U+0345), so the form is made stable by a second NFC.
    return unicodedata.normalize("NFC", shown.casefold())
