"""What the read side tells of tickets: decided again, explained, found, exported, reported."""

from __future__ import annotations

import contextlib
import os

import pytest
from msgspec.structs import replace

from ledger.aggregates.retention import Retention
from ledger.aggregates.tickets import TicketIssued, TicketLapsed, TicketRedeemed
from ledger.errors import LedgerError
from projections.documents import time_text
from projections.explanation import explain
from projections.redecide import redecide
from projections.redeciding import Decider
from projections.report import fold_report
from projections.report_tickets import Tickets
from projections.stretch import Stretch, bounds_of
from tests.projections.conftest import OPERATOR, PAIR, LackingMapper, caller, opened, owner

DAY_US = 86_400_000_000
REDEEMERS = ("service:portal",)
ALICE, PORTAL, STRANGER = caller("user:alice"), caller("service:portal"), caller("service:x")


def fill(house):
    with opened(house) as world:
        ledger = world.ledger
        ledger.create_application(
            OPERATOR,
            "Mail",
            kind="individual",
            ticketing=True,
            ticket_redeemers=("service:portal",),
        )
        ledger.create_application(OPERATOR, "Plain", kind="individual", members=("user:alice",))
        ledger.create_application(
            OPERATOR,
            "Finance",
            kind="group",
            ticketing=True,
            members=("group:finance",),
            ticket_redeemers=("service:portal", "group:portals"),
        )
        for name in ("user:alice", "user:bob"):
            ledger.set_credentials(OPERATOR, "Mail", owner(name), PAIR)
        ledger.set_credentials(OPERATOR, "Finance", None, PAIR)


@pytest.fixture
def world(prepared):
    with opened(prepared(fill)) as world:
        yield world


def try_all(world):
    """Every way in which a ticket is issued or not, redeemed or refused."""
    ledger = world.ledger

    def redeem(who, application, ticket, **asked):
        with contextlib.suppress(LedgerError):
            ledger.tickets.redeem(who, application, ticket, **asked)

    member = caller("user:alice", "group:finance")
    for application in ("Nowhere", "Plain", "Finance"):
        with contextlib.suppress(LedgerError):
            ledger.tickets.issue(ALICE, application)
    bound = ledger.tickets.issue(ALICE, "Mail").ticket.reveal()
    free = ledger.tickets.issue(member, reason="free").ticket.reveal()
    group = ledger.tickets.issue(member, "Finance").ticket.reveal()
    carol = ledger.tickets.issue(caller("user:carol"), "Mail").ticket.reveal()
    late = ledger.tickets.issue(ALICE, "Mail").ticket.reveal()
    redeem(STRANGER, "Mail", bound)
    redeem(PORTAL, "Finance", bound)
    redeem(PORTAL, "Plain", bound)
    redeem(PORTAL, "Nowhere", bound)
    redeem(PORTAL, "Mail", "nonsense")
    redeem(PORTAL, "Mail", carol)
    redeem(PORTAL, "Mail", bound, fields=("PIN",))
    redeem(PORTAL, "Mail", bound, fields=("windows password",))
    redeem(PORTAL, "Mail", bound)
    redeem(caller("service:two", "group:portals"), "Finance", free)
    ledger.revoke(OPERATOR, "Finance", "member", "group:finance")
    redeem(PORTAL, "Finance", group)
    ledger.grant(OPERATOR, "Finance", "member", "group:finance")
    redeem(PORTAL, "Finance", group)
    world.house.clock.offset_us += 120_000_000
    redeem(PORTAL, "Mail", late)
    redeem(PORTAL, "Mail", late)
    world.read(ALICE, "Mail")


def events(world):
    with world.store.reading() as reading:
        rows = reading.rows_after(0, 10_000)
    return [world.mapper.open(row) for row in rows]


def append(world, *forged):
    """Events as only somebody with the keys could write them: (None or a stream, event)."""

    class Forged:
        def decide(self, transaction):
            actor = world.ledger._desk.slot
            for stream, event in forged:
                if stream is None:
                    transaction.append_access(event, actor, "forged")
                else:
                    transaction.append(stream, event, actor, "forged")
            return transaction.next_position - 1

    return world.ledger._writer.run(Forged())


def rechecked(world):
    return redecide(world.store, world.mapper)


# Recheck


