"""Where tests keep their files: in memory where there is room, for no test pulls the plug.

What is kept durably is synced again and again, and a disk would take a third of the suite's time
for that. Whoever wants the files elsewhere says so with `TMPDIR`.
"""

from __future__ import annotations

import os
import shutil
import tempfile

_PLACE = "/dev/shm"
_ROOM_BYTES = 4 * 1024**3


def memory_folder() -> str | None:
    """Where files are in memory; None where they cannot be, or where there is little room."""
    try:
        roomy = shutil.disk_usage(_PLACE).free > _ROOM_BYTES
    except OSError:
        return None
    return _PLACE if roomy and os.access(_PLACE, os.W_OK | os.X_OK) else None


def keep_in_memory() -> None:
    """Make temporary files there from now on, in child processes too."""
    place = memory_folder()
    # Some tests run what they have written.
    if place and "TMPDIR" not in os.environ and not os.statvfs(place).f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = place
        tempfile.tempdir = None
