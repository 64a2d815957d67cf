"""Tickets: issued to a user, good once and in time, for a redeemer of the application only."""

from __future__ import annotations

import asyncio
import os
import pickle
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from ledger.aggregates.issuers import Settings
from ledger.aggregates.presented import PresentedToken
from ledger.claims import parse_claim
from ledger.errors import InvalidInput, LedgerError, NotFound, Refused
from ledger.policy import Caller
from ledger.sealing.tickets import Ticket, new_ticket, parse_ticket
from ledger.usecases.acting import Acting
from ledger.usecases.decisions import Asked
from ledger.usecases.retention import Erase
from ledger.usecases.tickets import RedeemTicket
from ledger.values import FieldValue
from projections.redecide import redecide

OPERATOR = Acting(reason="set-up")
SECOND_US = 1_000_000
PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("canary-7f3a")}


def caller(text, *groups):
    return Caller(parse_claim(text), tuple(parse_claim(group) for group in groups))


ALICE, BOB = caller("user:alice"), caller("user:bob")
PORTAL, STRANGER = caller("service:portal"), caller("service:stranger")


def fill(house):
    """An individual and a group application with tickets, and one without."""
    ledger = house.open()
    try:
        redeemers = ("service:portal", "group:portals")
        ledger.create_application(
            OPERATOR, "Mail", kind="individual", ticketing=True, ticket_redeemers=redeemers
        )
        ledger.create_application(
            OPERATOR,
            "Finance",
            kind="group",
            ticketing=True,
            members=("group:finance",),
            ticket_redeemers=redeemers,
            ticket_timeout_s=60,
        )
        ledger.create_application(OPERATOR, "Plain", kind="individual")
        for name in ("user:alice", "user:bob"):
            for application in ("Mail", "Plain"):
                ledger.set_credentials(OPERATOR, application, parse_claim(name), PAIR)
        ledger.set_credentials(OPERATOR, "Finance", None, PAIR)
    finally:
        ledger.close()


class Standing:
    """A clock that stands still unless a test moves it."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def house(prepared):
    made = prepared(fill)
    made.clock = Standing(made.clock())
    return made


@pytest.fixture
def frozen(house):
    return house.clock


def refused(ledger, who, application, text, **asked):
    """The refusal of a redemption, and the detail that its record holds."""
    with pytest.raises(Refused) as caught:
        ledger.tickets.redeem(who, application, text, **asked)
    assert caught.value.code == "access-denied"
    return recorded(ledger, caught.value.position)


def recorded(ledger, position):
    with ledger._writer.store.reading() as reading:
        return ledger._desk.mapper.open(reading.row_at(position))


def rows_of(house):
    return house.sql("SELECT position, topic, sealed FROM log ORDER BY position")


def topics(house):
    return [topic for _, topic, _ in rows_of(house)]


def issue(ledger, who=ALICE, application=None):
    return ledger.tickets.issue(who, application).ticket.reveal()


# One ticket, once


def test_a_redeemer_gets_what_the_user_would_get(house, ledger):
    """The values are the user's own, and two rows in a line name both parties."""
    issued = ledger.tickets.issue(ALICE, "mail", reason="open the inbox")
    found = ledger.tickets.redeem(PORTAL, "Mail", issued.ticket.reveal(), reason="inbox")
    assert (found.application, found.owner, found.version) == ("Mail", "user:alice", 1)
    assert found.fields == PAIR
    record = recorded(ledger, found.position)
    assert record.topic == "access.granted"
    access = record.event
    assert (access.caller, access.on_behalf_of) == ("service:portal", "user:alice")
    assert (access.through, access.detail) == ("service:portal", "redeemer")
    became = recorded(ledger, found.position - 1)
    assert became.topic == "ticket.redeemed"
    assert (became.event.caller, became.event.on_behalf_of) == ("service:portal", "user:alice")
    assert (became.event.issued, became.event.behalf) == (issued.position, "user:alice")
    began = recorded(ledger, issued.position)
    assert (began.topic, began.reason) == ("ticket.issued", "open the inbox")
    assert (began.event.user, began.event.application) == ("user:alice", "Mail")
    assert began.stream == became.stream != record.stream


def test_a_ticket_is_good_once(house, ledger):
    """Whoever comes second is refused, and the record says that it was used."""
    ticket = issue(ledger)
    ledger.tickets.redeem(PORTAL, "Mail", ticket)
    for _ in range(2):
        record = refused(ledger, PORTAL, "Mail", ticket)
        assert record.event.detail == "ticket-used"
        assert record.event.on_behalf_of == "user:alice"
    assert topics(house).count("access.granted") == 1


