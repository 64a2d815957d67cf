"""A file that fills a file system up to the last byte."""

from __future__ import annotations

import contextlib
from pathlib import Path


def fill_up(ballast: Path, but_bytes: int) -> None:
    """Leave no byte free beside it, or so many."""
    with ballast.open("ab", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(file.tell() - but_bytes)
