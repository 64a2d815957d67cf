"""What a front process asks of the system against itself before it hears of any stranger.

It runs as the account that may read the keyring, its passphrase and the store, so that it holds
none of them says little about whoever takes it over. Landlock (landlock(7)) lets an ordinary
process give up what its account may do, for good and for all that it starts: from then on it opens
no file but what modules are made of, for reading, runs no program, connects to no TCP port and
opens none, and signals nobody outside. Where a kernel knows less of it, less is given up; where it
knows nothing of it, nothing.

Not given up, for the version of Linux 6.18 has no word for it: connecting to a unix socket that has
a path.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import uvicorn

from ledger.errors import Unavailable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of system calls, the same on all machines."""
_TELL_VERSION, _PATH_BENEATH = 1, 1
_FILES = ((1, 13), (2, 14), (3, 15), (5, 16))
"""From each version on, how many kinds of access to files it knows, from bit 0 on."""
_NETWORK_SINCE, _BIND_AND_CONNECT = 4, 0b11
_SCOPES_SINCE, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_RULE = struct.Struct("=Qi")
_RULESET = struct.Struct("=QQQ")
_PART = 8


def confine(readable: Iterable[Path]) -> int:
    """Give up all that is named above but reading below these folders; the kernel's version of it.

    0 where the kernel has none. `PR_SET_NO_NEW_PRIVS` must be set. `not-hardened` where the kernel
    has it and does not do it.
    """
    system, version = ctypes.CDLL(None, use_errno=True), known_version()
    if version == 0:
        return 0
    ruleset = _checked(system.syscall(_CREATE_RULESET, *_given_up(version), 0))
    try:
        for folder in readable:
            _allow(system, ruleset, folder)
        _checked(system.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return version


def known_version() -> int:
    """The version of Landlock that this kernel has; 0 for none."""
    system = ctypes.CDLL(None, use_errno=True)
    told = system.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _TELL_VERSION)
    return max(0, int(told))


def folders_of_modules() -> set[Path]:
    """Where modules lie that may still be loaded: the library's, those installed, and our own."""
    packages = Path(__file__).resolve().parents[2]
    standard = ("stdlib", "platstdlib")
    return {
        *(Path(sysconfig.get_path(name)) for name in standard),
        Path(uvicorn.__file__).resolve().parents[1],
        *(packages / name for name in ("ledger", "projections", "tools")),
    }


def _given_up(version: int) -> tuple[bytes, ctypes.c_size_t]:
    """The ruleset's attributes, and as many of their bytes as this version knows."""
    kinds = max(count for since, count in _FILES if since <= version)
    parts = 1
    network = scopes = 0
    if version >= _NETWORK_SINCE:
        network, parts = _BIND_AND_CONNECT, 2
    if version >= _SCOPES_SINCE:
        scopes, parts = _ABSTRACT_SOCKETS_AND_SIGNALS, 3
    attributes = _RULESET.pack((1 << kinds) - 1, network, scopes)
    return attributes, ctypes.c_size_t(parts * _PART)


def _allow(system: ctypes.CDLL, ruleset: int, folder: Path) -> None:
    try:
        beneath = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rule = _RULE.pack(_READ_FILE | _READ_FOLDER, beneath)
        _checked(system.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(beneath)


def _checked(answer: int) -> int:
    if answer < 0:
        raise Unavailable(
            "not-hardened",
            f"The system does not take from this process what it is to give up:"
            f" {os.strerror(ctypes.get_errno())}.",
            hint="A filter of system calls must let the three of Landlock through.",
        )
    return answer