def test_a_group_is_read_by_the_claims_of_the_issue(ledger):
    """A group's shared set is given for a user who presented a member's claim at issue."""
    member = caller("user:alice", "group:finance")
    found = ledger.tickets.redeem(PORTAL, "Finance", issue(ledger, member))
    assert (found.owner, found.fields) == (None, PAIR)
    record = refused(ledger, PORTAL, "Finance", issue(ledger, ALICE))
    assert record.event.detail == "not-a-member"


def test_the_redeemers_own_claims_give_nothing(ledger):
    """A redeemer who is a member reads by the user's claims all the same."""
    both = caller("service:portal", "group:finance")
    record = refused(ledger, both, "Finance", issue(ledger, ALICE))
    assert record.event.detail == "not-a-member"


def test_a_redeemer_may_be_one_by_a_group(ledger):
    """The claim that matched is recorded."""
    found = ledger.tickets.redeem(caller("service:p2", "group:portals"), "Mail", issue(ledger))
    assert recorded(ledger, found.position).event.through == "group:portals"


def test_the_users_access_is_decided_at_the_redemption(ledger):
    """A membership that was taken since the issue is of no use."""
    member = caller("user:alice", "group:finance")
    ticket = issue(ledger, member, "Finance")
    ledger.revoke(OPERATOR, "Finance", "member", "group:finance")
    assert refused(ledger, PORTAL, "Finance", ticket).event.detail == "not-a-member"
    ledger.grant(OPERATOR, "Finance", "member", "group:finance")
    assert ledger.tickets.redeem(PORTAL, "Finance", ticket).fields == PAIR


def test_a_refusal_uses_nothing_up(ledger):
    """Strangers, other applications, unknown fields and no fields leave the ticket as it is."""
    ticket = issue(ledger, ALICE, "Mail")
    refused(ledger, STRANGER, "Mail", ticket)
    refused(ledger, PORTAL, "Finance", ticket)
    with pytest.raises(InvalidInput, match="no field") as caught:
        ledger.tickets.redeem(PORTAL, "Mail", ticket, fields=("PIN",))
    assert caught.value.code == "unknown-field"
    assert caught.value.hint.startswith("To whoever may get from the application, ")
    head = ledger.head().size
    with pytest.raises(InvalidInput) as caught:
        ledger.tickets.redeem(PORTAL, "Mail", ticket, fields=())
    assert (caught.value.code, ledger.head().size) == ("no-fields-named", head)
    asked = ("windows password",)
    found = ledger.tickets.redeem(PORTAL, "Mail", ticket, fields=asked)
    assert list(found.fields) == ["Windows Password"]


def test_nothing_set_uses_nothing_up(ledger):
    """Where nothing is set yet the ticket is good until its time is over."""
    carol = caller("user:carol")
    ticket = issue(ledger, carol)
    with pytest.raises(NotFound) as caught:
        ledger.tickets.redeem(PORTAL, "Mail", ticket)
    assert caught.value.code == "credentials-not-set"
    assert recorded(ledger, caught.value.position).event.on_behalf_of == "user:carol"
    ledger.set_credentials(OPERATOR, "Mail", parse_claim("user:carol"), PAIR)
    assert ledger.tickets.redeem(PORTAL, "Mail", ticket).owner == "user:carol"


# Refusals


