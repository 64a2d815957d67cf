"""Access records are kept as the policy says, then erased with the keys of their months."""

from __future__ import annotations

import contextlib
import dataclasses
import time

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from msgspec.structs import replace

from ledger.aggregates.access import Access
from ledger.claims import parse_claim
from ledger.codec.mapper import EventMapper, compartment_of
from ledger.errors import (
    Conflict,
    InvalidInput,
    KeyUnavailable,
    LedgerError,
    NotFound,
    Refused,
    Tampered,
)
from ledger.log.verification import verify_log
from ledger.log.writer import Writer
from ledger.policy import Caller
from ledger.sealing.compartments import Compartment
from ledger.sealing.epochs import DAY_US, KeyName, period_after, period_of, period_start
from ledger.sealing.keyring_file import KeyringFile, read_keyring
from ledger.sealing.slots import new_passphrase, passphrase
from ledger.usecases.acting import Acting
from ledger.usecases.retention import DAYS_MAX, Retainer
from ledger.values import FieldValue
from projections.explanation import explain
from projections.redecide import redecide
from tests.conftest import CHEAP, unlocked_by_passphrase
from tests.faults.test_hosts_at_once import another_host

OPERATOR = Acting(reason="by law")
ALICE = parse_claim("user:alice")
BOB = parse_claim("user:bob")
AUDITOR_PASSPHRASE = "eleven auditors count sheep"
HOUR_US = 3_600_000_000


def move(house, months: int, since_start_us: int) -> None:
    """Set the clock to so long after the start of the month that many after the first."""
    with house.store().reading() as reading:
        first = period_of(reading.row_at(1).recorded_at)
    moment = period_start(period_after(first, months)) + since_start_us
    house.clock.offset_us = moment - time.time_ns() // 1000


def opened(house, **settings):
    return house.open(accept_clock=True, **settings)


def read(ledger, who=ALICE, application="CRM"):
    """One attempt; the position of its record."""
    with contextlib.suppress(LedgerError):
        return ledger.retrieve(Caller(who), application).position
    return ledger.head().size


def grow(house):
    """Records of four months, in the second of them of two epochs; now it is in the fifth."""
    ledger = opened(house)
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.set_credentials(
        Acting(),
        "CRM",
        ALICE,
        {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("one")},
    )
    house.of_month = {0: [read(ledger), read(ledger, BOB)]}
    for month in (1, 2, 3):
        move(house, month, 14 * DAY_US)
        house.of_month[month] = [read(ledger), read(ledger, application="Nowhere")]
        if month == 1:
            ledger.rotate(Acting(), without_backup=True)
            house.of_month[month].append(read(ledger))
        ledger.record_query(Acting(), "access {}", 2)
    move(house, 4, 9 * DAY_US)
    ledger.retention.set_policy(OPERATOR, 31)
    ledger.close()


@pytest.fixture
def grown(prepared):
    return prepared(grow)


def rows(house):
    with house.store().reading() as reading:
        return reading.rows_after(0, 1000)


def topics(house, *prefixes):
    return [row.topic for row in rows(house) if row.topic.startswith(prefixes)]


def held(house, path=None):
    return unlocked_by_passphrase(path or house.keyring_path)


def seen(ledger):
    return sorted(one["position"] for one in ledger.views.accesses.newest(limit=None))


def of_months(house, *months):
    return sorted(position for month in months for position in house.of_month[month])


def require_whole(house, *months: int) -> None:
    """The log verifies, views agree with it, these months' records are there and no others."""
    assert verify_log(house.store()).ok
    ledger = opened(house)
    assert seen(ledger) == of_months(house, *months)
    before = ledger.views.digests()
    assert all(view["same"] for view in ledger.views.rebuild())
    assert ledger.views.digests() == before
    assert all(one["outcome"] != "unreadable" for one in ledger.views.accesses.newest(limit=None))
    retention = ledger.retention.state()
    again = redecide(house.store(), ledger._desk.mapper, retention=retention)
    assert again["wrong"] == []
    assert again["checked"] == len(of_months(house, *months))
    assert [one["why"] for one in again["unreadable"]] == [one.why for one in retention.erasures]
    ledger.close()


