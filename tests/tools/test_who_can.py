"""`audit who-can` of now and of any moment, on each kind of store."""

from __future__ import annotations

import csv
import io
import json
from contextlib import contextmanager
from weakref import WeakSet

import pytest

import tools.asking.who_can
from projections.who_can import Way
from tests.tools.conftest import auditor_of, found
from tools.asking.who_can import OpenApplications, Wanted, pages
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.showing.csv_table import csv_cell
from tools.showing.listing import CsvListing, JsonListing, TableListing
from tools.showing.show import print_json
from tools.wiring import open_session

ROW = {
    "application", "claim", "through", "restricted_through", "credential_owner", "set",
    "by_ticket",
}  # fmt: skip


def staff(cli):
    field = ("--field", "Password:password")
    cli.ok("app", "create", "Mail", "--kind", "individual", *field)
    members = ("--member", "user:bob", "--member", "group:pay")
    cli.ok("app", "create", "Payroll", "--kind", "individual", *members, *field)
    vault = ("--kind", "group", "--restricted", "--member", "group:pay")
    cli.ok("app", "create", "Vault", *vault, *field)
    cli.set("Mail", "user:alice", Password="m")
    cli.set("Payroll", "user:bob", Password="p")
    cli.set("Payroll", "user:carol", Password="p")
    cli.set("Vault", None, Password="v")
    cli.ok("role", "grant", "restricted-access", "user:alice")


@pytest.fixture
def staffed(begun):
    """An open, a closed and a restricted application, with something set in each."""
    return begun(found, staff)


def short(rows):
    return [(one["application"], one["claim"], one["through"], one["set"]) for one in rows]


def asked(cli):
    """What was recorded of the questions so far."""
    rows = [one for one in cli.ok("log", "events") if one["topic"] == "audit.queried"]
    return len(rows)


def test_one_application_says_who_and_through_what(staffed):
    """Members by name, groups as the claim, owners of an open application by what they have."""
    rows = staffed.ok("audit", "who-can", "payroll")
    assert all(set(row) == ROW for row in rows)
    assert short(rows) == [
        ("Payroll", "group:pay", "group:pay", True),
        ("Payroll", "user:bob", "user:bob", True),
    ]
    assert [row["credential_owner"] for row in rows] == [None, "user:bob"]
    answer = staffed("audit", "who-can", "mail")
    assert short(answer.json) == [("Mail", "user:alice", "user:alice", True)]
    assert "Mail is open" in answer.err
    (row,) = staffed.ok("audit", "who-can", "vault")
    assert (row["claim"], row["through"], row["restricted_through"]) == (
        "user:alice", "group:pay", "user:alice",
    )  # fmt: skip


def test_one_person_is_told_by_application_and_claim(staffed):
    """With the groups that are given; what is open is told though nothing is set."""
    assert short(staffed.ok("audit", "who-can", "--user", "user:carol")) == [
        ("Mail", "user:carol", "user:carol", False)
    ]
    with_group = ("audit", "who-can", "--user", "user:carol", "--with", "group:pay")
    assert short(staffed.ok(*with_group)) == [
        ("Mail", "user:carol", "user:carol", False),
        ("Payroll", "user:carol", "group:pay", True),
    ]
    alice = staffed.ok("audit", "who-can", "--user", "USER:Alice".lower(), "--with", "group:pay")
    assert [row["restricted_through"] for row in alice] == [None, None, "user:alice"]
    only = staffed.ok(*with_group, "--owner", "user:carol")
    assert [row["credential_owner"] for row in only] == ["user:carol"] * 2


def test_everything_is_the_three_together(staffed):
    """The whole matrix, in order of applications."""
    every = staffed.ok("audit", "who-can", "--all")
    single = [staffed.ok("audit", "who-can", one) for one in ("Mail", "Payroll", "Vault")]
    assert every == [row for rows in single for row in rows]
    assert short(staffed.ok("audit", "who-can", "--all", "--owner", "user:carol")) == [
        ("Mail", "user:carol", "user:carol", False),
        ("Payroll", "user:carol", "group:pay", True),
    ]


