"""Every failure a user can meet, as one tree, sorted by who can act on it.

    LedgerError
    ├── InvalidInput     the caller: the words or values are off
    ├── NotFound         the caller: nothing of that name is here
    ├── Refused          an administrator: the rules say no
    ├── Conflict         the caller: something is there already, or changed meanwhile
    ├── KeyUnavailable   the operator: the keyring or its passphrase does not open this
    ├── Unavailable      the operator: store, disk or clock
    └── Tampered         the auditor: stored bytes are not what was signed

A *code* is stable (scripts match on it), a *message* is one sentence, a *hint* says what to do
next. None of the three ever holds a field value, a passphrase or a key. Text that came from
outside is put in only where the caller supplied it in this very call.
"""

from __future__ import annotations

from typing import ClassVar

NEEDS_OPERATOR = "Unlock with an operator's keyring and slot."
"""The hint of each `operator-needed`."""


class LedgerError(Exception):
    """A failure with a stable code, one sentence and a hint."""

    family: ClassVar[str] = "unexpected"
    code: str
    default_hint: ClassVar[str] = ""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        position: int | None = None,
        credential_page: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.position = position
        """Where in the log the refusal or the damage stands, if it has a place."""
        self.credential_page = credential_page
        """Where the owner can set the missing credentials, if the application names a page."""

    def as_document(self) -> dict[str, object]:
        """The JSON shape that every interface shows."""
        document: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        }
        if self.position is not None:
            document["position"] = self.position
        if self.credential_page is not None:
            document["credential_page"] = self.credential_page
        return document


class InvalidInput(LedgerError):
    """The caller's words or values are off; nothing was changed."""

    family = "invalid"
    default_hint = "Correct the input and run the command again; nothing was changed."


class NotFound(LedgerError):
    """Nothing of that name is here."""

    family = "not-found"
    default_hint = "Check the name; `credledger app list` shows what exists."


class Refused(LedgerError):
    """The rules say no."""

    family = "refused"
    default_hint = "Ask an administrator; the operator can explain the position."


class Conflict(LedgerError):
    """Something is there already, or was changed meanwhile."""

    family = "conflict"
    default_hint = "Look at the present state, then decide again."


class KeyUnavailable(LedgerError):
    """The keyring, its passphrase or one of its keys does not open this."""

    family = "key-unavailable"
    default_hint = "Check --keyring, --slot, and the passphrase or key file."


class Unavailable(LedgerError):
    """The store, the disk or the clock does not serve at the moment."""

    family = "unavailable"
    default_hint = "Nothing was released; mend the cause and run the command again."


class Tampered(LedgerError):
    """Stored bytes are not what was signed."""

    family = "tampered"
    default_hint = "Release nothing; run `credledger log verify` and keep a copy of the store."
