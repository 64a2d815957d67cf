"""The streams that this process writes its access records to.

Records of many processes in one stream would make them wait for each other's versions, and one
key would seal too many messages. So each process has a stream of its own, of a random name, and
takes a new one at its start, at each change of epoch or period, after 2^24 records, and where it
goes on from what another process of its host has checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ledger.log.rows import LogRow

RECORDS_MAX = 1 << 24


class AccessStreams:
    """One process's access stream, and the versions that are committed of it."""

    def __init__(self, name: Callable[[bytes], bytes], random: Callable[[int], bytes]) -> None:
        self._name = name
        self._random = random
        self._held: tuple[bytes, int, int] | None = None
        self._version = 0

    def current(self, epoch: int, period: int) -> bytes:
        """The stream for records of this epoch and period."""
        held = self._held
        if held is None or held[1:] != (epoch, period) or self._version >= RECORDS_MAX:
            held = (self._name(self._random(16)), epoch, period)
            self._held, self._version = held, 0
        return held[0]

    def version(self, stream: bytes) -> int | None:
        """How many records are committed of the stream; None if it is not this process's."""
        held = self._held  # another thread may forget it meanwhile
        return self._version if held is not None and held[0] == stream else None

    def committed(self, rows: Iterable[LogRow]) -> None:
        """These rows are durable."""
        held = self._held
        if held is None:
            return
        for row in rows:
            if row.stream == held[0]:
                self._version = row.version

    def forget(self) -> None:
        """Take a new stream next time: after a failure, in a forked child, in another log."""
        self._held = None
