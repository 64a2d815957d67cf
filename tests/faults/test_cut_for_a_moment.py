"""The newest rows are taken away, true heads and all, while a question is answered, and put back.

Each row that is left lies under a signed head, so only what the process had checked before tells
that some are missing. No answer lacks them in silence, whoever makes it.
"""

from __future__ import annotations

import pytest

from ledger.aggregates.retention import Retention
from ledger.errors import Tampered
from ledger.log.checked_store import CheckedStore, KnownSize
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from projections.redeciding import Decider
from projections.stretch import WHOLE
from tests.faults.test_answers_attacked import ALICE, PAIR
from tests.faults.test_keys_destroyed_elsewhere import accept
from tests.faults.test_tampering import attack, command_line
from tools.asking import exports, questions, rechecking
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.wiring import open_session

GONE = 3
"""So many rows are taken away: the last commits."""
TABLES = {"log": "position", "commits": "size"}


@pytest.fixture
def session(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="group", members=("user:alice",))
    ledger.set_credentials(Acting(), "CRM", None, PAIR)
    for _ in range(6):
        ledger.retrieve(Caller(ALICE), "CRM")
    ledger.close()
    environment = command_line(house).environment
    with open_session(decide(Given(), environment), StandardInput()) as opened:
        opened.views.bring_forward()
        yield opened


def cut(house, session) -> int:
    """Take the newest rows away; the size that is left."""
    left = session.ledger.reach() - GONE
    for table, column in TABLES.items():
        attack(
            house, f"CREATE TABLE aside_{table} AS SELECT * FROM {table} WHERE {column} > {left}"
        )
        attack(house, f"DELETE FROM {table} WHERE {column} > {left}")
    return left


def put_back(house) -> None:
    for table in TABLES:
        attack(house, f"INSERT INTO {table} SELECT * FROM aside_{table}")


def export(session):
    span = exports._span(session, exports.Asked("jsonl", None, None, None), 0)
    return [row.row.position for row in exports._rows(session, span)]


def export_on(session):
    """The span was looked at before."""
    span = exports.Span(0, session.ledger.reach(), None, session.ledger.reach())
    return [row.row.position for row in exports._rows(session, span)]


def accesses(session):
    asked = dict.fromkeys(("user", "owner", "application", "outcome", "limit", "after"))
    return list(questions.access_rows(session, WHOLE, **asked))


def changes(session):
    return list(
        questions.change_rows(session, WHOLE, application=None, by=None, limit=None, after=None)
    )


def recheck(session):
    return questions.recheck_accesses(session)


def together(session):
    return rechecking.redecide_together(session, 2, lambda done, total: None)


ASKED = [export, export_on, accesses, changes, recheck, together]


@pytest.mark.parametrize("ask", ASKED)
def test_no_answer_lacks_what_was_checked_before(house, session, ask):
    whole = ask(session)
    left = cut(house, session)
    with pytest.raises(Tampered) as caught:
        ask(session)
    assert (caught.value.code, caught.value.position) == ("rolled-back", left + 1)
    put_back(house)
    assert ask(session) == whole


def test_nor_does_what_another_process_decides_of_a_stretch(house, session):
    """It is told how far the log was checked, and has checked nothing itself."""
    known, mapper = session.ledger.reach(), session.mapper

    def decided(size):
        store = CheckedStore(house.store(), KnownSize(size))
        return Decider(store, mapper, Retention(), [0], 1).decide(0)

    assert decided(known).stretch.end.size == known
    left = cut(house, session)
    assert decided(known) is None
    assert decided(left).stretch.end.size == left


def test_an_older_log_that_was_accepted_beside_is_answered_from(house, session):
    left = cut(house, session)
    accept(house)
    assert export(session) == [*range(1, left + 2)]  # that it was accepted is recorded
