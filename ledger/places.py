"""Where files lie with regard to each other: what is carried off together.

A folder is the same by whatever name, link or mount it is reached, and so is what lies below it.
Not seen is a folder below another that is mounted by itself in a third place. What this account may
not look at, or what does not answer, as a share that is gone, stands in nobody's way: each question
says what it answers then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def is_within(folder: Path, other: Path) -> bool:
    """Whether a folder is another one, or lies below it."""
    real = Path(os.path.realpath(folder))
    theirs = Path(os.path.realpath(other))
    around = {real, *real.parents}
    if theirs in around:
        return True
    seen = identity(theirs)
    return seen is not None and seen in {identity(one) for one in around}


def share_a_place(folder: Path, other: Path) -> bool:
    """Whether whoever takes one of these folders takes the other one too."""
    return is_within(folder, other) or is_within(other, folder)


def is_there(path: Path) -> bool:
    """Whether something is at a path; False where nobody can look."""
    return identity(path) is not None


def is_missing(path: Path) -> bool:
    """Whether nothing is at a path; False where nobody can look."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no path has a NUL in it
        return True
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def folders_in(folder: Path) -> Iterator[Path]:
    """The folders right in a folder, in order of their names, but for those nobody can look at."""
    with contextlib.suppress(OSError):
        yield from sorted(entry for entry in folder.iterdir() if _is_folder(entry))


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what is there; None where nothing is."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False
