"""What the figures were measured on, in words that stand beside them."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

_LIBRARIES = ("cryptography", "eventsourcing", "msgpack", "msgspec", "psycopg")


def machine() -> str:
    """Processor, cores and Python; runs on the same ones are compared."""
    cores = len(os.sched_getaffinity(0))
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}"


def versions() -> str:
    """The libraries that matter for speed."""
    return ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