def test_months_that_are_wholly_older_are_erased_and_no_others(grown):
    ledger = opened(grown)
    state = ledger.views.credentials()
    history = ledger.views.history("CRM", "user:alice")
    outcome = ledger.retention.apply(OPERATOR)
    assert len(outcome.months) == 3
    assert outcome.until == max(of_months(grown, 2)) + 1  # the question of that month
    # Seven attempts and two questions; the rotation's month has a key in each of two epochs.
    assert (outcome.records, outcome.keys) == (9, 4)
    assert seen(ledger) == of_months(grown, 3)
    assert ledger.views.credentials() == state
    assert ledger.views.history("CRM", "user:alice") == history
    assert read(ledger) == ledger.head().size
    ledger.close()
    grown.of_month[3].append(rows(grown)[-1].position)
    require_whole(grown, 3)
    assert topics(grown, "keys.", "history.") == [
        "keys.destroying",
        "history.erased",
        "keys.destroyed",
    ]
    told = opened(grown)
    assert [one["detail"] for one in told.views.changes() if one["event"] == "history.erased"] == [
        {"until": outcome.until}
    ]
    told.close()


def test_nothing_goes_without_a_policy_nor_twice(grown):
    ledger = opened(grown)
    ledger.retention.set_policy(Acting(), None)
    outcome = ledger.retention.apply(OPERATOR)
    assert (outcome.position, outcome.months, outcome.records) == (None, (), 0)
    assert topics(grown, "keys.") == []
    ledger.retention.set_policy(Acting(), 31)
    until = ledger.retention.apply(OPERATOR).until
    size = ledger.head().size
    again = ledger.retention.apply(OPERATOR)
    assert (again.position, again.until, again.records) == (None, until, 0)
    assert ledger.head().size == size
    ledger.close()
    require_whole(grown, 3)


def test_a_later_run_erases_what_has_become_old_since(grown):
    ledger = opened(grown)
    first = ledger.retention.apply(OPERATOR)
    grown.of_month[4] = [read(ledger)]
    move(grown, 5, 9 * DAY_US)
    second = ledger.retention.apply(OPERATOR)
    assert second.months == (period_after(first.months[-1], 1),)
    assert second.until > first.until
    retention = ledger.retention.state()
    assert retention.erasure_of(first.until) == retention.erasures[0]
    assert retention.erasure_of(first.until + 1) == retention.erasures[1]
    assert retention.erasure_of(second.until) == retention.erasures[1]
    assert retention.erasure_of(second.until + 1) is None
    ledger.close()
    require_whole(grown, 4)


def test_what_is_planned_is_what_is_done_and_planning_changes_nothing(grown):
    ledger = opened(grown)
    size = ledger.head().size
    planned = ledger.retention.planned()
    assert ledger.head().size == size
    done = ledger.retention.apply(OPERATOR)
    assert replace(done, position=None) == planned
    ledger.close()


@pytest.mark.parametrize("days", [30, 0, -1, DAYS_MAX + 1])
def test_a_policy_is_31_days_at_least(grown, days):
    ledger = opened(grown)
    size = ledger.head().size
    with pytest.raises(InvalidInput) as caught:
        ledger.retention.set_policy(Acting(), days)
    assert caught.value.code == "invalid-retention"
    assert ledger.head().size == size
    assert not ledger.retention.set_policy(Acting(), 31).changed
    assert ledger.retention.set_policy(Acting(), DAYS_MAX).changed
    assert ledger.retention.planned().months == ()
    ledger.close()


def test_a_month_goes_with_its_last_microsecond_and_not_before(grown):
    """A record at the very end of a month, seen from both sides of the moment it is 31 days old."""
    ledger = opened(grown)
    start = ledger.retention.planned()
    assert len(start.months) == 3
    # Month 3 ends where month 4 begins; it may go 31 days after that.
    move(grown, 4, 31 * DAY_US - HOUR_US)
    assert ledger.retention.planned().months == start.months
    move(grown, 4, 31 * DAY_US + HOUR_US)
    assert len(ledger.retention.planned().months) == 4
    ledger.close()


