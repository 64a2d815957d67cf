"""Deciding every access again, from the log alone, by the rules it was decided under.

The policy is folded from the beginning, and at each access record the same pure rules are asked
with the inputs that the record holds. A record that answers otherwise should not have been.
"""

from __future__ import annotations

from typing import Any

from ledger.aggregates.access import Access
from ledger.aggregates.application import Application, fold_application
from ledger.aggregates.mapping import CredentialMapping, mapping_from
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.roles import Roles, fold_roles
from ledger.claims import parse_claim
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable, LedgerError
from ledger.identifiers import application_key
from ledger.log.rows import LogRow
from ledger.log.store import Store
from ledger.policy import Caller, decide_get, owner_for
from projections.documents import time_text
from projections.view import Progress

_PREFIXES = ("application.", "role.", "credential.", "access.")
_PAGE_ROWS = 1000


class Redecision:
    """The policy as folded so far, and what was found."""

    def __init__(self) -> None:
        self.checked = 0
        self.wrong: list[dict[str, Any]] = []
        self.unreadable: list[dict[str, Any]] = []
        self._states: dict[str, Application] = {}
        self._roles = Roles()
        self._mappings: dict[tuple[str, str | None], CredentialMapping] = {}

    def see(self, recorded: Recorded) -> None:
        """Fold one event, or decide one access again."""
        match recorded.topic.partition(".")[0]:
            case "application":
                key = _key(recorded.event.application)  # type: ignore[attr-defined] # all of these have one
                state = fold_application(self._states.get(key), recorded)
                if state is not None:
                    self._states[key] = state
            case "role":
                self._roles = fold_roles(self._roles, recorded) or self._roles
            case "credential":
                mapping = mapping_from(recorded)
                if mapping is not None:
                    self._mappings[_key(mapping.application), mapping.owner] = mapping
            case "access":
                self._decide(recorded)

    def pass_over(self, row: LogRow, error: LedgerError) -> None:
        """Note a record whose key is not held."""
        if self.unreadable and self.unreadable[-1]["to"] == row.position - 1:
            self.unreadable[-1]["to"] = row.position
        else:
            self.unreadable.append({"from": row.position, "to": row.position, "why": error.code})

    def _decide(self, recorded: Recorded) -> None:
        record = recorded.event
        if not isinstance(record, Access):
            return
        self.checked += 1
        claims = [parse_claim(text) for text in record.claims]
        caller = Caller(claims[0], tuple(claims[1:]))
        state = self._states.get(_key(record.application))
        decision = decide_get(
            state,
            self._roles,
            caller,
            restricted=record.restricted,
            fields=record.requested,
        )
        recomputed, version = "denied", None
        if decision.allowed and state is not None:
            owner = owner_for(state, caller)
            mapping = self._mappings.get((state.key, str(owner) if owner else None))
            recomputed = "not-set"
            if mapping is not None and mapping.counts_in(state.creation):
                recomputed, version = "granted", mapping.value_version
        stated = recorded.topic.removeprefix("access.")
        through = str(decision.through) if decision.through else None
        same = (stated, record.value_version, record.through) == (recomputed, version, through)
        if not same:
            self.wrong.append(
                {
                    "position": recorded.position,
                    "recorded_at": time_text(recorded.recorded_at),
                    "recorded": stated,
                    "recomputed": recomputed,
                    "why": decision.detail,
                }
            )


def redecide(
    store: Store, mapper: EventMapper, *, progress: Progress | None = None
) -> dict[str, Any]:
    """`{"checked", "wrong", "unreadable"}` over the whole log."""
    redecision = Redecision()
    position = 0
    while True:
        with store.reading() as reading:
            rows = reading.rows_after(position, _PAGE_ROWS)
            total = reading.last_position()
        for row in rows:
            if not row.topic.startswith(_PREFIXES):
                continue
            try:
                recorded = mapper.open(row)
            except KeyUnavailable as error:
                redecision.pass_over(row, error)
                continue
            redecision.see(recorded)
        if not rows:
            break
        position = rows[-1].position
        if progress is not None:
            progress(position, total)
    return {
        "checked": redecision.checked,
        "wrong": redecision.wrong,
        "unreadable": redecision.unreadable,
    }


def _key(application: str) -> str:
    try:
        return application_key(application)
    except LedgerError:
        return application