def test_all_refusals_are_alike_outside(house, ledger, frozen):
    """Whatever the reason, the caller is told one thing, with a position; the record tells why."""
    used, other, late = issue(ledger), issue(ledger, ALICE, "Mail"), issue(ledger)
    ledger.tickets.redeem(PORTAL, "Mail", used)
    fresh = new_ticket(os.urandom).reveal()
    asked = [
        (PORTAL, "Mail", used, "ticket-used"),
        (PORTAL, "Finance", other, "ticket-for-another-application"),
        (PORTAL, "Mail", fresh, "no-such-ticket"),
        (PORTAL, "Mail", "clt_nonsense", "no-such-ticket"),
        (STRANGER, "Mail", other, "not-a-redeemer"),
        (STRANGER, "Mail", fresh, "not-a-redeemer"),
        (PORTAL, "Plain", other, "not-ticketing"),
        (PORTAL, "Nowhere", other, "no-such-application"),
    ]
    told = set()
    for who, application, ticket, detail in asked:
        with pytest.raises(Refused) as caught:
            ledger.tickets.redeem(who, application, ticket)
        error = caught.value
        told.add((error.code, error.message.replace(str(error.position), "N"), error.hint))
        access = recorded(ledger, error.position)
        became = recorded(ledger, error.position - 1)
        assert (access.topic, became.topic) == ("access.denied", "ticket.refused")
        assert access.event.detail == became.event.detail == detail
        assert access.event.caller == became.event.caller == str(who.claim)
        known = None if detail == "no-such-ticket" or ticket == fresh else "user:alice"
        assert access.event.on_behalf_of == became.event.on_behalf_of == known
    frozen.now += 120 * SECOND_US
    with pytest.raises(Refused) as caught:
        ledger.tickets.redeem(PORTAL, "Mail", late)
    error = caught.value
    told.add((error.code, error.message.replace(str(error.position), "N"), error.hint))
    assert len(told) == 1


def test_a_ticket_ends_with_the_application_that_it_was_issued_for(ledger):
    """An application created anew under the same ID is another one."""
    ticket = issue(ledger, ALICE, "Mail")
    ledger.delete_application(OPERATOR, "Mail")
    assert refused(ledger, PORTAL, "Mail", ticket).event.detail == "no-such-application"
    ledger.create_application(
        OPERATOR, "Mail", kind="individual", ticketing=True, ticket_redeemers=("service:portal",)
    )
    ledger.set_credentials(OPERATOR, "Mail", parse_claim("user:alice"), PAIR)
    record = refused(ledger, PORTAL, "Mail", ticket)
    assert record.event.detail == "ticket-for-another-application"


@pytest.mark.parametrize(
    ("who", "application", "detail"),
    [
        (ALICE, "Nowhere", "no-such-application"),
        (ALICE, "Plain", "not-ticketing"),
        (ALICE, "Finance", "not-a-member"),
        (caller("group:finance"), None, "not-an-owner"),
    ],
)
def test_a_refused_issue_is_recorded(house, ledger, who, application, detail):
    """Whoever gets no ticket is told a position, and no more."""
    with pytest.raises(Refused) as caught:
        ledger.tickets.issue(who, application)
    assert caught.value.code == "access-denied"
    record = recorded(ledger, caught.value.position)
    assert (record.topic, record.event.detail) == ("ticket.not-issued", detail)
    assert record.event.user == str(who.claim)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "clt_",
        "clt_" + "A" * 42,
        "clt_" + "A" * 44,
        "CLT_" + "A" * 43,
        "clt_" + "A" * 42 + "B",
        "clt_" + "A" * 42 + "\n",
        "clt_" + "A" * 43 + "\n",
        "clt_" + "+" * 43,
        "clt_" + "ſ" * 43,
        "\udcff",
        "'; DROP TABLE log; --",
        "\x00" * 43,
        "A" * 128,
    ],
)
def test_hostile_texts_are_tickets_that_nobody_knows(ledger, text):
    """Whatever is no ticket is refused like an unknown one, and is not in the record."""
    record = refused(ledger, PORTAL, "Mail", text)
    assert record.event.detail == "no-such-ticket"
    assert recorded(ledger, record.position - 1).event.ticket is None


def test_a_text_far_too_long_is_no_input(house, ledger):
    """It is refused before anything is recorded."""
    before = topics(house)
    with pytest.raises(InvalidInput) as caught:
        ledger.tickets.redeem(PORTAL, "Mail", "A" * 129)
    assert caught.value.code == "invalid-ticket"
    assert topics(house) == before


# Time


@pytest.mark.parametrize("bound", [False, True])
def test_a_ticket_is_good_until_its_time_is_over(ledger, frozen, bound):
    """A microsecond before the timeout it is good, and at the timeout it is not."""
    issued = [ledger.tickets.issue(ALICE, "Mail" if bound else None) for _ in range(3)]
    tickets = [one.ticket.reveal() for one in issued]
    began = frozen.now
    assert {one.issued_at for one in issued} == {began}
    assert {one.expires_at for one in issued} == {began + 120 * SECOND_US if bound else None}
    frozen.now = began + 120 * SECOND_US - 1
    assert ledger.tickets.redeem(PORTAL, "Mail", tickets[0]).owner == "user:alice"
    frozen.now += 1
    assert refused(ledger, PORTAL, "Mail", tickets[1]).event.detail == "ticket-expired"
    frozen.now += 1
    assert refused(ledger, PORTAL, "Mail", tickets[2]).event.detail == "ticket-expired"


