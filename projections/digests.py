"""Keyed digests: how views name people and applications without telling who they are."""

from __future__ import annotations

import hmac

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

    def application(self, application_key: str) -> bytes:
        """Of an application's compared form."""
        return self._of(b"application", application_key)

    def _of(self, kind: bytes, text: str) -> bytes:
        known = self._known.get((kind, text))
        if known is None:
            known = hmac.digest(self._key, kind + b"\0" + text.encode(), "sha256")[:DIGEST_BYTES]
            if len(self._known) >= _CACHED_MAX:
                self._known.clear()
            self._known[kind, text] = known
        return known