def test_every_redemption_is_decided_again_with_the_same_answer(world):
    """All refusals, expiries and issues, too; nothing is found wrong, and nothing unreadable."""
    try_all(world)
    found = rechecked(world)
    attempts = [one for one in events(world) if one.topic.startswith("access.")]
    assert found == {"checked": len(attempts), "wrong": [], "unreadable": []}
    kinds = {one.topic for one in events(world) if one.topic.startswith("ticket.")}
    assert kinds == {
        "ticket.issued", "ticket.not-issued", "ticket.redeemed", "ticket.refused", "ticket.expired",
    }  # fmt: skip


def last_pair(world):
    """The last redemption, and the access that it gave."""
    found = events(world)
    at = max(i for i, one in enumerate(found) if isinstance(one.event, TicketRedeemed))
    return found[at], found[at + 1]


def redeemed(world):
    ticket = world.ledger.tickets.issue(ALICE, "Mail")
    world.ledger.tickets.redeem(PORTAL, "Mail", ticket.ticket.reveal())
    return last_pair(world)


def whys(world):
    return [one["why"] for one in rechecked(world)["wrong"]]


def test_a_ticket_redeemed_twice_is_found(world):
    """Somebody with the keys who lets a ticket be used again is told of."""
    became, access = redeemed(world)
    append(world, (became.stream, became.event), (None, access.event))
    assert whys(world)[0].startswith("ticket-used: differs in outcome")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"caller": "service:x", "claims": ("service:x",)}, "not-a-redeemer: differs"),
        ({"on_behalf_of": "user:bob"}, "ticket-differs"),
        ({"reading": -1}, "ticket-expired: differs"),
        ({"ticket": bytes(32), "issued": None}, "no-such-ticket: differs"),
        ({"issued": 3}, "ticket-differs"),
        ({"application": "Finance"}, "ticket-differs"),
    ],
)
def test_a_redemption_that_should_not_have_been_is_found(world, change, why):
    """Another redeemer, user, time, ticket or application than the rules allow."""
    issued = world.ledger.tickets.issue(ALICE, "Mail")
    other = world.ledger.tickets.issue(ALICE, "Mail")
    world.ledger.tickets.redeem(PORTAL, "Mail", other.ticket.reveal())
    became, access = last_pair(world)
    digest = issued.ticket.digest(world.ledger._desk.streams.tickets_key())
    event = replace(became.event, ticket=digest, issued=issued.position)
    if "reading" in change:
        change = {"reading": event.reading - 301_000_000}
    event = replace(event, **change)
    both = {name: change[name] for name in ("caller", "claims") if name in change}
    stream = world.ledger._desk.streams.ticket(digest)
    append(world, (stream, event), (None, replace(access.event, **both)))
    assert any(one.startswith(why) for one in whys(world)), whys(world)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, "ticket-good"),
        ({"issued": 3}, "no-such-ticket"),
        ({"ticket": bytes(32)}, "no-such-ticket"),
        ({"user": "user:bob"}, "ticket-differs"),
        ({"application": None}, "ticket-differs"),
    ],
)
def test_a_lapse_that_should_not_have_been_is_found(world, change, why):
    """Before the time was over, or of another ticket, user or application."""
    issued = world.ledger.tickets.issue(ALICE, "Mail")
    digest = issued.ticket.digest(world.ledger._desk.streams.tickets_key())
    event = TicketLapsed(digest, "user:alice", "Mail", REDEEMERS, issued.position, issued.issued_at)
    append(world, (world.ledger._desk.streams.ticket(digest), replace(event, **change)))
    assert whys(world) == [why]


def test_a_used_ticket_does_not_lapse(world):
    """One that is said to have lapsed all the same is found."""
    became, _ = redeemed(world)
    event = TicketLapsed(
        became.event.ticket, "user:alice", "Mail", (), became.event.issued, became.event.reading
    )
    append(world, (became.stream, event))
    assert whys(world) == ["ticket-used"]


def lapse_of(world, issued, application, redeemers=REDEEMERS):
    """The lapse as a sweep would record it now, and the stream it belongs to."""
    digest = issued.ticket.digest(world.ledger._desk.streams.tickets_key())
    event = TicketLapsed(
        digest, "user:alice", application, redeemers, issued.position, world.house.clock()
    )
    return world.ledger._desk.streams.ticket(digest), event


