"""TLS, where the service speaks it itself."""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec

from tools.certificates import demand, show_own


class Tls(msgspec.Struct, frozen=True):
    """The server's certificate, and who must show one."""

    certificate: Path
    key: Path
    client_authority: Path | None = None
    """Whose certificates clients must have; None for none."""

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 and newer; `certificate-unreadable`, `invalid-certificate`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        show_own(context, self.certificate, self.key)
        if self.client_authority is not None:
            demand(context, self.client_authority)
        return context
