"""A small file system that commands write to and that can be filled up to the last byte.

It is a tmpfs in a mount namespace of its own, which takes no rights on the machine (an ordinary
user gets a user namespace around it). The nursery lives in that namespace, and so do the commands
that it forks; from outside the files are seen by way of `/proc/<nursery>/root`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.contracts.ballast import fill_up
from tests.faults.running import Nursery, until

FILE_SYSTEM_BYTES = 32 * 1024**2
_MOUNT = """
set -e
mount -t tmpfs -o "size=$2,mode=0700" tmpfs "$1"
shift 2
exec "$@"
"""


@dataclass
class SmallDisk:
    """The folder it is mounted at, and the nursery whose commands see it there."""

    nursery: Nursery
    path: Path

    @property
    def seen(self) -> Path:
        """The same folder as this process sees it."""
        return self.nursery.root / self.path.relative_to("/")

    def fill(self, *, but_bytes: int = 0) -> None:
        """Leave no byte free, or so many."""
        fill_up(self._ballast(), but_bytes)

    def make_room(self) -> None:
        """Take away what filled it."""
        self._ballast().unlink()

    def _ballast(self) -> Path:
        return self.seen / "ballast"


@contextmanager
def small_disk(path: Path) -> Iterator[SmallDisk]:
    """One that is there as long as it is used."""
    path.mkdir()
    (path / "below").touch()
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    told = ["unshare", *as_root, "--mount", "sh", "-c", _MOUNT, "sh"]
    with Nursery(*told, str(path), str(FILE_SYSTEM_BYTES)) as nursery:
        made = SmallDisk(nursery, path)
        until(lambda: not (made.seen / "below").exists())
        yield made