def test_each_application_has_its_timeout(ledger, frozen):
    """An unbound ticket lives as long as the application that it is redeemed for says."""
    ticket = issue(ledger, caller("user:alice", "group:finance"))
    frozen.now += 60 * SECOND_US
    assert refused(ledger, PORTAL, "Finance", ticket).event.detail == "ticket-expired"


def test_what_was_told_at_issue_is_never_exceeded(ledger, frozen):
    """A longer timeout comes too late for a bound ticket, a shorter one does not."""
    longer, shorter = issue(ledger, ALICE, "Mail"), issue(ledger, ALICE, "Mail")
    ledger.update_application(OPERATOR, "Mail", changes={"ticket_timeout_s": 5})
    frozen.now += 5 * SECOND_US
    assert refused(ledger, PORTAL, "Mail", shorter).event.detail == "ticket-expired"
    ledger.update_application(OPERATOR, "Mail", changes={"ticket_timeout_s": 600})
    frozen.now += 115 * SECOND_US
    assert refused(ledger, PORTAL, "Mail", longer).event.detail == "ticket-expired"


def test_expiry_is_recorded_once_in_the_tickets_own_stream(house, ledger, frozen):
    """Who comes too late ends the ticket; who comes again is refused."""
    ticket = issue(ledger)
    frozen.now += 121 * SECOND_US
    first = refused(ledger, PORTAL, "Mail", ticket)
    became = recorded(ledger, first.position - 1)
    assert (became.topic, became.version) == ("ticket.expired", 2)
    assert (became.event.caller, became.event.on_behalf_of) == ("service:portal", "user:alice")
    refused(ledger, PORTAL, "Mail", ticket)
    assert topics(house)[-4:] == [
        "ticket.expired", "access.denied", "ticket.refused", "access.denied",
    ]  # fmt: skip


def test_a_clock_set_back_revives_nothing_that_was_noticed(ledger, frozen):
    """Once the log says that a ticket expired, it has."""
    ticket = issue(ledger)
    frozen.now += 121 * SECOND_US
    refused(ledger, PORTAL, "Mail", ticket)
    frozen.now -= 120 * SECOND_US
    assert refused(ledger, PORTAL, "Mail", ticket).event.detail == "ticket-expired"


def test_a_clock_set_back_revives_nothing_that_was_over_by_the_log(ledger, frozen):
    """A ticket is as old as the log has grown since, whatever the clock says."""
    ticket = issue(ledger)
    frozen.now += 3600 * SECOND_US
    ledger.retrieve(ALICE, "Mail")
    frozen.now -= 3599 * SECOND_US
    assert refused(ledger, PORTAL, "Mail", ticket).event.detail == "ticket-expired"


def test_a_clock_far_before_the_issue_is_not_believed(ledger, frozen):
    """Five minutes is what two hosts' clocks may be apart."""
    tickets = [issue(ledger), issue(ledger)]
    frozen.now -= 300 * SECOND_US
    assert ledger.tickets.redeem(PORTAL, "Mail", tickets[0]).owner == "user:alice"
    frozen.now -= 1
    assert refused(ledger, PORTAL, "Mail", tickets[1]).event.detail == "ticket-expired"


def test_a_log_ahead_of_the_clock_does_not_lengthen_life(ledger, frozen):
    """Deadlines go by the clock's reading, though recorded times hardly move."""
    frozen.now += 3600 * SECOND_US
    ledger.retrieve(ALICE, "Mail")
    frozen.now -= 3600 * SECOND_US
    good, late = issue(ledger), issue(ledger)
    frozen.now += 119 * SECOND_US
    assert ledger.tickets.redeem(PORTAL, "Mail", good).owner == "user:alice"
    frozen.now += SECOND_US
    assert refused(ledger, PORTAL, "Mail", late).event.detail == "ticket-expired"


# Two at once


def test_of_many_at_once_exactly_one_wins(house, ledger):
    """Threads of one process share a batch; one of them redeems."""
    ticket = issue(ledger)
    start, won, lost = threading.Barrier(12), [], []

    def redeem():
        start.wait()
        try:
            won.append(ledger.tickets.redeem(PORTAL, "Mail", ticket).position)
        except Refused as error:
            lost.append(error.position)

    threads = [threading.Thread(target=redeem) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 11)
    assert recorded(ledger, won[0]).topic == "access.granted"
    assert topics(house).count("ticket.redeemed") == 1