@pytest.mark.parametrize("timeout_s", [300, 86_400, None])
@pytest.mark.parametrize("days", [0, 2, 30])
def test_a_lapse_is_judged_however_long_ago_the_issue_was(world, timeout_s, days):
    """One a moment too early is found, and none that is in time; None is for any application."""
    application = None if timeout_s is None else "Mail"
    redeemers = () if timeout_s is None else REDEEMERS
    if timeout_s is not None:
        changes = {"ticket_timeout_s": timeout_s}
        world.ledger.update_application(OPERATOR, "Mail", changes=changes)
    one, other, late = (world.ledger.tickets.issue(ALICE, application) for _ in range(3))
    life_us = (timeout_s or 86_400) * 1_000_000
    world.house.clock.offset_us += life_us + 300_000_000 - 60_000_000
    early = append(world, lapse_of(world, one, application, redeemers))
    world.house.clock.offset_us += 60_000_000 + days * DAY_US
    append(world, lapse_of(world, other, application, redeemers))
    with pytest.raises(LedgerError):
        world.ledger.tickets.redeem(PORTAL, "Mail", late.ticket.reveal())
    assert world.ledger.tickets.sweep() == 0
    found = rechecked(world)
    assert [(one["position"], one["why"]) for one in found["wrong"]] == [(early, "ticket-good")]
    assert found["unreadable"] == []


@pytest.mark.parametrize("days", [0, 2, 30])
@pytest.mark.parametrize(
    ("redeemers", "whys_then"),
    [
        (REDEEMERS, []),
        ((), ["redeemers-differ"]),
        (("service:x",), ["redeemers-differ"]),
        ((*REDEEMERS, "service:x"), ["redeemers-differ"]),
    ],
)
def test_a_lapse_that_names_other_redeemers_is_found(world, days, redeemers, whys_then):
    """Those that there were when it was noticed count, not those of the issue."""
    issued = world.ledger.tickets.issue(ALICE, "Mail")
    world.house.clock.offset_us += 600_000_000 + days * DAY_US
    append(world, lapse_of(world, issued, "Mail", redeemers))
    assert whys(world) == whys_then
    world.ledger.grant(OPERATOR, "Mail", "ticket-redeemer", "service:x")
    assert whys(world) == whys_then


def test_of_an_application_that_is_another_by_then_nobody_could_bring_it(world):
    """A lapse that names the new one's redeemers is found."""
    right, wrong = (world.ledger.tickets.issue(ALICE, "Mail") for _ in range(2))
    world.ledger.delete_application(OPERATOR, "Mail")
    world.ledger.create_application(
        OPERATOR, "Mail", kind="individual", ticketing=True, ticket_redeemers=REDEEMERS
    )
    world.house.clock.offset_us += 600_000_000
    append(world, lapse_of(world, right, "Mail", ()))
    forged = append(world, lapse_of(world, wrong, "Mail"))
    found = [(one["position"], one["why"]) for one in rechecked(world)["wrong"]]
    assert found == [(forged, "redeemers-differ")]


@pytest.mark.parametrize("days", [0, 2, 30])
def test_a_ticket_ends_once_however_long_ago_that_was(world, days):
    """A forged lapse of one that was redeemed, and of one that lapsed, is found exactly."""
    became, _ = redeemed(world)
    never = world.ledger.tickets.issue(ALICE, "Mail")
    world.house.clock.offset_us += 600_000_000
    assert world.ledger.tickets.sweep() == 1
    assert whys(world) == []
    world.house.clock.offset_us += days * DAY_US
    used = TicketLapsed(
        became.event.ticket, "user:alice", "Mail", REDEEMERS, became.event.issued, 1
    )
    first = append(world, (became.stream, used))
    second = append(world, lapse_of(world, never, "Mail"))
    found = [(one["position"], one["why"]) for one in rechecked(world)["wrong"]]
    assert found == [(first, "ticket-used"), (second, "ticket-used")]


@pytest.mark.parametrize("days", [0, 2, 30])
def test_an_expiry_that_ends_a_ticket_twice_is_found(world, days):
    """Who comes after the end is refused, and ends nothing any more."""
    ticket = world.ledger.tickets.issue(ALICE, "Mail")
    world.house.clock.offset_us += 600_000_000 + days * DAY_US
    with pytest.raises(LedgerError):
        world.ledger.tickets.redeem(PORTAL, "Mail", ticket.ticket.reveal())
    became, access = events(world)[-2:]
    assert became.topic == "ticket.expired"
    assert whys(world) == []
    append(world, (became.stream, became.event), (None, access.event))
    assert whys(world) == ["ticket-differs"]


