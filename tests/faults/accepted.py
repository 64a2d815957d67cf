"""What stops a host until somebody accepts it, and the command that does.

Accepting is recorded first and takes effect after that. Cut off in between it has to be run again,
and then stands in the log once more.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.running import Host


def rolled_back(base: Host, folder: Path) -> Host:
    """A host that remembers more than the store has, since an older copy was put back."""
    host = base.copy(folder)
    host.ok("role", "grant", "auditor", "user:abandoned")
    host.settle()
    if base.server is None:
        shutil.rmtree(host.store.parent)
        shutil.copytree(base.store.parent, host.store.parent)
    else:
        host.drop_database()
        host.create_database(base.database)
    return host


def with_harmed_memory(base: Host, folder: Path) -> Host:
    """A host whose memory cannot be read."""
    host = base.copy(folder)
    host.memory.write_bytes(b"x" * 100)
    return host


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One way to be stopped, and to go on."""

    stopped: Callable[[Host, Path], Host]
    codes: frozenset[str]
    """What every command of a stopped host says, with exit 8."""
    arguments: tuple[str, ...]
    topic: str


ACCEPTANCES = {
    "log accept-rollback": Acceptance(
        rolled_back,
        frozenset({"rolled-back", "forked"}),
        ("log", "accept-rollback", "--yes", "--reason", "restored from backup"),
        "rollback.accepted",
    ),
    "log verify --accept-new-memory": Acceptance(
        with_harmed_memory,
        frozenset({"memory-unreadable"}),
        ("log", "verify", "--accept-new-memory"),
        "memory.accepted",
    ),
}
