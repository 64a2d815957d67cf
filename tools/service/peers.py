"""The peer of a connection: an address, or on a unix socket the account of a process.

On a unix socket the system itself tells who connected (SO_PEERCRED in unix(7)): the account of the
process as it was then. That account is a local claim, `user:ACCOUNT`, and needs no token. A name
that is not its own canonical form is nobody's, or two accounts would be one claim.
"""

from __future__ import annotations

import functools
import ipaddress
import pwd
import socket
import struct

import msgspec

from ledger.claims import Claim, parse_claim
from ledger.errors import InvalidInput

_SITE_BITS = 64
_CREDENTIALS = struct.Struct("3i")
"""pid, uid and gid as `struct ucred` has them."""


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end."""

    source: str
    """An address (of IPv6 its /64, which is what one site has), or `unix:UID`."""
    uid: int | None = None
    """The account's number, on a unix socket."""
    claim: Claim | None = None
    """The account as a claim, on a unix socket."""


NOBODY = Peer("unknown")
_SOURCES_KEPT = 4096


def peer_of(connection: socket.socket) -> Peer:
    """The peer of a connected socket."""
    if connection.family == socket.AF_UNIX:
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(packed)
        return Peer(f"unix:{uid}", uid, account_claim(uid))
    try:
        return Peer(_site(connection.getpeername()[0]))
    except OSError:
        return NOBODY  # gone already


@functools.lru_cache(_SOURCES_KEPT)
def peer_of_source(source: str) -> Peer:
    """The peer that another process tells of, never an account.

    `ValueError` where it is no address as `peer_of` has it.
    """
    if source != NOBODY.source and source != _site(source.removesuffix(f"/{_SITE_BITS}")):
        raise ValueError(source)
    return Peer(source)


def account_claim(uid: int) -> Claim | None:
    """The local claim of an account; None where it has no name, or none that is canonical."""
    try:
        name = pwd.getpwuid(uid).pw_name
        claim = parse_claim(f"user:{name}")
    except (KeyError, InvalidInput):
        return None
    return claim if claim.value == name else None


def _site(text: str) -> str:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _SITE_BITS), strict=False))
    return str(address)
