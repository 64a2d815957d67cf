"""Who else than its owner may read a file, as its permission bits say."""

from __future__ import annotations

import stat
from pathlib import Path

_OTHERS = 0o077


def mode_of(path: Path) -> int:
    """Permission bits; none where nothing can be looked at."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except (OSError, ValueError):
        return 0


def is_open_to_others(path: Path) -> bool:
    """Whether others than its owner may read or change it."""
    return bool(mode_of(path) & _OTHERS)
