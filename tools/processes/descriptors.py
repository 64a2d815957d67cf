"""Open files: as many as connections may need, and some that connections never take.

A process that has none left cannot open its store or read its keyring, so whoever may connect could
stop it for everybody. The system gives a new file the lowest number that is free (open(2)); so a
connection whose number is among the last ones is one too many.

Where a process may have fewer than it wants, that alone would let those who connect at one socket
take the numbers of another one. So each socket has a share, and the process itself has one too:

    connections at a socket │ at another one │ the process itself │ the last ones, spare
"""

from __future__ import annotations

import resource

SPARE = 256
"""Numbers for whatever is no connection: stores, keyrings, front processes, pages of metrics."""


def wanted_for(connections: int) -> int:
    """How many files a process with so many may open."""
    return connections + 2 * SPARE


def allow(connections: int) -> int | None:
    """Raise this process's own limit to what so many need, as far as the system lets it.

    The limit, where it stays below that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wanted_for(connections)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most if most < wanted else None
    return None


def is_spare(descriptor: int) -> bool:
    """Whether this is one of the last numbers, which no connection may keep."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= _first_spare(soft)


def share(sockets: int) -> int | None:
    """How many connections may be kept at each of so many sockets; None for any number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    first = _first_spare(soft)
    return (first - min(SPARE, first // 2)) // sockets


def _first_spare(files: int) -> int:
    return files - min(SPARE, files // 2)