def test_of_two_openings_exactly_one_wins(house, ledger):
    """Another opening of the ledger, as another process has it, sees what the first one did."""
    other = house.open()
    try:
        for first, second in ((ledger, other), (other, ledger)):
            ticket = issue(ledger)
            assert first.tickets.redeem(PORTAL, "Mail", ticket).owner == "user:alice"
            assert refused(second, PORTAL, "Mail", ticket).event.detail == "ticket-used"
    finally:
        other.close()


def test_coroutines_issue_and_redeem(ledger):
    """What the service calls does the same."""

    async def both():
        issued = await ledger.tickets.issue_async(ALICE, "Mail")
        text = issued.ticket.reveal()
        asked = [ledger.tickets.redeem_async(PORTAL, "Mail", text) for _ in range(4)]
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(both())
    assert [one.owner for one in answers if not isinstance(one, LedgerError)] == ["user:alice"]
    assert {one.code for one in answers if isinstance(one, LedgerError)} == {"access-denied"}


# What is stored, and by whom it is believed


def test_the_ticket_is_nowhere_in_the_store(house, ledger):
    """Neither its text nor its bits lie in any row, in clear or sealed."""
    issued = ledger.tickets.issue(ALICE)
    ledger.tickets.redeem(PORTAL, "Mail", issued.ticket.reveal())
    ledger.close()
    text, bits = issued.ticket.reveal().encode(), issued.ticket._bits
    opened = [ledger._desk.mapper.text(row) for row in _all_rows(ledger)]
    assert not any(text in one or text[4:] in one or bits in one for one in opened)
    if not house.on_server:
        folder = house.store_path.parents[1]
        content = b"".join(one.read_bytes() for one in folder.rglob("*") if one.is_file())
        assert text not in content and text[4:] not in content and bits not in content


def _all_rows(ledger):
    with ledger._writer.store.reading() as reading:
        return [row for row in reading.rows_after(0, 10_000) if row.topic.startswith("ticket.")]


def test_a_redemption_that_was_taken_away_is_missed(house, ledger):
    """Whoever deletes the row that ended a ticket does not get it redeemed again."""
    ticket = issue(ledger)
    found = ledger.tickets.redeem(PORTAL, "Mail", ticket)
    ledger.close()
    for (name,) in (
        []
        if house.on_server
        else house.sql("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'log'")
    ):
        house.sql(f"DROP TRIGGER {name}")
    house.sql("DELETE FROM log WHERE position = ?", found.position - 1)
    again = house.open()
    try:
        with pytest.raises(LedgerError) as caught:
            again.tickets.redeem(PORTAL, "Mail", ticket)
        assert caught.value.family == "tampered"
    finally:
        again.close()


def test_a_ticket_prints_as_dots_and_does_not_pickle():
    """It leaves by `reveal` alone."""
    ticket = new_ticket(os.urandom)
    assert f"{ticket}{ticket!r}{ticket!s}{[ticket]}" == "•••" * 3 + "[•••]"
    with pytest.raises(TypeError):
        pickle.dumps(ticket)
    with pytest.raises(TypeError):
        hash(ticket)


def test_a_text_reads_back_to_its_ticket():
    """And no other text does."""
    bits = os.urandom(32)
    ticket = Ticket(bits)
    assert parse_ticket(ticket.reveal()) == ticket
    assert len(ticket.reveal()) == 47
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    near = [ticket.reveal()[:-1] + letter for letter in letters]
    assert [parse_ticket(one) for one in near].count(ticket) == 1
    assert sum(parse_ticket(one) is not None for one in near) == 16


def test_the_randomness_is_the_one_handed_in():
    """A ticket has 256 bits of it, and nothing else."""
    asked = []
    ticket = new_ticket(lambda count: asked.append(count) or bytes(range(count)))
    assert asked == [32]
    assert ticket.reveal() == "clt_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


# What a host remembers of tickets, and for how long


DAY_US = 86_400_000_000


def remembered(house, table):
    """How many rows the host's memory has in a table."""
    path = house.keyring_path.with_name(f"{house.keyring_path.name}.memory")
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


