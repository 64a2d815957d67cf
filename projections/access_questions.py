"""Questions to the access history: how they are looked up, and what a true answer looks like.

Each is answered by walking one index backwards from `after`: by caller and by person on whose
behalf (two walks, put together), by owner, by application, by outcome, or simply by position. The
view only points; whether a record answers the question is decided by its own content.
"""

from __future__ import annotations

import msgspec

from ledger.aggregates.access import Access
from ledger.aggregates.recorded import Recorded
from ledger.claims import parse_claim
from ledger.errors import InvalidInput
from ledger.identifiers import application_key
from ledger.log.store import Reading
from projections.access_history import OUTCOME_NUMBERS
from projections.digests import Digests, compared
from projections.streams import position_at
from projections.view import Serving


class AccessQuestion(msgspec.Struct, frozen=True):
    """What is asked for, in canonical form; None is no condition."""

    user: str | None = None
    """The caller, or the person on whose behalf."""
    owner: str | None = None
    application: str | None = None
    """The compared form of the ID."""
    outcome: str | None = None
    since: int | None = None
    """Microseconds UTC, included."""
    until: int | None = None
    """Microseconds UTC, included."""
    position: int | None = None
    """The last that counts: what was recorded later is not looked at."""

    def fits(self, recorded: Recorded, record: Access) -> bool:
        """Whether a record answers the question."""
        return (
            self.user in {None, record.caller, record.on_behalf_of}
            and self.owner in {None, record.owner}
            and self.application in {None, compared(record.application)}
            and (self.outcome is None or recorded.topic == f"access.{self.outcome}")
            and (self.since is None or self.since <= recorded.recorded_at)
            and (self.until is None or recorded.recorded_at <= self.until)
            and (self.position is None or recorded.position <= self.position)
        )

    def positions(
        self, serving: Serving, digests: Digests, before: int | None, limit: int
    ) -> list[int]:
        """The next positions below `before` that the view gives, newest first."""
        reading, table = serving.reading, serving.table
        conditions, parameters = self._conditions(serving, digests, before)
        if self.user is None:
            sql, values = _walk(table, conditions), [*parameters, limit]
        else:
            user = digests.claim(self.user)
            walks = [
                f"SELECT position FROM ({_walk(table, [f'{column} = ?', *conditions])}) AS {column}"
                for column in ("caller", "on_behalf")
            ]
            sql = f"{' UNION '.join(walks)} ORDER BY position DESC LIMIT ?"
            values = [user, *parameters, limit, user, *parameters, limit, limit]
        return [position for (position,) in reading.connection.execute(sql, values)]

    def _conditions(
        self, serving: Serving, digests: Digests, before: int | None
    ) -> tuple[list[str], list[object]]:
        conditions: list[str] = []
        parameters: list[object] = []
        for column, digest in (
            ("owner", self.owner and digests.claim(self.owner)),
            ("application", self.application and digests.application(self.application)),
        ):
            if digest:
                conditions.append(f"{column} = ?")
                parameters.append(digest)
        if self.outcome is not None:
            # The number stands in the statement, so that a partial index may serve it.
            number = OUTCOME_NUMBERS[f"access.{self.outcome}"]
            conditions.append(f"outcome = {number}" + (" AND outcome <> 1" if number > 1 else ""))
        for bound, position in self._bounds(serving.reading, before):
            conditions.append(f"position {bound} ?")
            parameters.append(position)
        return [*conditions, "position > ?"], [*parameters, serving.floor]

    def _bounds(self, reading: Reading, before: int | None) -> list[tuple[str, int]]:
        bounds = [] if before is None else [("<", before)]
        if self.until is not None:
            bounds.append(("<=", position_at(reading, self.until)))
        if self.position is not None:
            bounds.append(("<=", self.position))
        if self.since is not None:
            bounds.append((">", position_at(reading, self.since - 1)))
        return bounds


def access_question(
    user: str | None,
    owner: str | None,
    application: str | None,
    outcome: str | None,
    since: int | None,
    until: int | None,
    position: int | None = None,
) -> AccessQuestion:
    """The question; `invalid-outcome`, `reversed-range`, or a name's own error if it is none."""
    if outcome is not None and f"access.{outcome}" not in OUTCOME_NUMBERS:
        raise InvalidInput("invalid-outcome", "Outcomes are granted, denied and not-set.")
    if since is not None and until is not None and since > until:
        raise InvalidInput("reversed-range", "--since lies after --until.")
    return AccessQuestion(
        user=None if user is None else str(parse_claim(user)),
        owner=None if owner is None else str(parse_claim(owner)),
        application=None if application is None else application_key(application),
        outcome=outcome,
        since=since,
        until=until,
        position=position,
    )


def _walk(table: str, conditions: list[str]) -> str:
    where = " AND ".join(conditions)
    return f"SELECT position FROM {table} WHERE {where} ORDER BY position DESC LIMIT ?"
