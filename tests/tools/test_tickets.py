"""`ticket issue` and `ticket redeem` on the command line, on each kind of store."""

from __future__ import annotations

import json

import pytest

from ledger.errors import InvalidInput
from tests.tools.conftest import auditor_of, found
from tests.tools.test_retention import later  # noqa: F401 # a fixture
from tools.people.tickets_input import read_ticket

CANARY = "canary-5d2e-value"
AS_PORTAL = ("--as", "service:portal", "--ticket-file", "-")


def offer_tickets(cli):
    fields = ("--field", "User:user-name", "--field", "Password:password")
    cli.ok(
        "app", "create", "Mail", "--kind", "individual", "--ticketing",
        "--ticket-redeemer", "service:portal", "--credential-page", "https://help.example/set",
        *fields,
    )  # fmt: skip
    cli.ok("app", "create", "Plain", "--kind", "individual", *fields)
    cli.set("Mail", "user:ann", User="ann", Password=CANARY)


@pytest.fixture
def mail(begun):
    """A ticketing application with one owner's credentials, and a plain one."""
    return begun(found, offer_tickets)


def issued(cli, *arguments):
    return cli.ok("ticket", "issue", "--as", "user:ann", *arguments)


def ticket_of(cli, *arguments):
    return issued(cli, *arguments)["ticket"].encode()


def test_a_ticket_is_issued_and_redeemed_once(mail):
    """The shapes are those of the contract; the second redemption is refused with exit 4."""
    one = issued(mail, "--app", "mail", "--reason", "open the inbox")
    assert set(one) == {"ticket", "application", "issued_at", "expires_at", "position"}
    assert (one["application"], len(one["ticket"])) == ("Mail", 47)
    ticket = one["ticket"].encode()
    got = mail.ok("ticket", "redeem", "mail", *AS_PORTAL, stdin=ticket + b"\n")
    assert got["fields"] == {"User": "ann", "Password": CANARY}
    assert set(got) == set(mail.ok("credential", "get", "mail", "--as", "user:ann"))
    error = mail.fails(4, "access-denied", "ticket", "redeem", "mail", *AS_PORTAL, stdin=ticket)
    assert error["position"] > got["position"]
    (row,) = mail.ok("audit", "access", "--user", "user:ann", "--outcome", "denied")
    assert (row["position"], row["detail"]) == (error["position"], "ticket-used")
    assert (row["caller"], row["on_behalf_of"]) == ("service:portal", "user:ann")
    for user, heading in (("service:portal", True), ("user:zoe", False)):
        shown = mail("audit", "access", "--user", user, json_wanted=False).text
        assert ("\tFor\t" in shown or shown.split("\n")[0].endswith("\tFor")) is heading


def test_an_unbound_ticket_tells_no_end(mail):
    """Which application it is for is not known yet."""
    one = issued(mail)
    assert (one["application"], one["expires_at"]) == (None, None)
    mail.ok("ticket", "redeem", "Mail", *AS_PORTAL, stdin=one["ticket"].encode())


def test_people_get_the_ticket_alone_on_standard_output(mail):
    """So it goes into a file; how long it is good goes to standard error."""
    answer = mail("ticket", "issue", "--as", "user:ann", "--app", "Mail", json_wanted=False)
    assert len(answer.text) == 48 and answer.text.endswith("\n")
    assert "for Mail, until 20" in answer.err and answer.text.strip() not in answer.err
    file = mail.home / "ticket"
    file.write_text(answer.text)
    redeem = ("ticket", "redeem", "Mail", "--as", "service:portal", "--ticket-file", str(file))
    answer = mail(*redeem, "--field", "password", json_wanted=False)
    assert (answer.code, answer.text) == (0, f"{CANARY}\n")


def test_a_receipt_is_written_of_what_came_of_it(mail):
    """Of a release and of a refusal alike; each proves the access record."""
    ticket = ticket_of(mail)
    for name, code in (("first", 0), ("second", 4)):
        path = str(mail.home / name)
        answer = mail("ticket", "redeem", "Mail", *AS_PORTAL, "--receipt", path, stdin=ticket)
        assert answer.code == code
        position = answer.json["position"] if code == 0 else answer.error["position"]
        assert json.loads((mail.home / name).read_text())["row"]["position"] == position


