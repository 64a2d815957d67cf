"""Accesses decided again stretch by stretch, by several, tell what one walk tells."""

from __future__ import annotations

import contextlib
import json
import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.aggregates.retention import Erasure, Retention
from ledger.aggregates.tickets import Redemption
from ledger.errors import LedgerError, Tampered
from ledger.log.snapshot import Snapshot
from projections.rechecked import Rechecked
from projections.redecide import redecide
from projections.redeciding import Decider, Joining, borders_of
from projections.stretch import Stretch, bounds_of
from tests.faults.test_tampering import attack
from tests.projections.conftest import (
    OPERATOR,
    PAIR,
    LackingMapper,
    World,
    caller,
    opened,
    owner,
    record_of,
)
from tests.projections.test_tickets import append, events, fill

ALICE, PORTAL, MEMBER = (
    caller("user:alice"),
    caller("service:portal"),
    caller("user:alice", "group:finance"),
)
SEED = 6
_DAY_US = 24 * 3600 * 1_000_000


class History:
    """What happens to a ledger by chance, and what only somebody with the keys can do to it."""

    def __init__(self, world, seed):
        self.world = world
        self.chance = random.Random(seed)
        self.tickets = ["nonsense"]

    def go_on(self, steps):
        for _ in range(steps):
            step = self.chance.choice(
                [self.read] * 4
                + [self.issue, self.redeem] * 3
                + [self.set, self.grant, self.right, self.wait, self.create]
                + [self.forge_record, self.forge_again, self.forge_parted, self.forge_alone]
            )
            with contextlib.suppress(LedgerError):
                step()

    def read(self):
        who = self.chance.choice([ALICE, MEMBER, caller("user:bob"), PORTAL])
        self.world.read(who, self.chance.choice(["Mail", "Plain", "Finance", "Nowhere"]))

    def issue(self):
        bound = self.chance.choice([None, "Mail", "Finance"])
        issued = self.world.ledger.tickets.issue(self.chance.choice([ALICE, MEMBER]), bound)
        self.tickets.append(issued.ticket.reveal())

    def redeem(self):
        application = self.chance.choice(["Mail", "Mail", "Finance", "Plain"])
        ticket = self.chance.choice(self.tickets[-3:])
        self.world.ledger.tickets.redeem(PORTAL, application, ticket)

    def set(self):
        name = self.chance.choice(["user:alice", "user:bob"])
        self.world.ledger.set_credentials(OPERATOR, "Mail", owner(name), PAIR)

    def grant(self):
        change = self.chance.choice([self.world.ledger.grant, self.world.ledger.revoke])
        change(OPERATOR, "Finance", "member", "group:finance")

    def right(self):
        ledger = self.world.ledger
        change = self.chance.choice([ledger.role_grant, ledger.role_revoke])
        change(OPERATOR, "restricted-access", "user:alice")

    def create(self):
        self.world.ledger.delete_application(OPERATOR, "Plain")
        self.world.ledger.create_application(OPERATOR, "Plain", kind="individual")

    def wait(self):
        self.world.house.clock.offset_us += self.chance.choice([60_000_000, _DAY_US + 1])

    def forge_record(self):
        self.world.append_access(record_of(application="Mail", detail="forged"))

    def forge_again(self):
        """Some row once more."""
        self._append(self._some())

    def forge_parted(self):
        """What became of a ticket, and in another commit the access behind it."""
        found = events(self.world)
        at = [at for at, one in enumerate(found[:-1]) if isinstance(one.event, Redemption)]
        one = self.chance.choice(at)
        self._append(found[one])
        if self.chance.random() < 0.5:
            self.right()
        self._append(found[one + 1])

    def forge_alone(self):
        """What became of a ticket, and no access."""
        found = [one for one in events(self.world) if isinstance(one.event, Redemption)]
        self._append(self.chance.choice(found))

    def use_twice(self):
        """What honest processes refuse: a ticket that was redeemed gives access again."""
        issued = self.world.ledger.tickets.issue(ALICE, "Mail")
        self.world.ledger.tickets.redeem(PORTAL, "Mail", issued.ticket.reveal())
        for recorded in events(self.world)[-2:]:
            self._append(recorded)

    def _some(self):
        found = events(self.world)
        return self.chance.choice([x for x in found if x.topic.startswith(("ticket.", "access."))])

    def _append(self, recorded):
        is_access = recorded.topic.startswith("access.")
        append(self.world, (None if is_access else recorded.stream, recorded.event))


def fill_by_chance(house):
    with opened(house) as world:
        history = History(world, seed=SEED)
        history.use_twice()
        history.go_on(170)


@pytest.fixture
def world(prepared):
    house = prepared(fill, fill_by_chance)
    ledger = house.open(accept_clock=True)  # days have passed in it
    yield World(house, ledger)
    ledger.close()


def deciders(world, borders, jobs, *, mapper=None, retention=None):
    log = world.store, mapper or world.mapper, retention or Retention()
    return [Decider(*log, borders, newest_epoch=1) for _ in range(jobs)]


