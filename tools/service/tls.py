"""TLS, where the service speaks it itself."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Tls:
    """The server's certificate, and who must show one."""

    certificate: Path
    key: Path
    client_authority: Path | None = None
    """Whose certificates clients must have; None for none."""

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 and newer; `invalid-certificate`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
            if self.client_authority is not None:
                context.load_verify_locations(self.client_authority)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError, ValueError):
            raise InvalidInput(
                "invalid-certificate",
                "A certificate or its key cannot be read, or they do not belong together.",
                hint="They are PEM files; the key has no passphrase.",
            ) from None
        return context


def _no_password() -> str:
    """A key that asks for a passphrase is not waited for."""
    return ""