def test_records_on_both_sides_of_the_end_of_a_month_part_there(house):
    ledger = opened(house)
    move(house, 2, -2_000_000)
    last = read(ledger, application="Nowhere")
    move(house, 2, HOUR_US)
    first = read(ledger, application="Nowhere")
    assert first == last + 1
    ledger.retention.set_policy(OPERATOR, 31)
    move(house, 3, 20 * DAY_US)
    # By now the month of the first is older in part only.
    assert ledger.retention.apply(OPERATOR).until == last
    assert seen(ledger) == [first]
    ledger.close()


def test_the_current_month_stays_whatever_the_day(house):
    """At the end of a long month its beginning is 31 days old, nearly."""
    ledger = opened(house)
    ledger.retention.set_policy(OPERATOR, 31)
    for month in range(1, 14):
        move(house, month + 1, -3_000_000)
        read(ledger, application="Nowhere")
        current = rows(house)[-1].period
        assert all(gone < current for gone in ledger.retention.planned().months)
    ledger.close()


def opens(key: bytes, row, mapper) -> bool:
    place = mapper.associated_data(row)
    derived = HKDFExpand(SHA256(), 32, b"credledger/v1/access" + row.stream).derive(key)
    for candidate in (key, derived):
        with contextlib.suppress(InvalidTag):
            AESGCM(candidate).decrypt(row.sealed[:12], row.sealed[12:], place)
            return True
    return False


def test_no_remaining_key_opens_an_erased_record(grown):
    """Shown from the stored bytes with every key there is, and that a kept record does open."""
    ledger = opened(grown)
    mapper = ledger._desk.mapper
    outcome = ledger.retention.apply(OPERATOR)
    ledger.close()
    unlocked = held(grown)
    keys = [unlocked.root, unlocked.stream_key]
    for epoch in unlocked.epochs:
        keys += [key for key in (epoch.state, epoch.secret, *epoch.access) if key is not None]
    tried = [row for row in rows(grown) if compartment_of(row.topic) is Compartment.ACCESS]
    assert {row.epoch for row in tried if row.position <= outcome.until} == {1, 2}
    for row in tried:
        assert any(opens(key, row, mapper) for key in keys) == (row.position > outcome.until)


def test_a_hold_blocks_and_its_release_unblocks(grown):
    ledger = opened(grown)
    ledger.retention.hold(Acting(reason="asked for by counsel"), " Case 4711 ")
    ledger.retention.hold(Acting(), "Other")
    for name in ("Case 4711", "OTHER"):
        with pytest.raises(Refused) as caught:
            ledger.retention.apply(OPERATOR)
        assert caught.value.code == "legal-hold"
        assert topics(grown, "keys.", "history.") == []
        ledger.retention.release(Acting(), name)
    assert ledger.retention.holds() == ()
    assert ledger.retention.apply(OPERATOR).position is not None
    ledger.close()
    require_whole(grown, 3)


def test_a_hold_is_named_once_and_released_once(ledger):
    held_by = ledger.retention.hold(Acting(reason="why"), "Case 4711")
    size = ledger.head().size
    with pytest.raises(Conflict) as again:
        ledger.retention.hold(Acting(), "case 4711")
    with pytest.raises(NotFound) as unknown:
        ledger.retention.release(Acting(), "Case 4712")
    for bad in ("", "  ", "a" * 129, "a\x1b[31m", "x" * 5000):
        with pytest.raises(InvalidInput) as invalid:
            ledger.retention.hold(Acting(), bad)
        assert invalid.value.code == "invalid-hold"
    assert (again.value.code, unknown.value.code) == ("hold-exists", "no-such-hold")
    assert ledger.head().size == size
    (hold,) = ledger.retention.holds()
    assert (hold.name, hold.reason, hold.by) == ("Case 4711", "why", "operator")
    assert hold.position == held_by.position
    assert ledger.retention.release(Acting(), "CASE 4711").name == "Case 4711"


