"""A real PostgreSQL whose files lie on a small file system of their own, which can be filled up.

The file system is a tmpfs that only the server's processes see: it is mounted in a mount namespace,
which takes no rights on the machine (an ordinary user gets a user namespace around it). A process
that does nothing holds the namespaces, so that the files outlive a server that stops. The socket's
folder is outside, where everybody sees it.

    folder/          .s.PGSQL.5432, log
    folder/data/     what is in it is on the small file system, as /proc/<holder>/root shows
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.contracts.ballast import fill_up
from tests.contracts.postgres_server import PostgresServer, new_folder, programs

FILE_SYSTEM_BYTES = 112 * 1024**2
_HOLD = """
set -e
mv "$1/data" "$1/made"
mkdir -m 700 "$1/data"
mount -t tmpfs -o size=$2,mode=0700 tmpfs "$1/data"
cp -a "$1/made/." "$1/data"
chown --reference="$1/made" "$1/data"
echo held
exec cat
"""


class SmallServer(PostgresServer):
    """One that runs out of room when it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._holder: subprocess.Popen[bytes] | None = None

    def hold(self) -> None:
        """Put the data that was made on the small file system."""
        as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        told = ["unshare", *as_root, "--mount", "sh", "-c", _HOLD, "sh"]
        self._holder = subprocess.Popen(
            [*told, str(self.folder), str(FILE_SYSTEM_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"held\n"

    def let_go(self) -> None:
        """Give the file system up, with everything on it."""
        if self._holder is not None:
            self._holder.communicate(timeout=30)

    def fill(self, *, but_bytes: int = 0) -> None:
        """Leave no byte free, or so many; the write-ahead log has begun a new segment before."""
        self.execute("SELECT pg_switch_wal()", "CHECKPOINT")
        fill_up(self._ballast(), but_bytes)

    def make_room(self) -> None:
        """Take away what filled it."""
        self._ballast().unlink()

    @property
    def is_filled(self) -> bool:
        """Whether `fill` was the last word."""
        return self._ballast().exists()

    def restart(self) -> None:
        """Make room and start anew, whatever has become of it."""
        if self.is_filled:
            self.make_room()
        self.stop_if_running()
        self.start()

    def stop_if_running(self) -> None:
        """End what is left of one that went down by itself, or was on its way."""
        if self._inside("pg_ctl", "status", "-D", str(self.data)).returncode == 0:
            self._inside("pg_ctl", "-w", "-D", str(self.data), "stop", "-m", "immediate")

    def _run(self, program: str, *arguments: str) -> None:
        self._inside(program, *arguments).check_returncode()

    def _inside(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        assert self._holder is not None
        entering = ["nsenter", "--target", str(self._holder.pid), "--mount"]
        if os.geteuid() == 0:
            owner = pwd.getpwnam("pgserver")
            who = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}"]
            entering += [*who, "--clear-groups"]
        else:
            entering += ["--user", "--preserve-credentials"]
            entering += ["unshare", "--user", f"--map-user={os.getuid()}"]
            entering += [f"--map-group={os.getgid()}"]
        # The server that is started keeps what it inherits open, so nobody waits for a pipe's end.
        return subprocess.run(
            [*entering, str(programs() / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    def _ballast(self) -> Path:
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root{self.data}/ballast")


@contextmanager
def small_server() -> Iterator[SmallServer]:
    """A running server on a small file system."""
    server = SmallServer(new_folder())
    try:
        server.create()
        server.hold()
        server.start()
        yield server
    finally:
        server.stop_if_running()
        server.let_go()
        shutil.rmtree(server.folder, ignore_errors=True)