@pytest.mark.parametrize(("hours", "is_right"), [(25, False), (47, False), (49, True)])
def test_a_host_may_not_know_a_ticket_that_it_let_go_of(world, hours, is_right):
    """Once two days were recorded since its issue, and not before; it is refused all the same."""
    ticket = world.ledger.tickets.issue(ALICE, "Mail")
    with pytest.raises(LedgerError):
        world.ledger.tickets.redeem(PORTAL, "Mail", "clt_" + "A" * 43)
    became, access = events(world)[-2:]
    digest = ticket.ticket.digest(world.ledger._desk.streams.tickets_key())
    world.house.clock.offset_us += hours * 3600 * 1_000_000
    append(world, (None, replace(became.event, ticket=digest)), (None, access.event))
    assert whys(world) == ([] if is_right else ["ticket-differs"])


def test_a_refusal_for_what_became_of_a_ticket_that_never_was_is_found(world):
    """It names an issue, as if that were so long ago that nothing need be known of it."""
    with pytest.raises(LedgerError):
        world.ledger.tickets.redeem(PORTAL, "Mail", "clt_" + "A" * 43)
    became, access = events(world)[-2:]
    forged = replace(became.event, issued=became.position, detail="ticket-used")
    append(world, (None, forged), (None, replace(access.event, detail="ticket-used")))
    assert len(whys(world)) == 1


def test_a_redemption_that_names_another_claim_of_the_users_is_found(world):
    """By which of their claims the user may read is decided again as well."""
    member = caller("user:alice", "group:finance")
    issued = world.ledger.tickets.issue(member, "Finance")
    other = world.ledger.tickets.issue(member, "Finance")
    world.ledger.tickets.redeem(PORTAL, "Finance", other.ticket.reveal())
    became, access = last_pair(world)
    assert (became.event.behalf, whys(world)) == ("group:finance", [])
    stream, lapse = lapse_of(world, issued, "Finance")
    forged = replace(
        became.event, ticket=lapse.ticket, issued=issued.position, behalf="group:other"
    )
    append(world, (stream, forged), (None, access.event))
    assert whys(world) == ["redeemer: differs in behalf"]


def test_an_access_for_somebody_without_a_ticket_is_found(world):
    """Nobody reads on somebody's behalf but by a ticket."""
    _, access = redeemed(world)
    append(world, (None, access.event))
    assert len(whys(world)) == 1


def test_a_redemption_without_an_access_is_found(world):
    """In the middle of the log and at its end."""
    became, _ = redeemed(world)
    append(world, (became.stream, became.event))
    assert whys(world) == ["access-missing"]
    world.ledger.role_grant(OPERATOR, "auditor", "user:ada")
    append(world, (became.stream, became.event))
    assert whys(world) == ["access-missing"] * 2
    world.read(ALICE, "Mail")
    assert whys(world) == ["access-missing", "ticket-differs"]


@pytest.mark.parametrize("behind", [0, 1])
def test_a_redemption_without_an_access_is_found_where_a_question_ends(world, behind):
    """Unless it is the last row that is asked about: what goes with it may lie behind."""
    became, _ = redeemed(world)
    alone = append(world, (became.stream, became.event))
    for _ in range(2):
        world.ledger.record_query(OPERATOR, "events", 0)
    asked = Stretch(position=alone + behind)
    found = redecide(world.store, world.mapper, stretch=asked)["wrong"]
    assert [one["why"] for one in found] == ["access-missing"] * behind


@pytest.mark.parametrize("is_parted", [False, True])
def test_no_altered_time_tells_whether_an_access_may_lie_behind_the_end(
    world, monkeypatch, is_parted
):
    """By one process and by several: a redemption at the log's end, or right before its access."""
    became, access = redeemed(world)
    if not is_parted:
        append(world, (became.stream, became.event))
        *_, became = events(world)
    asked = Stretch(until=became.recorded_at)
    led_to = access.position if is_parted else became.position - 1
    monkeypatch.setattr("projections.stretch.position_at", lambda *_: led_to)
    with world.store.reading() as reading:
        bounds = bounds_of(reading, asked)
    told = [] if is_parted else ["access-missing"]
    found = redecide(world.store, world.mapper, stretch=asked)
    assert [one["why"] for one in found["wrong"]] == told
    one = Decider(world.store, world.mapper, Retention(), [0], 1, bounds).decide(0)
    assert [one["why"] for one in one.found.wrong] == told


