r"""Which host this is, in a small file of its own beside the keyring.

    {"format": 1, "ledger": hex, "host": hex, "founder": bool, "inode": number}\n

A host's number is random and has no meaning; it tells one copy of the keyring from another where
the log says what each of them holds. The file names its own inode, so a copy of the whole folder is
another host from the moment it is used, and so is a file that was put back from a backup.

It is no secret and nothing rests on it: where it cannot be read it is made anew, where it cannot be
written the host has no number and tells nothing. The host that founded the ledger is marked as
such: as long as it is the only one, there is nothing to tell.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

_FORMAT = 1
_ID_BYTES = 16
_BYTES_MAX = 1024
_LOCK_TIMEOUT_S = 1.0


class ThisHost(msgspec.Struct, frozen=True):
    """This copy of the keyring."""

    id: bytes
    founded: bool
    """Whether the ledger was founded here."""


def host_path(keyring: Path) -> Path:
    """Where the file for this keyring lies."""
    return keyring.with_name(f"{keyring.name}.host")


def this_host(
    keyring: Path, ledger_id: bytes, random: Callable[[int], bytes], *, founding: bool = False
) -> ThisHost | None:
    """Which host this is, from now on if nobody knew; None where it cannot be kept."""
    path = host_path(keyring)
    with contextlib.suppress(OSError, Timeout):
        known = _read(path, ledger_id)
        if known is not None:
            return known
        with FileLock(f"{path}.lock", timeout=_LOCK_TIMEOUT_S, mode=0o600):
            known = _read(path, ledger_id)
            if known is None:
                known = ThisHost(random(_ID_BYTES), founding)
                _write(path, ledger_id, known)
            return known
    return None


def _read(path: Path, ledger_id: bytes) -> ThisHost | None:
    """What the file says; None where it is not there, is none of ours, or was copied here."""
    try:
        with path.open("rb") as file:
            content, inode = file.read(_BYTES_MAX), os.fstat(file.fileno()).st_ino
        told = json.loads(content)
        own = (_FORMAT, ledger_id.hex(), inode) == (told["format"], told["ledger"], told["inode"])
        found = ThisHost(bytes.fromhex(told["host"]), told["founder"] is True)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if own and len(found.id) == _ID_BYTES else None


def _write(path: Path, ledger_id: bytes, host: ThisHost) -> None:
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        told = {
            "format": _FORMAT,
            "ledger": ledger_id.hex(),
            "host": host.id.hex(),
            "founder": host.founded,
            "inode": os.fstat(descriptor).st_ino,
        }
        file.write(json.dumps(told) + "\n")
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
