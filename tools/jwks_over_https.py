"""Fetching an issuer's public keys: one GET over TLS, small, short, and never led elsewhere.

The certificate is checked against the system's authorities (`SSL_CERT_FILE` names others, as for
every program that uses OpenSSL). A redirect is not followed, because whoever could set one would
choose the keys. The whole answer must come within the time, however slowly it drips.
"""

from __future__ import annotations

import http.client
import ssl
import time
from urllib.parse import urlsplit

from ledger.errors import Unavailable
from ledger.tokens.jose import JWKS_BYTES_MAX

TIMEOUT_S = 5.0
_CHUNK_BYTES = 16 * 1024


def fetch_jwks(url: str, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """What an https URL holds; `keys-not-fetched` for any other answer than a small 200."""
    deadline = time.monotonic() + timeout_s
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        raise _not_fetched("its place is no https URL")
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    context = ssl.create_default_context()
    connection = http.client.HTTPSConnection(
        parts.hostname, parts.port or 443, timeout=timeout_s, context=context
    )
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise _not_fetched(f"the answer was {answer.status}")
        return _body(answer, deadline)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _not_fetched("the connection failed") from error
    finally:
        connection.close()


def _body(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    content = b""
    while chunk := answer.read1(_CHUNK_BYTES):
        content += chunk
        if len(content) > JWKS_BYTES_MAX:
            raise _not_fetched("the answer is too large")
        if time.monotonic() > deadline:
            raise _not_fetched("the answer took too long")
    return content


def _not_fetched(why: str) -> Unavailable:
    return Unavailable(
        "keys-not-fetched",
        f"The issuer's keys could not be fetched: {why}.",
        hint="Check the URL and the way there; nothing was changed.",
    )