def test_what_became_of_a_ticket_whose_issue_cannot_be_read_is_unreadable(world):
    became, access = redeemed(world)
    stale = LackingMapper(world.mapper, lambda row: row.position == became.event.issued)
    found = redecide(world.store, stale)
    assert (found["wrong"], found["checked"]) == ([], 0)
    issued, end = became.event.issued, access.position
    assert [(one["from"], one["to"], one["why"]) for one in found["unreadable"]] == [
        (issued, issued, "key-missing"),
        (end, end, "ticket-unreadable"),
    ]


def test_a_ticket_that_should_not_have_been_issued_is_found(world):
    """For somebody who is no member, with another end, or of another creation."""
    redeemed(world)
    issued = next(one for one in events(world) if isinstance(one.event, TicketIssued)).event
    forged = [
        replace(issued, application="Finance", ticket=os.urandom(32)),
        replace(issued, expires_at=issued.expires_at + 1, ticket=os.urandom(32)),
        replace(issued, creation=issued.creation + 1, ticket=os.urandom(32)),
        replace(issued, user="user:bob", ticket=os.urandom(32)),
    ]
    for event in forged:
        append(world, (world.ledger._desk.streams.ticket(event.ticket), event))
    assert len(whys(world)) == len(forged)


def test_nothing_is_wrong_by_policy_that_cannot_be_read(world):
    """What was issued, redeemed, refused and ended after it is named, and the policy itself."""
    issued = [world.ledger.tickets.issue(ALICE, "Mail") for _ in range(3)]
    with contextlib.suppress(LedgerError):
        world.ledger.tickets.issue(caller("user:eve"), "Finance")
    world.ledger.tickets.redeem(PORTAL, "Mail", issued[0].ticket.reveal())
    with contextlib.suppress(LedgerError):
        world.ledger.tickets.redeem(STRANGER, "Mail", issued[1].ticket.reveal())
    world.house.clock.offset_us += DAY_US
    assert world.ledger.tickets.sweep() == 2
    assert rechecked(world)["wrong"] == []
    policy = next(one.position for one in events(world) if one.topic == "application.created")
    stale = LackingMapper(world.mapper, lambda row: row.position == policy)
    found = redecide(world.store, stale)
    assert (found["wrong"], found["checked"]) == ([], 0)
    key, *others = found["unreadable"]
    assert (key["from"], key["why"]) == (policy, "key-missing")
    assert {one["why"] for one in others} == {"policy-unreadable"}
    named = {position for one in others for position in range(one["from"], one["to"] + 1)}
    topics = {one.topic for one in events(world) if one.position in named}
    assert {"ticket.issued", "ticket.not-issued", "ticket.lapsed", "access.granted"} <= topics


def test_what_was_issued_long_ago_is_not_held(world):
    """A refusal of a ticket of more than a day ago is right, whoever it was; a release is not."""
    ticket = world.ledger.tickets.issue(ALICE, "Mail")
    world.house.clock.offset_us += 25 * 3600 * 1_000_000
    with pytest.raises(LedgerError):
        world.ledger.tickets.redeem(PORTAL, "Mail", ticket.ticket.reveal())
    world.ledger.tickets.issue(ALICE, "Mail")
    assert rechecked(world)["wrong"] == []
    with pytest.raises(LedgerError):
        world.ledger.tickets.redeem(PORTAL, "Mail", ticket.ticket.reveal())
    assert rechecked(world)["wrong"] == []
    became, access = redeemed(world)
    digest = ticket.ticket.digest(world.ledger._desk.streams.tickets_key())
    event = replace(became.event, ticket=digest, issued=ticket.position)
    stream = world.ledger._desk.streams.ticket(digest)
    append(world, (stream, event), (None, access.event))
    assert len(whys(world)) == 1


# Explanations