def test_a_hold_that_comes_before_the_lock_is_taken_still_blocks(grown, monkeypatch):
    """It was not there when the run looked, only when it decided."""
    other, ledger = opened(grown), opened(grown)
    finish, late = Retainer._finish, []

    def finishing(self, acting):
        finish(self, acting)
        if not late:
            late.append(other.retention.hold(Acting(), "late"))

    monkeypatch.setattr(Retainer, "_finish", finishing)
    with pytest.raises(Refused, match="hold"):
        ledger.retention.apply(OPERATOR)
    ledger.close()
    other.close()
    require_whole(grown, 0, 1, 2, 3)


class Cut(BaseException):
    """The process dies here."""


def cut_at(monkeypatch, step, work):
    """Do it, dying before the so-manieth change of log or file; whether it died."""
    run, write, left = Writer.run, KeyringFile.write, [step]

    def counted(function):
        def cutting(self, *asked):
            if left[0] == 0:
                raise Cut
            left[0] -= 1
            return function(self, *asked)

        return cutting

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "run", counted(run))
        patched.setattr(KeyringFile, "write", counted(write))
        try:
            work()
        except Cut:
            return True
    return False


@pytest.mark.parametrize("step", range(4))
def test_a_run_that_is_cut_off_is_finished_by_the_next(grown, monkeypatch, step):
    """Before the intent, before the file, before the record; and not at all."""
    ledger = opened(grown)
    assert cut_at(monkeypatch, step, lambda: ledger.retention.apply(OPERATOR)) == (step < 3)
    # At every moment the views say what a rebuild says, whether or not keys are still held.
    months = (0, 1, 2, 3) if step == 0 else (3,)
    assert seen(ledger) == of_months(grown, *months)
    assert all(view["same"] for view in ledger.views.rebuild())
    ledger.close()
    require_whole(grown, *months)
    again = opened(grown)
    again.retention.apply(OPERATOR)
    history = again.key_history()
    assert len(history.destroyed) == 4
    assert history.destroyed == history.destroying
    again.close()
    assert not any(
        keys.holds(name)
        for keys in held(grown).epochs
        for name in history.destroyed
        if name.epoch == keys.epoch
    )
    assert topics(grown, "history.") == ["history.erased"]
    require_whole(grown, 3)


def test_what_was_decided_is_finished_under_a_hold_and_nothing_more(grown, monkeypatch):
    ledger = opened(grown)
    assert cut_at(monkeypatch, 1, lambda: ledger.retention.apply(OPERATOR))
    decided = ledger.retention.state().erasures[-1]
    assert ledger.retention.hold(Acting(), "late").decided == decided.position
    move(grown, 6, 0)
    assert ledger.retention.planned().months != ()
    done = ledger.retention.apply(OPERATOR)
    assert (done.finishes, done.position, done.until) == (decided.position, None, decided.until)
    assert (done.months, done.keys, done.records) == ((), 0, 0)
    with pytest.raises(Refused):
        ledger.retention.apply(OPERATOR)
    assert topics(grown, "history.") == ["history.erased"]
    assert topics(grown, "keys.") == ["keys.destroying", "keys.destroyed"]
    ledger.close()
    require_whole(grown, 3)


def test_two_runs_at_once_are_one(grown, monkeypatch):
    """The second finds done what it has planned."""
    other, ledger = opened(grown), opened(grown)
    finish, between = Retainer._finish, []

    def finishing(self, acting):
        finish(self, acting)
        if self is ledger.retention and not between:
            between.append(other.retention.apply(OPERATOR))

    monkeypatch.setattr(Retainer, "_finish", finishing)
    assert ledger.retention.apply(OPERATOR).position is None
    ledger.close()
    other.close()
    assert topics(grown, "keys.", "history.") == [
        "keys.destroying",
        "history.erased",
        "keys.destroyed",
    ]
    require_whole(grown, 3)


