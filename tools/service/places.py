"""Where a service listens: addresses, and the sockets made for them."""

from __future__ import annotations

import contextlib
import os
import socket
from ipaddress import ip_address
from pathlib import Path

import msgspec

from ledger.errors import InvalidInput, Unavailable
from tools.service.http_server import BACKLOG

SOCKET_MODE = 0o660


class Address(msgspec.Struct, frozen=True):
    """Where to listen over TCP."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can reach it."""
        return ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`HOST:PORT` with an IP address; `invalid-address`."""
    host, colon, port = text.rpartition(":")
    with contextlib.suppress(ValueError):
        address = ip_address(host.removeprefix("[").removesuffix("]"))
        if colon and 0 <= int(port) <= 65535:
            return Address(str(address), int(port))
    raise InvalidInput(
        "invalid-address",
        "An address is written IP:PORT, such as 127.0.0.1:8443 or [::1]:8443.",
    )


def unix_socket(path: Path) -> socket.socket:
    """A socket of this path; one that nobody listens at any more is taken away."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not _is_alive(path):
            path.unlink()
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        made.close()
        raise _cannot_listen(str(path), error) from error
    made.listen(BACKLOG)
    made.setblocking(False)
    return made


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True


def tcp_socket(address: Address) -> socket.socket:
    """A socket of this address."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address.host, address.port))
    except OSError as error:
        made.close()
        raise _cannot_listen(str(address), error) from error
    made.listen(BACKLOG)
    made.setblocking(False)
    return made


def _cannot_listen(place: str, error: OSError) -> Unavailable:
    return Unavailable(
        "cannot-listen",
        f"The service cannot listen at {place}: {error.strerror or error}.",
        hint="Look whether another process does, and whether the folder is there and writable.",
    )
