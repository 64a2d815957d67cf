"""What is recorded of a verified token besides whom it speaks for: how somebody was known.

It stands beside the author of each event that was appended for a token's subject, under `t` of
the sealed plaintext:

    [issuer, settings, application, id, client, acting, expires_at]

With it anybody who can open the log decides again whether that token could be believed there: its
issuer must be trusted at the event's own position, by the very settings that verified it. The
token itself is never stored, nor is a digest of it.
"""

from __future__ import annotations

import msgspec


class PresentedToken(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A token that was verified, as far as it is recorded."""

    issuer: str
    """The exact `iss`."""
    settings: int
    """Position of the event with the issuer's settings that it was verified by."""
    application: str = ""
    """The application ID that the token is bound to; empty where it names none."""
    id: str = ""
    """Its `jti`; empty where it has none."""
    client: str = ""
    """The client that it was issued to (`client_id`, or `azp`); empty where it names none."""
    acting: str = ""
    """Who acts for the subject (`act` of RFC 8693), as the token names it; empty for nobody."""
    expires_at: int = 0
    """Its `exp` in microseconds UTC, without any skew."""