def test_a_redemption_is_explained_with_its_ticket(world):
    """From the position of the access as from that of what became of the ticket."""
    ledger = world.ledger
    issued = ledger.tickets.issue(caller("user:alice", "group:finance"), "Finance")
    found = ledger.tickets.redeem(PORTAL, "Finance", issued.ticket.reveal())
    told = explain(world.store, world.mapper, found.position)
    assert explain(world.store, world.mapper, found.position - 1) == told
    assert (told["outcome"], told["detail"], told["mend"]) == ("granted", "redeemer", None)
    assert "a redeemer" in told["why"]
    assert told["ticket"] == {
        "user": "user:alice",
        "claims": ["user:alice", "group:finance"],
        "through": "group:finance",
        "application": "Finance",
        "issued": issued.position,
        "issued_at": time_text(issued.issued_at),
        "expires_at": time_text(issued.expires_at),
        "asked_at": told["ticket"]["asked_at"],
    }


def test_a_direct_read_has_no_ticket_to_tell_of(world):
    """Its explanation is what it was."""
    told = explain(world.store, world.mapper, world.read(ALICE, "Mail"))
    assert "ticket" not in told


def test_every_attempt_and_issue_is_explained_in_a_sentence(world):
    """Each reason has one, and what can be mended has a command."""
    try_all(world)
    mends = {}
    for recorded in events(world):
        if recorded.topic.startswith(("access.", "ticket.")):
            told = explain(world.store, world.mapper, recorded.position)
            assert told["why"].endswith("."), told
            key = told["outcome"], told["detail"], "ticket" in told
            mends[key] = told["mend"]
    assert mends == {
        ("not-issued", "no-such-application", False): "credledger app create Nowhere"
        " --kind individual --ticketing",
        ("not-issued", "not-ticketing", False): "credledger app show Plain",
        ("not-issued", "not-a-member", False): "credledger app grant Finance member user:alice",
        ("issued", "issued", False): None,
        ("denied", "not-a-redeemer", True): "credledger app grant Mail ticket-redeemer service:x",
        ("denied", "ticket-for-another-application", True): "credledger ticket issue"
        " --as user:alice --app Finance",
        ("denied", "not-ticketing", True): "credledger app show Plain",
        ("denied", "no-such-application", True): "credledger app create Nowhere --kind individual",
        ("denied", "no-such-ticket", True): None,
        ("not-set", "not-set", True): "credledger credential set Mail --owner user:carol",
        ("denied", "unknown-field", True): "credledger app show Mail",
        ("granted", "redeemer", True): None,
        ("denied", "ticket-used", True): "credledger ticket issue --as user:alice --app Mail",
        ("denied", "not-a-member", True): "credledger app grant Finance member user:alice",
        ("denied", "ticket-expired", True): "credledger ticket issue --as user:alice --app Mail",
        ("granted", "owner", False): None,
    }


# Questions


def test_both_parties_find_it_in_the_history(world):
    """`audit access --user` matches the redeemer and the user alike."""
    _, access = redeemed(world)
    for user in ("user:alice", "service:portal"):
        (row,) = world.views.accesses.newest(user=user)
        assert (row["position"], row["on_behalf_of"]) == (access.position, "user:alice")


def test_both_parties_have_seen_it(world):
    """What a redeemer was given is exposed to the redeemer, too."""
    redeemed(world)
    for user in ("user:alice", "service:portal"):
        (line,) = world.views.exposure(user)
        assert (line["application"], line["owner"], line["times"]) == ("Mail", "user:alice", 1)


def test_views_are_the_same_when_they_are_rebuilt(world):
    """Tickets' own events are none of theirs."""
    try_all(world)
    assert all(one["same"] for one in world.views.rebuild())


def test_a_report_counts_tickets_and_for_whom_they_were_redeemed(world):
    """Under the redeemer's name, with the users told apart."""
    try_all(world)
    section = Tickets()
    fold_report(world.store, world.mapper, (section,), last=world.size)
    told = section.told()
    assert (told["issued"], told["not_issued"]) == (5, 3)
    by_name = {row["name"]: row for row in told["rows"]}
    assert set(by_name) == {"service:portal", "service:two", "service:x"}
    portal = by_name["service:portal"]
    assert (portal["redeemed"], portal["users"], portal["expired"]) == (2, 1, 1)
    kinds = [one.topic for one in events(world)]
    for became in ("redeemed", "refused", "expired"):
        assert told[became] == kinds.count(f"ticket.{became}")
