"""Keyed digests: how views name people and applications without telling who they are."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from ledger.errors import LedgerError
from ledger.identifiers import application_key

DIGEST_BYTES = 16
_CACHED_MAX = 50_000
NOBODY = bytes(DIGEST_BYTES)
"""Stands where a row has no owner."""


class Digests:
    """HMAC-SHA256 under the views' key, cut to 16 bytes, one domain for each kind of name."""

    def __init__(self, views_key: bytes) -> None:
        """The key is that of `StreamNames.views_key`."""
        self._keyed = HMAC(views_key, SHA256())
        """Copied for each digest, which takes a third of the time of beginning anew."""
        self._claims: dict[str, bytes] = {}
        self._applications: dict[str, bytes] = {}
        self._named: dict[str, bytes] = {}

    def claim(self, text: str | None) -> bytes:
        """Of a claim's text; `NOBODY` for none."""
        if text is None:
            return NOBODY
        return self._claims.get(text) or self._keep(self._claims, text, b"claim", text)

    def application(self, text: str) -> bytes:
        """Of an application's ID in any case and form; of the bare text where it is no ID."""
        known = self._applications.get(text)
        return known or self._keep(self._applications, text, b"application", compared(text))

    def named(self, text: str) -> bytes:
        """Of a claim as one that applications name, which is not that of a caller or an owner."""
        return self._named.get(text) or self._keep(self._named, text, b"named", text)

    def naming(self, stream: bytes, role: str, text: str) -> bytes:
        """Of one claim in one role of the application of this stream."""
        return self._digest(b"naming\0" + stream + role.encode() + b"\0" + text.encode())

    def place(self, name: str, fold_version: int, active: str, position: int, floor: int) -> bytes:
        """Of where a view stands, so that nobody without the key can move it unseen."""
        text = f"{name}\0{fold_version}\0{active}\0{position}\0{floor}"
        return self._digest(b"place\0" + text.encode())

    def _keep(self, known: dict[str, bytes], text: str, kind: bytes, form: str) -> bytes:
        digest = self._digest(kind + b"\0" + form.encode())
        if len(known) >= _CACHED_MAX:
            known.clear()
        known[text] = digest
        return digest

    def _digest(self, text: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(text)
        return keyed.finalize()[:DIGEST_BYTES]


def compared(application: str) -> str:
    """The form in which IDs are compared; the bare text of what was asked for but is no ID."""
    try:
        return application_key(application)
    except LedgerError:
        return application