def together(world, borders, who, **asked):
    """Each stretch decided by somebody: the number of that one, stretch by stretch."""
    several = deciders(world, borders, max(who) + 1, **asked)
    joining = Joining(borders, asked.get("retention") or Retention())
    for number, one in enumerate(who):
        decided = several[one].decide(number)
        assert decided is not None
        assert joining.take(decided)
    found = joining.found()
    assert found is not None
    return found.as_document()


def borders(world, stretch_rows=5):
    with world.store.reading() as reading:
        return borders_of(reading, stretch_rows)


def erasures(*untils):
    found = enumerate(sorted(untils), 1)
    return Retention(erasures=tuple(Erasure(900 + at, until, 0, "operator") for at, until in found))


def test_a_history_by_chance_has_everything_in_it(world):
    """What the comparison below is worth: all outcomes, all kinds of findings."""
    found = redecide(world.store, world.mapper)
    whys = {one["why"].partition(":")[0] for one in found["wrong"]}
    assert {"access-missing", "ticket-differs", "ticket-used"} <= whys
    kinds = {one.topic for one in events(world)}
    assert {"ticket.issued", "ticket.redeemed", "ticket.expired", "access.not-set"} <= kinds


@pytest.fixture
def policy(world):
    """Positions of what is neither an access nor a ticket."""
    return {one.position for one in events(world) if one.topic[:6] not in {"access", "ticket"}}


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.generate],  # a smaller example would tell no more, and takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_several_find_what_one_finds(world, policy, data):
    """Wherever the log is cut, whoever takes which part, whatever is erased or cannot be read."""
    jobs = data.draw(st.sampled_from([1, 2, 3, 7]))
    places = borders(world, data.draw(st.integers(4, 40)))
    who = [data.draw(st.integers(0, jobs - 1)) for _ in places]
    position = st.integers(1, world.size)
    retention = erasures(*data.draw(st.sets(position, max_size=2)))
    lacking = data.draw(st.one_of(st.just(set()), st.sets(position, max_size=9)))
    if data.draw(st.booleans()):  # or no key of the log's second half at all
        lacking |= set(range(world.size // 2, world.size + 1))
    if data.draw(st.booleans()):
        lacking -= policy
    mapper = LackingMapper(world.mapper, lambda row: row.position in lacking)
    alone = redecide(world.store, mapper, retention=retention)
    several = together(world, places, who, mapper=mapper, retention=retention)
    assert json.dumps(several) == json.dumps(alone)


def test_the_stretches_may_come_in_in_any_order(world):
    """Who is done first tells first; the answer is in the log's order."""
    places = borders(world)
    several = deciders(world, places, 2)
    all_of_them = [several[at % 2].decide(at) for at in range(len(places))]
    joining = Joining(places, Retention())
    for decided in reversed(all_of_them):
        assert joining.take(decided)
    assert joining.size == world.size
    assert joining.found().as_document() == redecide(world.store, world.mapper)


def test_nothing_is_told_before_all_stretches_are_there(world):
    places = borders(world)
    joining = Joining(places, Retention())
    (one,) = deciders(world, places, 1)
    for number in range(len(places) - 1):
        assert joining.take(one.decide(number))
        assert joining.found() is None


def policy_position(world, before):
    """Of the last piece of policy below a position."""
    found = [one.position for one in events(world) if one.topic.startswith("application.")]
    return max(position for position in found if position < before)


def test_policy_that_is_told_to_one_and_not_to_the_other_is_not_believed(world, monkeypatch):
    """A row that whoever judges its stretch never saw, or saw otherwise, makes no answer."""
    places = borders(world)
    first, second = deciders(world, places, 2)
    hidden = policy_position(world, places[2])
    honest = Snapshot.rows_of_topics
    monkeypatch.setattr(
        "ledger.log.snapshot.Snapshot.rows_of_topics",
        lambda *asked: [row for row in honest(*asked) if row.position != hidden],
    )
    joining = Joining(places, Retention())
    for number in range(len(places)):
        decided = (first if number < 2 else second).decide(number)
        assert joining.take(decided)
    assert joining.found() is None


def test_a_row_that_was_altered_for_a_while_is_not_believed(world, monkeypatch):
    """Its content and leaf put back before it is judged: the leaf that was taken tells."""
    places = borders(world)
    first, second = deciders(world, places, 2)
    altered = policy_position(world, places[2])
    honest = Snapshot.rows_of_topics

    def told(*asked):
        rows = honest(*asked)
        return [
            # Of an earlier row of the same stream everything but the place opens.
            row._replace(recorded_at=row.recorded_at + 1) if row.position == altered else row
            for row in rows
        ]

    monkeypatch.setattr("ledger.log.snapshot.Snapshot.rows_of_topics", told)
    joining = Joining(places, Retention())
    for number in range(len(places)):
        assert joining.take((first if number < 2 else second).decide(number))
    assert joining.found() is None


@pytest.mark.parametrize("topic", ["access.granted", "application.created"])
def test_whoever_meets_damage_says_nothing(world, topic):
    """A record that was taken away, or policy; it is for one process to tell."""
    places = borders(world)
    position = next(one.position for one in events(world) if one.topic == topic)
    (one,) = deciders(world, places, 1)
    attack(world.house, f"DELETE FROM log WHERE position = {position}")
    found = [one.decide(number) for number in range(len(places))]
    assert None in found


def test_what_begins_elsewhere_than_the_one_before_ended_is_not_joined(world):
    """Heads that do not lead to one another are no log."""
    places = borders(world)
    (one,) = deciders(world, places, 1)
    first = one.decide(0)
    second = one.decide(1)
    joining = Joining(places, Retention())
    assert joining.take(first)
    later = replace(second.stretch.begin, recorded_at=1)
    moved = replace(second.stretch, begin=later)
    assert not joining.take(second._replace(stretch=moved))


def test_an_epoch_that_began_since_is_for_one_process(world):
    """Whoever has a keyring may open what those with the keys of before cannot."""
    places = borders(world)
    lacking = LackingMapper(world.mapper, lambda row: row.position == world.size)
    log = world.store, lacking, Retention(), places
    assert Decider(*log, newest_epoch=1).decide(len(places) - 1) is not None
    assert Decider(*log, newest_epoch=0).decide(len(places) - 1) is None
    policy = policy_position(world, places[-1])
    lacking = LackingMapper(world.mapper, lambda row: row.position == policy)
    log = world.store, lacking, Retention(), places
    assert Decider(*log, newest_epoch=0).decide(len(places) - 1) is None


def test_ranges_join_as_if_nothing_had_been_between():
    """Side by side for one reason; for one erasure whatever lies between."""
    one, other = Rechecked(checked=2), Rechecked(checked=3)
    one.miss(1, 1, "gone", erased=True)
    one.miss(4, 4, "gone", erased=True)
    one.miss(5, 5, "key-missing")
    other.miss(6, 8, "key-missing")
    other.miss(10, 10, "key-missing")
    one.take(other, {"gone"})
    assert one.as_document() == {
        "checked": 5,
        "wrong": [],
        "unreadable": [
            {"from": 1, "to": 4, "why": "gone"},
            {"from": 5, "to": 8, "why": "key-missing"},
            {"from": 10, "to": 10, "why": "key-missing"},
        ],
    }


def part_of(whole, before, last, redemptions):
    """Findings of a stretch, out of those of the whole; at its end no access is missed yet."""
    return [
        one
        for one in whole["wrong"]
        if before < one["position"] <= last
        and not (one["position"] == last and one["position"] in redemptions)
    ]


@pytest.mark.parametrize("by", ["position", "time"])
def test_a_stretch_has_the_findings_of_the_whole_that_lie_in_it(world, by):
    """Wherever it begins and ends, between the rows of a redemption too, by one or by several."""
    whole = redecide(world.store, world.mapper)
    found = {one.position: one for one in events(world)}
    size = max(found)
    redemptions = {at for at, one in found.items() if isinstance(one.event, Redemption)}
    chance = random.Random(SEED)
    parted = chance.sample(sorted(redemptions), 2)
    places = [(0, size), (0, 1), (size - 1, size), *((at, at + 1) for at in parted)]
    places += [(0, at) for at in parted] + [(at, size) for at in parted]
    places += [tuple(sorted(chance.sample(range(1, size + 1), 2))) for _ in range(5)]
    for before, last in places:
        since = found[before + 1].recorded_at if before else None
        ends = {"position": {"position": last}, "time": {"until": found[last].recorded_at}}
        stretch = Stretch(since=since, **ends[by])
        told = redecide(world.store, world.mapper, stretch=stretch)
        cut = redemptions if last < size else set()
        assert told["wrong"] == part_of(whole, before, last, cut), (before, last)
        counted = [redecide(world.store, world.mapper, stretch=Stretch(position=before))] * (
            before > 0
        )
        upto = redecide(world.store, world.mapper, stretch=Stretch(position=last))
        assert told["checked"] == upto["checked"] - sum(one["checked"] for one in counted)
        assert asked_of_several(world, stretch) == told


def asked_of_several(world, stretch):
    """The same question, its stretches handed out to two in turn."""
    with world.store.reading() as reading:
        bounds = bounds_of(reading, stretch)
        begins = borders_of(reading, 7, bounds.last)
    log = world.store, world.mapper, Retention()
    two = [Decider(*log, begins, newest_epoch=1, bounds=bounds) for _ in range(2)]
    joining = Joining(begins, Retention())
    for number in range(len(begins)):
        assert joining.take(two[number % 2].decide(number))
    return joining.found().as_document()


def test_what_was_altered_before_the_end_ends_the_recheck(world):
    """Although only what came later is asked about."""
    size, early = world.size, events(world)[20].position
    attack(world.house, f"UPDATE log SET recorded_at = recorded_at + 1 WHERE position = {early}")
    late = Stretch(since=recorded_at(world, size))
    for stretch in (Stretch(position=early), late):
        with pytest.raises(Tampered) as raised:
            redecide(world.store, world.mapper, stretch=stretch)
        assert raised.value.position == early


def recorded_at(world, position):
    """When the row of a position was recorded, as the store tells it."""
    with world.store.reading() as reading:
        return reading.row_at(position).recorded_at
