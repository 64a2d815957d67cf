"""Certificates and keys in PEM files, for both ends of TLS: loaded by OpenSSL, explained by us.

OpenSSL decides what serves; only where it refuses are the files looked at again, to say which of
them is at fault and why. A key that has a passphrase is refused: nobody is there to be asked for
it, neither by a service nor by a job.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

PEM_BYTES_MAX = 1024 * 1024
_PEM = "PEM is text with a line `-----BEGIN {}-----`; `openssl {}` makes it of other forms."

_IN_ONE_FILE = "Name the file of the key as well, such as with `--client-key FILE`."


def show_own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Show this certificate to the other end; the two may be one file.

    `certificate-unreadable`, or `invalid-certificate` for what is no certificate with its key.
    """
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        raise _pair_refused(certificate, key, error) from None


def demand(context: ssl.SSLContext, authorities: Path) -> None:
    """Demand of the other end a certificate of one of these authorities; errors as above."""
    try:
        context.load_verify_locations(authorities)
    except (OSError, ValueError) as error:
        raise _authorities_refused(authorities, error) from None
    context.verify_mode = ssl.CERT_REQUIRED


def towards_a_server(authorities: Path | None) -> ssl.SSLContext:
    """What a server's certificate is checked with: by these, or by the system's authorities."""
    try:
        return ssl.create_default_context(cafile=authorities)
    except (OSError, ValueError) as error:
        assert authorities is not None
        raise _authorities_refused(authorities, error) from None


def _no_passphrase() -> str:
    # OpenSSL would ask on the terminal where nothing answers.
    return ""


def _pair_refused(certificate: Path, key: Path, error: Exception) -> InvalidInput:
    hint = _IN_ONE_FILE if key == certificate else _PEM.format("PRIVATE KEY", "pkey")
    try:
        shown, held = _certificates(certificate)[0], _key(key, hint)
    except InvalidInput as found:
        return found
    if shown.public_key() != held.public_key():
        return InvalidInput(
            "invalid-certificate",
            f"The key in {key} is not that of the certificate in {certificate}.",
            hint="The certificate of the key comes first in its file, those above it behind.",
        )
    return _refused(f"{certificate} with {key}", error)


def _authorities_refused(authorities: Path, error: Exception) -> InvalidInput:
    try:
        _certificates(authorities)
    except InvalidInput as found:
        return found
    return _refused(str(authorities), error)


def _certificates(path: Path) -> list[x509.Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(_content(path))
    except ValueError:
        raise InvalidInput(
            "invalid-certificate",
            f"{path} holds no certificate in PEM.",
            hint=_PEM.format("CERTIFICATE", "x509"),
        ) from None


def _key(path: Path, hint: str) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _content(path)
    try:
        return load_pem_private_key(content, None)
    except TypeError:
        raise InvalidInput(
            "invalid-certificate",
            f"The key in {path} has a passphrase, for which nobody is asked.",
            hint="`openssl pkey -in KEY -out NEW` writes it without; let only its user read that.",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput(
            "invalid-certificate",
            f"{path} holds no private key in PEM.",
            hint=hint,
        ) from None


def _content(path: Path) -> bytes:
    """The bytes of a file, none of one that is too large; `certificate-unreadable`."""
    try:
        with path.open("rb") as file:
            content = file.read(PEM_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it cannot be a file's name"
        raise InvalidInput(
            "certificate-unreadable",
            f"{path} cannot be read: {why}.",
            hint="Check the path of the certificate or key, and who may read it.",
        ) from None
    return content if len(content) <= PEM_BYTES_MAX else b""


def _refused(what: str, error: Exception) -> InvalidInput:
    reason = getattr(error, "reason", None) or "no reason is told"
    return InvalidInput(
        "invalid-certificate",
        f"OpenSSL refuses {what}: {reason}.",
        hint="It may be too short a key, or an algorithm that this host does not take.",
    )