def test_a_moment_is_told_as_it_was(staffed):
    """What was granted, set and deleted since changes nothing about then; now says the same."""
    then = staffed.ok("status")["position"]
    before = {
        question: staffed.ok("audit", "who-can", *question)
        for question in (("payroll",), ("--all",), ("--user", "user:bob", "--with", "group:pay"))
    }
    staffed.ok("app", "revoke", "payroll", "member", "user:bob")
    staffed.ok("app", "grant", "payroll", "member", "user:mallory")
    staffed.ok("app", "grant", "vault", "member", "user:alice")
    staffed.ok("role", "revoke", "restricted-access", "user:alice")
    staffed.ok("credential", "delete", "payroll", "--owner", "user:carol", "--yes")
    staffed.ok("app", "delete", "mail", "--yes")
    for question, rows in before.items():
        assert staffed.ok("audit", "who-can", *question, "--position", str(then)) == rows
        assert staffed.ok("audit", "who-can", *question) != rows
        newest = str(staffed.ok("status")["position"])
        now = staffed.ok("audit", "who-can", *question)
        assert staffed.ok("audit", "who-can", *question, "--position", newest) == now
    assert staffed.ok("audit", "who-can", "--all", "--at", "now") == staffed.ok(
        "audit", "who-can", "--all"
    )
    assert staffed.ok("audit", "who-can", "--all", "--at", "2001-01-01T00:00:00Z") == []


def test_a_question_off_the_mark_is_refused_and_not_recorded(staffed):
    """Nothing, two things, two moments, one to come, an owner where there is none."""
    before = asked(staffed)
    who = ("audit", "who-can")
    staffed.fails(2, "who-can-what", *who)
    staffed.fails(2, "who-can-what", *who, "payroll", "--all")
    staffed.fails(2, "who-can-what", *who, "--all", "--user", "user:bob")
    staffed.fails(2, "with-without-as", *who, "payroll", "--with", "group:pay")
    staffed.fails(2, "two-moments", *who, "--all", "--at", "now", "--position", "3")
    staffed.fails(2, "future-time", *who, "--all", "--at", "2999-01-01T00:00:00Z")
    staffed.fails(2, "invalid-time", *who, "--all", "--at", "whenever")
    staffed.fails(3, "beyond-the-log", *who, "--all", "--position", "100000")
    staffed.fails(2, "usage", *who, "--all", "--position", "0")
    staffed.fails(2, "owner-not-used", *who, "vault", "--owner", "user:bob")
    staffed.fails(2, "invalid-owner", *who, "payroll", "--owner", "group:pay")
    staffed.fails(2, "invalid-claim", *who, "--user", "nobody")
    staffed.fails(3, "no-such-application", *who, "nothing")
    staffed.fails(3, "no-such-application", *who, "vault", "--position", "2")
    staffed.fails(2, "usage", *who, "--all", "--unknown-filter", "x")
    assert staffed("audit", "who-can", "--all", "--csv").code == 2
    assert asked(staffed) == before


def test_csv_is_for_spreadsheets_and_safe_there(staffed):
    """A claim that a spreadsheet would run gets an apostrophe; nothing else is changed."""
    staffed.ok("app", "grant", "payroll", "member", "=HYPERLINK(1)#group:x")
    answer = staffed("audit", "who-can", "--all", "--csv", json_wanted=False)
    assert answer.code == 0
    heading, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert set(heading) == ROW
    assert len(rows) == len(staffed.ok("audit", "who-can", "--all"))
    assert answer.text.count("\r\n") == len(rows) + 1
    claim = "'=HYPERLINK(1)#group:x"
    assert ["Payroll", claim, claim, "", "", "yes", "no"] in rows


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_a_cell_that_is_a_formula_becomes_text(text):
    """Each of the characters that begin one."""
    assert csv_cell(text, "claim") == f"'{text}"
    assert csv_cell(f"a{text}", "claim") == f"a{text}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\uff1d1", r"\uff1d1"),
        ("\uff0b1", r"\uff0b1"),
        ("\uff0d1", r"\uff0d1"),
        ("\uff20x", r"\uff20x"),
        ("\t=1", r"\u0009=1"),
        ("\r\nx", r"\u000d\u000ax"),
        ("user:a\u202eb", r"user:a\u202eb"),
    ],
)
def test_what_moves_a_reader_or_his_spreadsheet_is_spelled_out_in_a_cell(text, told):
    """Controls, what turns a line around, and the wide forms of a formula's signs."""
    assert csv_cell(text, "claim") == told


def test_an_auditor_asks_and_is_recorded_before_the_answer(staffed):
    """The same rows from the auditor's own keyring, each question in the log with its filter."""
    auditor = auditor_of(staffed)
    for question in (("payroll",), ("--all",), ("--user", "user:bob", "--position", "9")):
        before = asked(staffed)
        rows = auditor.ok("audit", "who-can", *question)
        assert asked(staffed) == before + 1
        assert rows == staffed.ok("audit", "who-can", *question)
    assert staffed.ok("log", "verify")["ok"]


