"""Open files: as many as connections may need, and some that connections never take.

A process that has none left cannot open its store or read its keyring, so whoever may connect could
stop it for everybody. The system gives a new file the lowest number that is free (open(2)); so a
connection whose number is among the last ones is one too many.
"""

from __future__ import annotations

import resource

SPARE = 256
"""Numbers for whatever is no connection: stores, keyrings, front processes, pages of metrics."""


def allow(connections: int) -> None:
    """Raise this process's own limit to what so many need, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def is_spare(descriptor: int) -> bool:
    """Whether this is one of the last numbers, which no connection may keep."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= soft - min(SPARE, soft // 2)
