"""Where files lie with regard to each other: what is carried off together.

A folder is the same by whatever name, link or mount it is reached.
"""

from __future__ import annotations

import os
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


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what is there; None where nothing is."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