def test_an_operator_asks_for_somebody_who_may_read_the_history(staffed):
    """Whoever holds the right of an auditor; nobody else, and an auditor acts for nobody."""
    question = ("audit", "who-can", "payroll", "--as", "user:ada")
    staffed.fails(4, "not-allowed", *question)
    staffed.ok("role", "grant", "auditor", "group:audit")
    staffed.fails(4, "not-allowed", *question)
    assert staffed.ok(*question, "--with", "group:audit")
    auditor_of(staffed).fails(4, "operator-needed", *question, "--with", "group:audit")


def test_one_persons_answer_is_their_part_of_the_whole(staffed):
    """Also in applications with many events, and in groups with and without something set."""
    for number in range(20):
        staffed.ok("app", "update", "Vault", "--name", f"Vault {number}")
        staffed.ok("app", "grant", "Payroll", "member", f"user:bob-{number}")
    staffed.ok("app", "create", "Empty", "--kind", "group", "--member", "group:pay")
    staffed.ok("app", "create", "Others", "--kind", "group", "--member", "group:ops")
    staffed.set("Others", None, **{"Windows User Name": "u", "Windows Password": "p"})
    staffed.ok("app", "create", "Gone", "--kind", "individual")
    staffed.ok("app", "delete", "Gone", "--yes")
    at = str(staffed.ok("status")["position"])
    for who in (("user:bob",), ("user:alice", "--with", "group:pay"), ("user:bob-19",)):
        question = ("audit", "who-can", "--user", *who)
        assert staffed.ok(*question) == staffed.ok(*question, "--position", at)
    with_pay = staffed.ok("audit", "who-can", "--user", "user:alice", "--with", "group:pay")
    assert [(one["application"], one["set"]) for one in with_pay] == [
        ("Empty", False), ("Mail", True), ("Payroll", False), ("Vault", True),
    ]  # fmt: skip


def test_redeemers_are_told_to_read_by_ticket(staffed):
    """Of the application, of the redeemer, of one owner and of an earlier moment alike."""
    update = ("app", "create", "Portal", "--kind", "individual", "--ticketing")
    staffed.ok(*update, "--ticket-redeemer", "service:portal", "--field", "Password:password")
    before = staffed.set("Portal", "user:alice", Password="x")["position"]
    by_ticket = {
        "application": "Portal",
        "claim": "service:portal",
        "through": "service:portal",
        "restricted_through": None,
        "credential_owner": None,
        "set": True,
        "by_ticket": True,
    }
    direct, ticket = staffed.ok("audit", "who-can", "portal")
    assert (direct["claim"], direct["by_ticket"]) == ("user:alice", False)
    assert ticket == by_ticket
    of_user = staffed.ok("audit", "who-can", "--user", "service:portal")
    assert by_ticket in of_user
    owner = ("--owner", "user:alice")
    assert {**by_ticket, "credential_owner": "user:alice"} in staffed.ok(
        "audit", "who-can", "portal", *owner
    )
    (found,) = staffed.ok("audit", "who-can", "--user", "service:portal", *owner)
    assert found == {**by_ticket, "credential_owner": "user:alice"}
    staffed.ok("app", "revoke", "Portal", "ticket-redeemer", "service:portal")
    assert len(staffed.ok("audit", "who-can", "portal")) == 1
    then = staffed.ok("audit", "who-can", "portal", "--position", str(before))
    assert by_ticket in then


@contextmanager
def opened(cli):
    """A session with the ledger of these commands."""
    named = ("store", "keyring", "key_file")
    given = {name: cli.environment[f"CREDLEDGER_{name.upper()}"] for name in named}
    with open_session(decide(Given(**given), {}), StandardInput()) as session:
        yield session


def filters(cli):
    """What was recorded of the questions, in order: the filter and the number of rows."""
    text = cli("audit", "export", "--format", "jsonl", json_wanted=False).text
    rows = [json.loads(line) for line in text.splitlines()]
    told = [row["detail"] for row in rows if row["event"] == "audit.queried"]
    return [
        (json.loads(one["filter"].removeprefix("who-can ")), one["rows"])
        for one in told
        if one["filter"].startswith("who-can ")
    ]


