"""Keyed digests: how views name people and applications without telling who they are."""

from __future__ import annotations

import hmac

from ledger.errors import LedgerError
from ledger.identifiers import application_key
from ledger.sealing.streams import StreamNames

DIGEST_BYTES = 16
_CACHED_MAX = 50_000
NOBODY = bytes(DIGEST_BYTES)
"""Stands where a row has no owner."""


class Digests:
    """HMAC-SHA256 under the views' key, cut to 16 bytes, one domain for each kind of name."""

    def __init__(self, streams: StreamNames) -> None:
        self._key = streams.views_key()
        self._known: dict[tuple[bytes, str], bytes] = {}

    def claim(self, text: str | None) -> bytes:
        """Of a claim's text; `NOBODY` for none."""
        return NOBODY if text is None else self._of(b"claim", text)

    def application(self, text: str) -> bytes:
        """Of an application's ID in any case and form; of the bare text where it is no ID."""
        known = self._known.get((b"application as written", text))
        if known is None:
            known = self._of(b"application", compared(text))
            self._keep(b"application as written", text, known)
        return known

    def place(self, name: str, fold_version: int, active: str, position: int) -> bytes:
        """Of where a view stands, so that nobody without the key can move it unseen."""
        text = f"{name}\0{fold_version}\0{active}\0{position}"
        return hmac.digest(self._key, b"place\0" + text.encode(), "sha256")[:DIGEST_BYTES]

    def _of(self, kind: bytes, text: str) -> bytes:
        known = self._known.get((kind, text))
        if known is None:
            known = hmac.digest(self._key, kind + b"\0" + text.encode(), "sha256")[:DIGEST_BYTES]
            self._keep(kind, text, known)
        return known

    def _keep(self, kind: bytes, text: str, digest: bytes) -> None:
        if len(self._known) >= _CACHED_MAX:
            self._known.clear()
        self._known[kind, text] = digest


def compared(application: str) -> str:
    """The form in which IDs are compared; the bare text of what was asked for but is no ID."""
    try:
        return application_key(application)
    except LedgerError:
        return application
