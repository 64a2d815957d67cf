"""Where the service is and how it is reached: an address, a token, certificates.

    https://ledger.contoso.example      TLS; checked against the system's authorities, or `ca_file`
    unix:///run/credledger/socket       the service knows the caller as the account of the process
    http://127.0.0.1:8080               in clear, on this host only

A token file is read anew for each request, for whoever hands out tokens renews them there. Neither
proxies nor passwords of the environment are used.
"""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import httpx
import msgspec

from ledger.errors import InvalidInput, NotFound
from ledger.values import FieldValue
from tools.certificates import show_own, towards_a_server

TOKEN_BYTES_MAX = 64 * 1024
UNIX = "unix://"
_HINT = "Write https://HOST[:PORT] or unix:///ABSOLUTE/PATH."
_BY_TOKEN = "Who asks is told by a token: `--token-file FILE`, or `token_file` of `Client`."


class Server(msgspec.Struct, frozen=True):
    """One service, and as whom it is asked."""

    address: str
    token: FieldValue | None = msgspec.field(default=None)
    token_file: Path | None = None
    ca_file: Path | None = None
    """The authority of the service's certificate, where it is not one of the system's."""
    certificate: tuple[Path, Path] | None = None
    """The client's own certificate and its key, where the service asks for one; one file may hold
    both. The key has no passphrase."""
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
        if self.address[: len(UNIX)].lower() != UNIX:
            return None
        path = unquote(self.address[len(UNIX) :])
        if not path.startswith("/") or "\0" in path:
            raise _no_server("A socket's path is absolute: three slashes stand behind `unix:`.")
        return path

    @property
    def base_url(self) -> str:
        """What paths are joined to."""
        if self.socket is not None:
            return "http://localhost"
        parts = _parts(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    def authorization(self) -> dict[str, str]:
        """The header that says who asks; none without a token."""
        token = self.token
        if self.token_file is not None:
            token = _token_in(self.token_file)
        return {} if token is None else {"Authorization": f"Bearer {_text(token)}"}

    def tls(self) -> ssl.SSLContext:
        """What the service's certificate is checked with, and the own one that is shown to it.

        `certificate-unreadable`, `invalid-certificate`.
        """
        context = towards_a_server(self.ca_file)
        if self.certificate is not None:
            show_own(context, *self.certificate)
        return context


def _parts(address: str) -> SplitResult:
    """The address taken apart; `invalid-server` where it names no host, or more than a host.

    What is wrong is told, the address itself never: there may be a password in it.
    """
    try:
        parts = urlsplit(address)
        httpx.URL(address)  # is what asks in the end
        host = (parts.hostname or "").encode("idna")
        fits = parts.port != 0 and " " not in parts.netloc
    except (ValueError, httpx.InvalidURL):
        fits = False
    if not fits:
        raise _no_server("That is no address of a service: its host or port will not do.")
    if parts.scheme not in {"http", "https"}:
        raise _no_server("A service's address begins with https://, http:// or unix://.")
    if "@" in parts.netloc:
        raise _no_server("A service's address holds no user and no password.", _BY_TOKEN)
    if not host:
        raise _no_server("A service's address needs a host.")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise _no_server("A service's address ends behind its host and port.")
    return parts


def _no_server(message: str, hint: str = _HINT) -> InvalidInput:
    return InvalidInput("invalid-server", message, hint=hint)


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
        message = f"The token's file {path} cannot be read: {error.strerror}."
        raise NotFound(
            "no-token-file", message, hint="Check the path and who may read it."
        ) from error
    text = content.rstrip(b"\r\n")
    if not text or len(content) > TOKEN_BYTES_MAX:
        raise InvalidInput("invalid-token-file", f"{path} does not hold one token.")
    return FieldValue(text)


def _text(token: FieldValue) -> str:
    text = token.as_bytes().decode("latin-1")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise InvalidInput("invalid-token-file", "A token has visible ASCII characters only.")
    return text
