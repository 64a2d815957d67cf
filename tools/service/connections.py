"""All connections of an address: how many there may be, and which of them have to go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

UNREAD_BYTES_MAX = 64 << 20
"""Of all answers of a process that wait to be taken."""
CONNECTIONS_MAX = 2000
SOURCE_CONNECTIONS_MAX = 500
"""Of one address or account, so that no single one can keep all others out."""


def are_too_many(connections: Collection[Any], source: str) -> bool:
    """Whether the last one of these, which came from this source, must go."""
    alike = sum(1 for one in connections if one.peer.source == source)
    return len(connections) > CONNECTIONS_MAX or alike > SOURCE_CONNECTIONS_MAX


def close_slow(connections: set[Any], now: float) -> None:
    """Close the connections on which no head has come to its end, or begun, in time.

    Where nothing of an answer is taken any more, closing would wait for that, so they are cut off;
    and where one is closed that the other side keeps open.
    """
    for connection in list(connections):
        if connection.is_unread(now) or connection.is_parting_late(now):
            connection.transport.abort()
        elif connection.is_late(now):
            connection.transport.close()


def close_unread(connections: Iterable[Any]) -> None:
    """Cut connections off until no more waits to be taken than may.

    Those go first whose source lets most wait, and of them those that let most wait each.
    """
    looked_at = ((one, one.transport.get_write_buffer_size()) for one in connections)
    waiting = {one: count for one, count in looked_at if count}
    total = sum(waiting.values())
    if total <= UNREAD_BYTES_MAX:
        return
    of_source: Counter[str] = Counter()
    for one, count in waiting.items():
        of_source[one.peer.source] += count
    order = sorted(waiting, key=lambda one: (of_source[one.peer.source], waiting[one]))
    while total > UNREAD_BYTES_MAX:
        one = order.pop()
        one.transport.abort()
        total -= waiting[one]
