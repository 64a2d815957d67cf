"""Where the service is and how it is reached: an address, a token, certificates.

    https://ledger.contoso.example      TLS; checked against the system's authorities, or `ca_file`
    unix:///run/credledger/socket       the service knows the caller as the account of the process
    http://127.0.0.1:8080               in clear, on this host only

A token file is read anew for each request, for whoever hands out tokens renews them there. Neither
proxies nor passwords of the environment are used.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from ledger.errors import InvalidInput, NotFound
from ledger.values import FieldValue

TOKEN_BYTES_MAX = 64 * 1024
UNIX = "unix://"
_HINT = "Write https://HOST[:PORT] or unix:///ABSOLUTE/PATH."


@dataclass(frozen=True, slots=True)
class Server:
    """One service, and as whom it is asked."""

    address: str
    token: FieldValue | None = field(default=None)
    token_file: Path | None = None
    ca_file: Path | None = None
    """The authority of the service's certificate, where it is not one of the system's."""
    certificate: tuple[Path, Path] | None = None
    """The client's own certificate and its key, where the service asks for one."""
    timeout_s: float = 10.0
    attempts: int = 5
    """How often a call is sent in all."""

    def __post_init__(self) -> None:
        if self.socket is not None:
            return
        parts = _parts(self.address)
        if parts.scheme == "http" and not _is_local(parts.hostname or ""):
            raise InvalidInput(
                "insecure-server",
                "Tokens and values are sent in clear to this host only.",
                hint="Write https:// for another one.",
            )

    @property
    def socket(self) -> str | None:
        """The path of a unix socket; None for another address."""
        if not self.address.startswith(UNIX):
            return None
        path = unquote(self.address.removeprefix(UNIX))
        if not path.startswith("/") or "\0" in path:
            raise InvalidInput("invalid-server", "A socket's path is absolute.", hint=_HINT)
        return path

    @property
    def base_url(self) -> str:
        """What paths are joined to."""
        return "http://localhost" if self.socket is not None else self.address.rstrip("/")

    def authorization(self) -> dict[str, str]:
        """The header that says who asks; none without a token."""
        token = self.token
        if self.token_file is not None:
            token = _token_in(self.token_file)
        return {} if token is None else {"Authorization": f"Bearer {_text(token)}"}

    def tls(self) -> ssl.SSLContext:
        """What the service's certificate is checked with."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate is not None:
                context.load_cert_chain(*self.certificate)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                "certificate-unreadable", "A file of certificates or keys cannot be read."
            ) from error
        return context


def _parts(address: str) -> SplitResult:
    """The address taken apart; `invalid-server` where it names no host, or more than a host."""
    try:
        parts = urlsplit(address)
        httpx.URL(address)  # is what asks in the end
        host = (parts.hostname or "").encode("idna")
        more = parts.path.strip("/") or parts.query or parts.fragment
        plain = not more and not set(parts.netloc) & set("@ ") and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        plain = False
    if not plain or parts.scheme not in {"http", "https"} or not host:
        raise InvalidInput("invalid-server", "That is no address of a service.", hint=_HINT)
    return parts


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _token_in(path: Path) -> FieldValue:
    try:
        with path.open("rb") as file:
            content = file.read(TOKEN_BYTES_MAX + 1)
    except OSError as error:
        raise NotFound("no-token-file", "The file with the token cannot be read.") from error
    text = content.rstrip(b"\r\n")
    if not text or len(content) > TOKEN_BYTES_MAX:
        raise InvalidInput("invalid-token-file", "The file does not hold one token.")
    return FieldValue(text)


def _text(token: FieldValue) -> str:
    text = token.as_bytes().decode("latin-1")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise InvalidInput("invalid-token-file", "A token has visible ASCII characters only.")
    return text
