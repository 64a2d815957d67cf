"""The reads that are judged for a question about unusual ones: all of its time, and a little more.

Reads within the span of the bulk rule before and after belong to the judgement, so that a row of
reads is told as one wherever the time that is asked for begins. What was given to whom before that
is asked of the view as a whole. Of a question about the log as it was at a position, nothing behind
it belongs to the judgement. Who and what are told as the view's digests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from projections.access_history import OUTCOME_NUMBERS
from projections.access_questions import AccessQuestion
from projections.streams import position_at
from projections.unusual import Read, Rules
from projections.view import Serving, ViewKeeper, astray

_PAGE = 5000
_GRANTED = OUTCOME_NUMBERS["access.granted"]


class Judging:
    """One look through the access history."""

    def __init__(self, keeper: ViewKeeper, question: AccessQuestion, rules: Rules) -> None:
        self._keeper = keeper
        window = rules.bulk_window_us
        with keeper.serving() as serving:
            reading = serving.reading
            self.first = self._begin = serving.floor
            self.last = self._end = reading.last_position()
            if question.since is not None:
                self.first = position_at(reading, question.since - 1)
                self._begin = position_at(reading, question.since - 1 - window)
            if question.until is not None:
                self.last = position_at(reading, question.until)
                self._end = position_at(reading, question.until + window)
            if question.position is not None:
                self.last = min(self.last, question.position)
                self._end = min(self._end, question.position)

    def known(self) -> list[tuple[bytes, bytes, bytes]]:
        """Who was given what before the first read that is judged."""
        with self._keeper.serving() as serving:
            found = serving.reading.connection.execute(
                f"SELECT DISTINCT caller, application, owner FROM {serving.table}"
                f" WHERE outcome = {_GRANTED} AND position > ? AND position <= ?",
                (serving.floor, self._begin),
            )
        return [(bytes(who), bytes(application), bytes(owner)) for who, application, owner in found]

    def reads(self) -> Iterator[Read]:
        """Each of them, in order of time, in pages."""
        after = self._begin
        while True:
            with self._keeper.serving() as serving:
                found = self._page(serving, max(after, serving.floor))
            for position, at, who, application, owner in found:
                if not (isinstance(at, int) and isinstance(position, int)):
                    raise astray(after)
                yield Read(position, at, bytes(who), bytes(application), bytes(owner))
            if len(found) < _PAGE:
                return
            after = found[-1][0]

    def is_of_its_time(self, position: int, before: int | None) -> bool:
        """Whether a read is of the time that is asked for, and not of a page that was told."""
        return self.first < position <= self.last and (before is None or position < before)

    def _page(self, serving: Serving, after: int) -> list[tuple[Any, ...]]:
        return serving.reading.connection.execute(
            "SELECT v.position, l.recorded_at, v.caller, v.application, v.owner"
            f" FROM {serving.table} AS v JOIN log AS l ON l.position = v.position"
            f" WHERE v.outcome = {_GRANTED} AND v.position > ? AND v.position <= ?"
            " ORDER BY v.position LIMIT ?",
            (after, self._end, _PAGE),
        )
