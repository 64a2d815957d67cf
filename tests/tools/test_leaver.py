"""`leaver` takes everything at once and says what is left to do; `audit exposure` beside it."""

from __future__ import annotations

import pytest

import tools.leaving
from tests.tools.conftest import auditor_of, found

FIELD = ("--field", "Password:password")
BOB = "user:bob"


def furnish_office(cli):
    cli.ok(
        "app", "create", "Portal", "--kind", "individual", "--ticketing", *FIELD,
        "--administrator", BOB, "--member", BOB, "--ticket-redeemer", BOB,
    )  # fmt: skip
    both = ("--member", BOB, "--member", "group:pay")
    cli.ok("app", "create", "Payroll", "--kind", "group", *both, *FIELD)
    cli.ok("app", "create", "Ledger", "--kind", "group", "--member", "user:ann", *FIELD)
    cli.ok("app", "create", "Gone", "--kind", "group", "--member", BOB, *FIELD)
    cli.ok("app", "delete", "Gone", "--yes")
    for right in ("auditor", "create-application"):
        cli.ok("role", "grant", right, BOB)
    cli.ok("role", "grant", "auditor", "user:ann")
    cli.set("Portal", BOB, Password="t")
    for password in ("one", "two"):
        cli.set("Payroll", None, Password=password)
        cli.ok("credential", "get", "Payroll", "--as", BOB)


@pytest.fixture
def office(begun):
    """Bob holds something of every kind, and has read an old and a present value."""
    return begun(found, furnish_office)


def held(cli):
    """Everything that any claim holds."""
    roles = [
        (one["application"], role, claim)
        for one in cli.ok("app", "list")
        for role in ("administrators", "members", "ticket_redeemers")
        for claim in one[role]
    ]
    return roles + [("", one["right"], one["claim"]) for one in cli.ok("role", "list")]


def test_a_claim_that_is_none_is_refused_before_anybody_is_asked(office):
    """Without --yes and without a terminal it is the claim that is wrong, not the consent."""
    told = office.fails(2, "invalid-claim", "leaver", "bob")
    assert "user:alice" in told["hint"]


def topics_after(cli, position):
    return [one["topic"] for one in cli.ok("log", "events", "--after", str(position))]


def test_everything_is_taken_in_one_transaction(office):
    """Nothing of anybody else's; a question about the history is on record in the same commit."""
    before, position = held(office), office.ok("status")["position"]
    told = office.ok("leaver", BOB, "--yes", "--reason", "left")
    assert held(office) == [one for one in before if one[2] != BOB]
    assert sorted((one["application"], one["role"]) for one in told["revoked"]) == [
        ("Payroll", "member"),
        ("Portal", "administrator"), ("Portal", "member"), ("Portal", "ticket-redeemer"),
    ]  # fmt: skip
    assert told["rights"] == ["create-application", "auditor"]
    assert told["own"] == [{"application": "Portal", "version": 1}]
    assert told["nobody_reads"] == ["Portal"]
    assert topics_after(office, position) == [
        *["application.revoked"] * 4, *["role.revoked"] * 2, "audit.queried",
    ]  # fmt: skip
    assert told["position"] == position + 7
    office.fails(4, "access-denied", "credential", "get", "Payroll", "--as", BOB)
    changes = office.ok("audit", "changes", "--app", "Payroll")
    assert changes[0]["reason"] == "left"
    assert office.ok("log", "verify")["ok"]


def test_what_is_open_is_named_to_be_changed(office):
    """The value that they know still; as the audit's own question says."""
    told = office.ok("leaver", BOB, "--yes")
    assert [(one["version"], one["times"]) for one in told["to_change"]] == [(2, 1)]
    assert office.ok("audit", "exposure", BOB, "--open") == told["to_change"]
    assert [one["version"] for one in office.ok("audit", "exposure", BOB)] == [1, 2]
    office.set("Payroll", None, Password="three")
    assert office.ok("audit", "exposure", BOB, "--open") == []
    again = office.ok("leaver", BOB, "--yes")
    assert (again["revoked"], again["rights"], again["to_change"]) == ([], [], [])


def test_a_second_run_takes_nothing(office):
    """It is recorded that it asked, and nothing else."""
    office.ok("leaver", BOB, "--yes")
    position = office.ok("status")["position"]
    assert office.ok("leaver", BOB, "--yes")["revoked"] == []
    assert topics_after(office, position) == ["audit.queried"]


def test_a_dry_run_says_the_same_and_changes_nothing(office):
    """But that the history was asked is recorded, for it is shown."""
    before, position = held(office), office.ok("status")["position"]
    shown = office.ok("leaver", BOB, "--dry-run")
    assert held(office) == before
    assert topics_after(office, position) == ["audit.queried"]
    assert shown["position"] == position
    done = office.ok("leaver", BOB, "--yes")
    for key in ("revoked", "rights", "nobody_reads", "to_change", "own"):
        assert shown[key] == done[key]
    assert (shown["dry_run"], done["dry_run"]) == (True, False)


def test_it_asks_and_it_is_an_operators(office):
    """Without consent, without an operator's keyring or a claim nothing changes."""
    before = held(office)
    office.fails(2, "not-confirmed", "leaver", BOB)
    office.fails(2, "invalid-claim", "leaver", "bob", "--yes")
    auditor_of(office).fails(4, "operator-needed", "leaver", BOB, "--yes")
    assert held(office) == before


def test_an_application_that_comes_meanwhile_is_left_too(office, monkeypatch):
    """One made after the list of applications was, and before the lock was taken."""
    real = tools.leaving.listed

    def listed(session):
        found = real(session)
        office.ok("app", "create", "Late", "--kind", "group", "--member", BOB, *FIELD)
        return found

    monkeypatch.setattr(tools.leaving, "listed", listed)
    told = office.ok("leaver", BOB, "--yes")
    assert {"application": "Late", "role": "member"} in told["revoked"]
    assert BOB not in {claim for _, _, claim in held(office)}


def test_exposure_takes_no_time_that_has_not_come(office):
    """A range that begins in the future is a mistake, not an empty answer."""
    office.fails(2, "future-time", "audit", "exposure", BOB, "--since", "2999-01-01T00:00:00Z")
    office.fails(2, "invalid-claim", "audit", "exposure", "bob")
    office.fails(2, "usage", "audit", "exposure", BOB, "--closed")
    assert [one["version"] for one in office.ok("audit", "exposure", BOB, "--since", "1h")] == [
        1,
        2,
    ]