@pytest.fixture
def in_file(prepared_file):
    """In a file, where a host whose clock is far from the server's may open the ledger."""
    made = prepared_file(fill)
    made.clock = Standing(made.clock())
    return made


def restarted(house, ledger):
    ledger.close()
    return house.open()


def test_a_hosts_memory_lets_go_of_tickets_in_time(in_file):
    """Once ended, two days of the log after their issue; one that it let go of is unknown."""
    house, frozen, ledger = in_file, in_file.clock, in_file.open()
    old = issue(ledger)
    ledger.tickets.redeem(PORTAL, "Mail", issue(ledger))
    ledger = restarted(house, ledger)
    before = remembered(house, "tips")
    assert remembered(house, "passing") == 2
    frozen.now += 2 * DAY_US - SECOND_US
    kept = issue(ledger)
    ledger = restarted(house, ledger)
    assert (remembered(house, "tips"), remembered(house, "passing")) == (before + 1, 3)
    assert refused(ledger, PORTAL, "Mail", old).event.detail == "ticket-expired"
    frozen.now += SECOND_US + 1
    ledger.tickets.redeem(PORTAL, "Mail", kept)
    ledger = restarted(house, ledger)
    assert (remembered(house, "tips"), remembered(house, "passing")) == (before - 1, 1)
    record = refused(ledger, PORTAL, "Mail", old)
    assert (record.event.detail, record.event.on_behalf_of) == ("no-such-ticket", None)
    assert refused(ledger, PORTAL, "Mail", kept).event.detail == "ticket-used"
    ledger.close()


def test_a_host_that_let_go_follows_one_that_did_not(in_file):
    """What is said later of a ticket that nobody ended in 400 days is nothing to stumble over."""
    house, frozen, ledger = in_file, in_file.clock, in_file.open()
    old = issue(ledger)
    ledger._writer._remember(always=True)
    other = house.open(remember=False)
    for _ in range(14):
        frozen.now += 30 * DAY_US
        ledger.retrieve(ALICE, "Mail")
    ledger = restarted(house, ledger)
    assert refused(ledger, PORTAL, "Mail", old).event.detail == "no-such-ticket"
    assert refused(other, PORTAL, "Mail", old).event.detail == "ticket-expired"
    assert topics(house)[-2] == "ticket.expired"
    assert ledger.retrieve(ALICE, "Mail").owner == "user:alice"
    assert refused(ledger, PORTAL, "Mail", old).event.detail == "no-such-ticket"
    assert redecide(ledger._writer.store, ledger._desk.mapper)["wrong"] == []
    other.close()
    ledger.close()


def test_a_host_without_memory_knows_all_tickets(house, ledger):
    """Its walk through the log finds them where they stand."""
    used, good = issue(ledger), issue(ledger)
    ledger.tickets.redeem(PORTAL, "Mail", used)
    ledger.close()
    house.keyring_path.with_name(f"{house.keyring_path.name}.memory").unlink()
    again = house.open()
    assert refused(again, PORTAL, "Mail", used).event.detail == "ticket-used"
    assert again.tickets.redeem(PORTAL, "Mail", good).owner == "user:alice"
    again.close()


# Erasure


@pytest.fixture
def erasing(house, ledger, frozen):
    """Erases what is older than 31 days, whatever month it is."""

    def erase():
        ledger.retention.set_policy(OPERATOR, 31)
        return ledger.retention.apply(OPERATOR).until

    return erase


def test_erasure_breaks_no_live_ticket(house, ledger, frozen, erasing):
    """Months that are over for long go; a ticket of today is good until its time is over."""
    old = issue(ledger)
    ledger.tickets.redeem(PORTAL, "Mail", old)
    unused = issue(ledger)
    frozen.now += 30 * DAY_US
    ledger.retrieve(ALICE, "Mail")
    frozen.now += 30 * DAY_US
    ledger.retrieve(ALICE, "Mail")
    frozen.now += 10 * DAY_US
    good = issue(ledger, ALICE, "Mail")
    assert erasing() > 0
    assert ledger.tickets.redeem(PORTAL, "Mail", good).owner == "user:alice"
    for ticket in (old, unused):
        record = refused(ledger, PORTAL, "Mail", ticket)
        assert (record.event.detail, record.event.on_behalf_of) == ("no-such-ticket", None)
    assert (
        redecide(ledger._writer.store, ledger._desk.mapper, retention=ledger.retention.state())[
            "wrong"
        ]
        == []
    )