@pytest.mark.parametrize("form", ["--json", "--csv", "table"])
def test_a_long_answer_is_the_same_and_each_of_its_pages_is_recorded(staffed, monkeypatch, form):
    """With its rows and where it begins; every row that is printed is in one of the records."""
    how = () if form == "table" else (form,)
    question = ("audit", "who-can", "--all", *how)
    whole = staffed(*question, json_wanted=False)
    before = len(filters(staffed))
    monkeypatch.setattr(tools.asking.who_can, "PAGE_ROWS", 2)
    parted = staffed(*question, json_wanted=False)
    assert (parted.code, parted.out, parted.err) == (0, whole.out, whole.err)
    assert filters(staffed)[before:] == [
        ({"all": True}, 3),
        ({"all": True, "after": "Payroll"}, 1),
    ]


def test_an_answer_without_rows_is_recorded_and_printed_all_the_same(staffed):
    """Once, in each form."""
    never = ("audit", "who-can", "--all", "--at", "2001-01-01T00:00:00Z")
    before = asked(staffed)
    assert staffed(*never).text == "[]\n"
    heading = staffed(*never, "--csv", json_wanted=False).text
    assert set(heading.strip().split(",")) == ROW
    assert len(staffed(*never, json_wanted=False).text.splitlines()) == 1
    assert asked(staffed) == before + 3


def test_no_page_is_printed_before_it_is_recorded(staffed, monkeypatch):
    """Where the second cannot be, the first was answered, and nobody takes it for the whole."""
    monkeypatch.setattr(tools.asking.who_can, "PAGE_ROWS", 1)
    count = 0

    def failing(original):
        def record(session, acting, question, rows):
            nonlocal count
            count += 1
            if count == 2:
                raise OSError(28, "No space left on device")
            original(session, acting, question, rows)

        return record

    record = tools.wiring.Session.record_query
    monkeypatch.setattr(tools.wiring.Session, "record_query", failing(record))
    answer = staffed("audit", "who-can", "--all")
    assert (answer.code, answer.error["code"]) == (7, "system-refused")
    assert [one["application"] for one in json.loads(answer.text + "]")] == ["Mail"]
    assert len(filters(staffed)) == 1


class Row(dict):
    """A row that can be looked after, as a plain dict cannot."""

    __hash__ = object.__hash__


def test_no_more_rows_are_held_than_a_page_and_an_application(staffed, monkeypatch):
    """However many the answer has, whether of now or of a moment."""
    for number in range(12):
        staffed.ok("app", "create", f"Wiki {number:02}", "--kind", "group", "--member", "group:ops")
    monkeypatch.setattr(tools.asking.who_can, "PAGE_ROWS", 3)
    made = Way.as_document
    held = WeakSet()

    def kept_in_sight(way):
        held.add(row := Row(made(way)))
        return row

    monkeypatch.setattr(Way, "as_document", kept_in_sight)
    position = int(staffed.ok("status")["position"])
    with opened(staffed) as session:
        for wanted in (Wanted(everything=True), Wanted(everything=True, position=position)):
            at_once = []
            for page in pages(session, wanted, OpenApplications()):
                at_once.append(len(held))
                page.rows.clear()
            assert sum(at_once) == 16
            assert max(at_once) == 3


def test_it_is_said_once_that_an_answer_in_pages_is_not_recorded(staffed, monkeypatch, tmp_path):
    """Of an archive, for one."""
    staffed.ok("backup", "create", str(tmp_path / "archive"))
    monkeypatch.setattr(tools.asking.who_can, "PAGE_ROWS", 1)
    answer = staffed("audit", "who-can", "--all", "--archive", str(tmp_path / "archive"))
    assert len(answer.json) == 4
    assert answer.err.count("not recorded") == 1


ROWS = [{"application": "=x", "set": True, "owner": None}, {"application": "é", "set": False}]


def test_rows_in_pages_look_like_rows_at_once(capsys):
    """Whatever form they have; an empty page is nothing."""
    columns = {"application": "Application", "set": "Set"}

    def printed(listing, *parts):
        for part in parts:
            listing.put(part)
        listing.end()
        return capsys.readouterr().out

    for made in (lambda: CsvListing(list(columns)), lambda: TableListing(columns), JsonListing):
        assert printed(made(), ROWS[:1], [], ROWS[1:]) == printed(made(), ROWS)
        assert printed(made()) == printed(made(), [])
    print_json(ROWS)
    assert capsys.readouterr().out == printed(JsonListing(), ROWS[:1], ROWS[1:])