def test_a_clock_set_back_lets_go_less_and_records_stay_in_order(grown):
    ledger = opened(grown)
    grown.clock.offset_us -= 40 * DAY_US
    outcome = ledger.retention.apply(OPERATOR)
    assert len(outcome.months) < 3
    position = read(ledger)
    newest = rows(grown)[position - 1]
    assert newest.period == rows(grown)[position - 2].period
    grown.of_month[4] = [position]
    grown.clock.offset_us += 40 * DAY_US
    assert len(ledger.retention.apply(OPERATOR).months) + len(outcome.months) == 3
    ledger.close()
    with grown.store().reading() as reading:
        erased = [row for row in reading.rows_after(0, 1000) if row.topic == "history.erased"]
    assert len(erased) == (2 if outcome.months else 1)
    assert verify_log(grown.store()).ok


def leaves_put_right(house, mapper) -> None:
    """What somebody does who knows the format and has no key."""
    for row in rows(house):
        leaf = row.computed_leaf(mapper.ledger_id)
        house.sql("UPDATE log SET leaf = ? WHERE position = ?", leaf, row.position)


@pytest.mark.parametrize("changed", ["recorded_at = 1", "recorded_at = recorded_at * 2"])
@pytest.mark.parametrize("hidden", [False, True])
def test_times_changed_in_the_database_erase_nothing(grown, changed, hidden):
    """Neither more nor less than the policy says, even where each leaf fits its row."""
    ledger = opened(grown)
    if not grown.on_server:
        for (name,) in grown.sql("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            grown.sql(f"DROP TRIGGER {name}")
    size = ledger.head().size
    grown.sql(f"UPDATE log SET {changed} WHERE substr(topic, 1, 1) = 'a' AND position < {size - 1}")
    if hidden:
        leaves_put_right(grown, ledger._desk.mapper)
    for work in (ledger.retention.planned, lambda: ledger.retention.apply(OPERATOR)):
        with pytest.raises(Tampered) as caught:
            work()
        assert caught.value.code in {"altered-row", "time-backwards", "wrong-period", "wrong-root"}
    assert ledger.head().size == size
    ledger.close()


def test_every_edge_is_found_in_commits_of_any_size(grown):
    """Each row is checked into its own commit, whatever commits lie around it."""
    ledger = opened(grown)
    everything = rows(grown)

    def look(view):
        assert view.position_at(everything[0].recorded_at - 1) == 0
        for row in everything:
            assert view.position_at(row.recorded_at) == row.position
            assert view.position_at(row.recorded_at - 1) == row.position - 1

    ledger._writer.look(look)
    ledger.close()


def test_every_host_drops_the_keys_when_it_opens(grown, tmp_path):
    other = another_host(grown, tmp_path / "other")
    other.clock = grown.clock
    running = opened(other)
    ledger = opened(grown)
    ledger.retention.apply(OPERATOR)
    ledger.close()
    # A process that has the keys still sees nothing of what is erased.
    assert seen(running) == of_months(grown, 3)
    assert all(view["same"] for view in running.views.rebuild())
    running.close()
    first = KeyName(1, Compartment.ACCESS.value, 0)
    assert held(other).epochs[0].holds(first)
    opened(other).close()
    assert not held(other).epochs[0].holds(first)


def erased_row(house):
    return next(row for row in rows(house) if row.topic == "access.granted")


def test_whoever_meets_an_erased_record_is_told_what_erased_it(grown):
    ledger = opened(grown)
    position = ledger.retention.apply(OPERATOR).position
    store, mapper = grown.store(), ledger._desk.mapper
    retention = ledger.retention.state()
    first, *_, last = of_months(grown, 0, 1, 2)
    told = explain(store, mapper, first, retention)
    assert told["why"] == told["detail"] == f"erased by policy at position {position}"
    assert (told["outcome"], told["caller"], told["mend"]) == ("erased", None, None)
    assert redecide(store, mapper, retention=retention)["unreadable"] == [
        {"from": first, "to": last, "why": f"erased by policy at position {position}"}
    ]
    kept = explain(store, mapper, of_months(grown, 3)[0], retention)
    assert kept["outcome"] == "granted"
    with pytest.raises(NotFound):
        explain(store, mapper, 1, retention)
    with pytest.raises(KeyUnavailable) as caught:
        mapper.open(erased_row(grown))
    assert caught.value.code == "key-destroyed"
    ledger.close()


def test_the_answers_are_the_same_for_one_who_still_holds_the_keys(grown):
    """What is erased does not depend on who looks."""
    before = held(grown)
    ledger = opened(grown)
    ledger.retention.apply(OPERATOR)
    retention = ledger.retention.state()
    mapper = ledger._desk.mapper
    keeping = EventMapper(before.ledger_id, before.key_set(), ledger._desk.random)
    keeping.start(ledger.key_history().first_periods)
    store, row = grown.store(), erased_row(grown)
    assert isinstance(keeping.open(row).event, Access)
    for ask in (
        lambda mapper: explain(store, mapper, row.position, retention),
        lambda mapper: redecide(store, mapper, retention=retention),
    ):
        assert ask(keeping) == ask(mapper)
    ledger.close()


@pytest.fixture
def with_auditor(grown, tmp_path):
    """An auditor who changed the passphrase in the month after the first four."""
    file = tmp_path / "auditor" / "keyring"
    ledger = opened(grown)
    slot = ledger.add_slot(
        Acting(),
        label="aud",
        opens="auditor",
        holding=new_passphrase(AUDITOR_PASSPHRASE),
        auditor_file=file,
        cost=CHEAP,
    ).slot
    ledger.close()
    return grown, file, slot


def as_auditor(house, file):
    unlocked = read_keyring(file).unlock(passphrase(AUDITOR_PASSPHRASE))
    auditors = dataclasses.replace(house, keyring_path=file)
    return auditors.open_with(unlocked, remember=False, accept_clock=True)


def test_an_auditor_may_look_but_neither_erase_nor_hold(with_auditor):
    house, file, _ = with_auditor
    ledger = as_auditor(house, file)
    size = ledger.head().size
    for forbidden in (
        lambda: ledger.retention.apply(OPERATOR),
        lambda: ledger.retention.set_policy(Acting(), 400),
        lambda: ledger.retention.hold(Acting(), "mine"),
        lambda: ledger.retention.release(Acting(), "mine"),
    ):
        with pytest.raises(Refused) as caught:
            forbidden()
        assert caught.value.code == "operator-needed"
    assert ledger.retention.state().days == 31
    assert len(ledger.retention.planned().months) == 3
    assert ledger.head().size == size
    ledger.close()


def test_an_auditors_file_lacks_the_keys_once_it_is_opened_or_exported_anew(with_auditor, tmp_path):
    house, file, slot = with_auditor
    ledger = opened(house)
    ledger.retention.apply(OPERATOR)
    exported = tmp_path / "exported" / "keyring"
    ledger.export_auditor(Acting(), slot, exported)
    ledger.close()
    first = KeyName(1, Compartment.ACCESS.value, 0)

    def holds(path):
        return read_keyring(path).unlock(passphrase(AUDITOR_PASSPHRASE)).epochs[0].holds(first)

    assert not holds(exported)
    assert holds(file)
    theirs = as_auditor(house, file)
    assert seen(theirs) == of_months(house, 3)
    assert all(view["same"] for view in theirs.views.rebuild())
    theirs.close()
    assert not holds(file)


def test_an_auditors_passphrase_that_changed_in_an_erased_month_is_not_undone(
    with_auditor, tmp_path
):
    """What it was changed to is not known any more, only that the older half is not to be used."""
    house, file, slot = with_auditor
    theirs = as_auditor(house, file)
    newer = "twelve auditors count goats"
    theirs.change_passphrase(Acting(), passphrase(AUDITOR_PASSPHRASE), new_passphrase(newer), CHEAP)
    changed = theirs.head().size
    theirs.close()
    move(house, 6, 9 * DAY_US)
    ledger = opened(house)
    assert ledger.retention.apply(OPERATOR).until >= changed
    with pytest.raises(Conflict) as caught:
        ledger.export_auditor(Acting(), slot, tmp_path / "one")
    assert caught.value.code == "auditor-passphrase-changed"
    ledger.export_auditor(Acting(), slot, tmp_path / "two", file)
    ledger.export_auditor(Acting(), slot, tmp_path / "three")
    ledger.close()
    read_keyring(tmp_path / "three").unlock(passphrase(newer))