def test_nothing_set_is_not_found_and_names_the_page(mail):
    """The redeemer can send the user there; the ticket stays good."""
    ticket = mail.ok("ticket", "issue", "--as", "user:bob")["ticket"].encode()
    error = mail.fails(
        3, "credentials-not-set", "ticket", "redeem", "Mail", *AS_PORTAL, stdin=ticket
    )
    assert error["credential_page"] == "https://help.example/set"
    mail.set("Mail", "user:bob", User="bob", Password="b")
    mail.ok("ticket", "redeem", "Mail", *AS_PORTAL, stdin=ticket)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"clt_", "clt_é\n".encode(), b"\xff\xfe\x00", b"clt_" + b"A" * 43 + b"\n\n"],
)
def test_what_is_no_ticket_is_refused_like_an_unknown_one(mail, content):
    """Exit 4, recorded, and nothing of it is told."""
    error = mail.fails(4, "access-denied", "ticket", "redeem", "Mail", *AS_PORTAL, stdin=content)
    explained = mail.ok("audit", "explain", str(error["position"]))
    assert explained["detail"] == "no-such-ticket"


def test_what_is_far_too_long_is_no_input(mail):
    """Exit 2, and nothing is recorded."""
    before = mail.ok("status")["position"]
    mail.fails(2, "invalid-ticket", "ticket", "redeem", "Mail", *AS_PORTAL, stdin=b"A" * 131)
    mail.fails(2, "invalid-ticket", "ticket", "redeem", "Mail", *AS_PORTAL, stdin=b"A" * 129)
    assert mail.ok("status")["position"] == before


def test_a_ticket_is_never_an_argument(mail):
    """There is no option for it, and a file must be named."""
    mail.fails(2, "usage", "ticket", "redeem", "Mail", "--as", "service:portal")
    redeem = ("ticket", "redeem", "Mail", "--as", "service:portal")
    mail.fails(3, "no-such-file", *redeem, "--ticket-file", "clt_AAAA")
    mail.fails(2, "caller-required", "ticket", "issue")
    mail.fails(2, "caller-required", "ticket", "redeem", "Mail", "--ticket-file", "-")


def test_an_auditor_issues_and_redeems_nothing(mail):
    """What an auditor unlocks can record nothing but questions."""
    auditor = auditor_of(mail)
    auditor.fails(4, "operator-needed", "ticket", "issue", "--as", "user:ann")
    auditor.fails(4, "operator-needed", "ticket", "redeem", "Mail", *AS_PORTAL, stdin=b"x")


def test_neither_ticket_nor_value_is_told_elsewhere(mail):
    """No question about the history, no export and no report has either."""
    ticket = ticket_of(mail, "--app", "Mail")
    mail.ok("ticket", "redeem", "Mail", *AS_PORTAL, stdin=ticket)
    mail("ticket", "redeem", "Mail", *AS_PORTAL, stdin=ticket)
    report = mail.home / "report.html"
    mail.ok("audit", "report", str(report))
    told = report.read_bytes()
    for form in ("ocsf", "jsonl"):
        told += mail("audit", "export", "--format", form, json_wanted=False).out
    for question in ("access", "changes", "recheck"):
        told += mail("audit", question).out
    assert CANARY.encode() not in told and ticket[4:] not in told
    stored = b"".join(one.read_bytes() for one in mail.home.rglob("*") if one.is_file())
    assert CANARY.encode() not in stored and ticket[4:] not in stored


def test_a_file_may_end_its_line_in_any_way(tmp_path):
    """One end of line is none of the ticket's; whatever else is there stays."""
    file = tmp_path / "ticket"
    for content, text in ((b"a", "a"), (b"a\n", "a"), (b"a\r\n", "a"), (b" a \n\n", " a \n")):
        file.write_bytes(content)
        assert read_ticket(str(file), None) == text
    file.write_bytes(b"A" * 131)
    with pytest.raises(InvalidInput):
        read_ticket(str(file), None)


def test_a_sweep_records_what_nobody_brought_once(beginnings, later):  # noqa: F811
    """Nothing is written while a ticket may still be brought, nor a second time."""
    mail = beginnings(None).begun(found, offer_tickets)  # a server has a clock of its own
    made = issued(mail, "--app", "Mail")
    assert mail.ok("ticket", "sweep") == {"lapsed": 0, "position": made["position"]}
    later(1)
    assert mail.ok("ticket", "sweep", "--reason", "nightly")["lapsed"] == 1
    assert mail.ok("ticket", "sweep")["lapsed"] == 0
    (end,) = [one for one in mail.ok("log", "events") if one["topic"] == "ticket.lapsed"]
    told = mail.ok("audit", "explain", str(end["position"]))
    assert (told["outcome"], told["on_behalf_of"], told["issued"], told["reason"]) == (
        "lapsed",
        "user:ann",
        made["position"],
        "nightly",
    )
    assert told["redeemers"] == ["service:portal"]
    assert mail.ok("audit", "recheck")["wrong"] == []


def test_an_auditor_sweeps_nothing(mail):
    auditor_of(mail).fails(4, "operator-needed", "ticket", "sweep")
