"""Applications folded from their own streams, and kept for as long as nothing is appended there."""

from __future__ import annotations

from ledger.aggregates.application import Application, fold_application
from ledger.codec.mapper import EventMapper
from ledger.log.store import Reading
from projections.streams import fold_stream

_KEPT_MAX = 10_000


class Applications:
    """The applications that one question meets, each folded once."""

    def __init__(self, mapper: EventMapper) -> None:
        self._mapper = mapper
        self._kept: dict[bytes, tuple[bytes, Application | None]] = {}

    def get(self, reading: Reading, stream: bytes) -> Application | None:
        """The application of this stream as the snapshot has it; None if it was deleted."""
        newest = reading.newest_of(stream)
        if newest is None:
            return None
        kept = self._kept.get(stream)
        if kept is None or kept[0] != newest.leaf:
            state = fold_stream(reading, self._mapper, stream, fold_application)
            kept = (newest.leaf, None if state is None or state.deleted else state)
            if len(self._kept) >= _KEPT_MAX:
                self._kept.clear()
            self._kept[stream] = kept
        return kept[1]
