"""What a front process gives up before it hears the first stranger: files, and ways to elsewhere.

It runs as the service's account, which may read the keyring and the store, and a process that was
taken over could do so by their paths. Landlock (landlock(7)) takes that from the process for good:
no file or folder is opened or made any more, no program started, no TCP connection made, nobody of
outside sent a signal; whatever is open stays so. What the kernel knows of this depends on its age:
files since 5.13, TCP since 6.7, signals since 6.12.

What is left: sockets of paths are connected to as before, as that account.
"""

from __future__ import annotations

import ctypes

_CREATE_RULESET = 444
_RESTRICT_SELF = 446
"""Of every architecture alike."""
_VERSION = 1
_FILES_BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights to files each version of Landlock knows; later ones as many as the last."""
_TCP = 0b11
_TCP_VERSION = 4
_SCOPES = 0b11
"""Abstract unix sockets, and signals."""
_SCOPES_VERSION = 6


class _Ruleset(ctypes.Structure):
    """`struct landlock_ruleset_attr`, of which older kernels take the beginning."""

    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    )


def confine() -> bool:
    """Give up what the kernel knows of; whether it took anything.

    Of this thread and those it starts, so before there are others; without new rights (`harden`).
    """
    system = ctypes.CDLL(None, use_errno=True)
    version = system.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    files = _FILES_BY_VERSION[min(version, max(_FILES_BY_VERSION))]
    ruleset = _Ruleset((1 << files) - 1, 0, 0)
    length = 8
    if version >= _TCP_VERSION:
        ruleset.network, length = _TCP, 16
    if version >= _SCOPES_VERSION:
        ruleset.scopes, length = _SCOPES, 24
    made = system.syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(length), 0)
    # No rule is added, so nothing is allowed. The number goes with the process, as all others do.
    return bool(made >= 0 and system.syscall(_RESTRICT_SELF, made, 0) == 0)
