"""Keyed names of streams, so that stored bytes do not tell whose stream it is.

    stream = HMAC-SHA256(stream key, for each part: length u32 || part)[:16]

where the parts are the kind and what names it. The stream key stays the same for the ledger's
life. Keys for views, for a host's memory and for the digests of tickets are derived from it by
HKDF-Expand (RFC 5869).
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ledger.sealing.confidential import Confidential

STREAM_BYTES = 16
_CACHED_MAX = 50_000


class StreamNames(Confidential):
    """The streams of one ledger."""

    def __init__(self, stream_key: bytes) -> None:
        self._key = stream_key
        self._known: dict[tuple[bytes, ...], bytes] = {}

    def handed_over(self) -> bytes:
        """The stream key, bare, for another process of ours: see `KeySet.handed_over`."""
        return self._key

    def application(self, application_key: str) -> bytes:
        """The stream of one target application."""
        return self._name(b"application", application_key.encode())

    def mapping(self, application_key: str, owner: str | None) -> bytes:
        """The stream of one credential mapping; a group's has no owner."""
        shared = b"group" if owner is None else b"owner"
        return self._name(b"mapping", application_key.encode(), shared, (owner or "").encode())

    def roles(self) -> bytes:
        """The one stream of service-level rights."""
        return self._name(b"roles")

    def issuers(self) -> bytes:
        """The one stream of trusted token issuers."""
        return self._name(b"issuers")

    def keyring(self) -> bytes:
        """The one stream of epochs and slots."""
        return self._name(b"keyring")

    def backups(self) -> bytes:
        """The one stream of the database's backups."""
        return self._name(b"backups")

    def token(self, issuer: str, token_id: str) -> bytes:
        """The stream of one token that is good for one use."""
        return self._name(b"token", issuer.encode(), token_id.encode())

    def retry_key(self, author: str, operation: str, key: str) -> bytes:
        """The stream of one retry key of somebody's for one operation."""
        return self._named(b"retry-key", author.encode(), operation.encode(), key.encode())

    def access(self, run: bytes) -> bytes:
        """The access stream of one run of one process."""
        return self._name(b"access", run)

    def audit(self, signing_public_key: bytes) -> bytes:
        """The stream of one auditor's questions; the key that signs them names it."""
        return self._name(b"audit", signing_public_key)

    def ticket(self, digest: bytes) -> bytes:
        """The stream of one ticket, named by what is stored of it."""
        return self._named(b"ticket", digest)  # there are many, and each is asked for once or twice

    def tickets_key(self) -> bytes:
        """The key of the digests of tickets."""
        return self._derived(b"credledger/v1/tickets")

    def views_key(self) -> bytes:
        """The key of all digests in views."""
        return self._derived(b"credledger/v1/views")

    def memory_key(self) -> bytes:
        """The key that authenticates a host's memory."""
        return self._derived(b"credledger/v1/host-memory")

    def _derived(self, label: bytes) -> bytes:
        return HKDFExpand(SHA256(), 32, label).derive(self._key)

    def _name(self, *parts: bytes) -> bytes:
        known = self._known.get(parts)
        if known is None:
            known = self._named(*parts)
            if len(self._known) >= _CACHED_MAX:
                self._known.clear()
            self._known[parts] = known
        return known

    def _named(self, *parts: bytes) -> bytes:
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, text, "sha256")[:STREAM_BYTES]
