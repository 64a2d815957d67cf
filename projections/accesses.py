"""What the access history answers: attempts to read, found by the view and told by the log.

The view only points. Every attempt that is told was opened from the log's own row, and a row that
does not answer the question is tampering; what such answers cannot promise, `projections.views`
says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ledger.aggregates.access import Access
from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable
from ledger.log.rows import LogRow
from ledger.log.store import Store
from projections.access_history import OUTCOME_NUMBERS
from projections.access_questions import AccessQuestion, access_question
from projections.digests import Digests
from projections.documents import access_document, unreadable_access
from projections.judging import Judging
from projections.self_granted import grants_of
from projections.unusual import Rules, unusual
from projections.view import ViewKeeper, astray

_PAGE = 500
_ANY_GRANTED = AccessQuestion(outcome="granted")


class Accesses:
    """The attempts to read that one ledger has recorded."""

    def __init__(
        self, keeper: ViewKeeper, store: Store, mapper: EventMapper, digests: Digests
    ) -> None:
        """`keeper` is that of the access history."""
        self._keeper = keeper
        self._store = store
        self._mapper = mapper
        self._digests = digests

    def newest(
        self,
        user: str | None = None,
        owner: str | None = None,
        application: str | None = None,
        outcome: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int | None = 100,
        after: int | None = None,
    ) -> list[dict[str, Any]]:
        """Attempts to read, newest first; `after` is the position that a page ended with.

        `since` and `until` are microseconds UTC, both included; without a limit, or with 0, all.
        """
        question = access_question(user, owner, application, outcome, since, until)
        return list(self.attempts(question, limit, after))

    def attempts(
        self, question: AccessQuestion, limit: int | None = None, after: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """The same as they are found, a page held at a time."""
        left, before = limit or None, after
        while left is None or left > 0:
            wanted = _PAGE if left is None else min(_PAGE, left)
            with self._keeper.serving() as serving:
                found = question.positions(serving, self._digests, before, wanted)
                rows = serving.reading.rows_at(found)
            yield from (self._access_in(rows.get(one), one, question) for one in found)
            if len(found) < wanted:
                return
            left, before = None if left is None else left - wanted, found[-1]

    def unusual(
        self, question: AccessQuestion, rules: Rules, limit: int | None, after: int | None
    ) -> list[dict[str, Any]]:
        """Reads that break a rule, newest first, each with the rules that it breaks as sentences.

        All granted reads of the time that is asked for are judged; times are the log's own rows'.
        """
        judging = Judging(self._keeper, question, rules)
        broken = unusual(judging.reads(), judging.known(), rules)
        stated = rules.stated()
        chosen = sorted((one for one in broken if judging.is_of_its_time(one, after)), reverse=True)
        documents: list[dict[str, Any]] = []
        for page in range(0, len(chosen), _PAGE):
            positions = chosen[page : page + _PAGE]
            with self._store.reading() as reading:
                rows = reading.rows_at(positions)
            for position in positions:
                opened = self._opened_access(rows.get(position), position, _ANY_GRANTED)
                if isinstance(opened, dict) or not question.fits(*opened):
                    continue
                told = {rule: stated[rule] for rule in broken[position]}
                documents.append({**access_document(*opened), "unusual": told})
                if len(documents) == limit:
                    return documents
        return documents

    def self_granted(
        self, question: AccessQuestion, limit: int | None, after: int | None
    ) -> list[dict[str, Any]]:
        """Reads by whoever gave themselves what they read with, newest first, with that grant."""
        found: dict[int, dict[str, Any]] = {}
        until, position = question.until, question.position
        for grant in grants_of(self._store, self._mapper, until=until, position=position):
            theirs = AccessQuestion(
                user=grant.author, application=grant.held.application, outcome="granted"
            )
            for recorded, record in self._records(theirs, grant.position, grant.ended):
                if grant.served(recorded, record) and question.fits(recorded, record):
                    document = access_document(recorded, record)
                    told = {**document, "self_granted": grant.as_document()}
                    found.setdefault(recorded.position, told)
        chosen = sorted((one for one in found if after is None or one < after), reverse=True)
        return [found[position] for position in chosen[: limit or None]]

    def counted(self, after: int, until: int) -> dict[str, int]:
        """How many attempts of each outcome lie between two positions, by the view's own count."""
        with self._keeper.serving() as serving:
            found = serving.reading.connection.execute(
                f"SELECT outcome, count(*) FROM {serving.table}"
                " WHERE position > ? AND position <= ? GROUP BY outcome",
                (max(after, serving.floor), until),
            )
        counted = dict(found)
        return {
            topic.removeprefix("access."): counted.get(number, 0)
            for topic, number in OUTCOME_NUMBERS.items()
        }

    def _records(
        self, question: AccessQuestion, after: int, before: int | None
    ) -> Iterator[tuple[Recorded, Access]]:
        """What answers a question between two positions, newest first; unreadable ones not."""
        while True:
            with self._keeper.serving() as serving:
                found = question.positions(serving, self._digests, before, _PAGE)
                rows = serving.reading.rows_at(found)
            for position in found:
                if position <= after:
                    return
                opened = self._opened_access(rows.get(position), position, question)
                if not isinstance(opened, dict):
                    yield opened
            if len(found) < _PAGE:
                return
            before = found[-1]

    def _access_in(
        self, row: LogRow | None, position: int, question: AccessQuestion
    ) -> dict[str, Any]:
        opened = self._opened_access(row, position, question)
        return opened if isinstance(opened, dict) else access_document(*opened)

    def _opened_access(
        self, row: LogRow | None, position: int, question: AccessQuestion
    ) -> tuple[Recorded, Access] | dict[str, Any]:
        """A record that answers the question, or what is told of one that cannot be opened."""
        if row is None or not row.is_sound or not row.topic.startswith("access."):
            raise astray(position)
        try:
            recorded = self._mapper.open(row)
        except KeyUnavailable as error:
            return unreadable_access(row, error)
        record = recorded.event
        if not isinstance(record, Access) or not question.fits(recorded, record):
            raise astray(position)
        return recorded, record