def test_a_used_ticket_whose_records_were_erased_stays_used(house, ledger, frozen, erasing):
    """Even where the clock is put back to the minute of its issue."""
    began = frozen.now
    used, unused = issue(ledger), issue(ledger)
    ledger.tickets.redeem(PORTAL, "Mail", used)
    for _ in range(3):
        frozen.now += 25 * DAY_US
        ledger.retrieve(ALICE, "Mail")
    assert erasing() > 0
    frozen.now = began + SECOND_US
    for ticket in (used, unused):
        assert refused(ledger, PORTAL, "Mail", ticket).event.detail == "no-such-ticket"


def test_what_is_erased_is_not_told_anew(ledger, frozen):
    """Who had a ticket is forgotten from the erasure on, though its key is still at hand."""
    issued = ledger.tickets.issue(ALICE)
    for _ in range(3):
        frozen.now += 25 * DAY_US
        ledger.retrieve(ALICE, "Mail")
    ledger.retention.set_policy(OPERATOR, 31)
    desk = ledger._desk

    class Both:
        def decide(self, transaction):
            Erase(desk, OPERATOR, finished=False).decide(transaction)
            asked = Asked(PORTAL, "Mail", restricted=False, fields=())
            return RedeemTicket(desk, asked, issued.ticket, "").decide(transaction)

    record = ledger._writer.run(Both()).record
    assert (record.detail, record.on_behalf_of) == ("no-such-ticket", None)


# Tokens


STS = "https://sts.contoso.example"
KEYS = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'


def by_token(position, text, *groups, application=""):
    """A caller for whom a token of the issuer spoke, verified by the settings of that position."""
    who = caller(f"{STS}#{text}", *(f"{STS}#{one}" for one in groups))
    ends = time.time_ns() // 1000 + 600_000_000
    token = PresentedToken(STS, position, application, expires_at=ends)
    return Caller(who.claim, who.groups, token)


@pytest.fixture
def trusting(ledger):
    """Where the issuer's settings stand; its users and services have what ours have."""
    settings = Settings(audience="ledger", algorithms=("EdDSA",), keys=KEYS, keys_url="")
    ledger.trust.add(OPERATOR, STS, settings)
    ledger.grant(OPERATOR, "Mail", "ticket-redeemer", f"{STS}#service:portal")
    ledger.set_credentials(OPERATOR, "Mail", parse_claim(f"{STS}#user:petra"), PAIR)
    return ledger.trust.issuers().get(STS).position


def nothing_wrong(ledger):
    return redecide(ledger._writer.store, ledger._desk.mapper)["wrong"] == []


def test_tokens_speak_for_user_and_redeemer(ledger, trusting):
    """Both are recorded with what was known of their tokens, and decided again by it."""
    petra, portal = by_token(trusting, "user:petra"), by_token(trusting, "service:portal")
    issued = ledger.tickets.issue(petra, "Mail")
    found = ledger.tickets.redeem(portal, "Mail", issued.ticket.reveal())
    assert found.owner == f"{STS}#user:petra"
    assert recorded(ledger, issued.position).actor.token == petra.token
    for position in (found.position - 1, found.position):
        assert recorded(ledger, position).actor.token == portal.token
    assert nothing_wrong(ledger)


def test_a_ticket_ends_with_the_trust_in_whoever_spoke_for_its_user(ledger, trusting):
    """An issuer that was removed speaks for nobody, neither user nor redeemer."""
    petra, portal = by_token(trusting, "user:petra"), by_token(trusting, "service:portal")
    theirs, ours = issue(ledger, petra), issue(ledger)
    ledger.trust.remove(OPERATOR, STS)
    assert refused(ledger, PORTAL, "Mail", theirs).event.detail == "issuer-not-trusted"
    assert refused(ledger, portal, "Mail", ours).event.detail == "issuer-not-trusted"
    with pytest.raises(Refused) as caught:
        ledger.tickets.issue(petra)
    assert recorded(ledger, caught.value.position).event.detail == "issuer-not-trusted"
    assert nothing_wrong(ledger)


def test_a_token_for_one_application_makes_tickets_for_that_one(ledger, trusting):
    """What the user's token was not for is not got by way of a ticket either."""
    petra = by_token(trusting, "user:petra", application="Finance")
    ticket = issue(ledger, petra)
    record = refused(ledger, PORTAL, "Mail", ticket)
    assert record.event.detail == "token-for-another-application"
    assert nothing_wrong(ledger)
