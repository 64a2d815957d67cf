"""The main job, on a real store: what people do, and what is recorded of it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from ledger.aggregates.application import make_field
from ledger.claims import parse_claim
from ledger.codec.mapper import EventMapper
from ledger.errors import Conflict, InvalidInput, NotFound, Refused, Tampered, Unavailable
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.usecases.administration import Together
from ledger.usecases.credentials import ImportItem
from ledger.usecases.decisions import Asked
from ledger.usecases.opening import accept_new_memory
from ledger.usecases.retrieval import Retrieve
from ledger.values import FieldValue
from projections.explanation import explain
from projections.moment import diff, state_at
from projections.redecide import redecide
from tests.conftest import unlocked_by_passphrase

OPERATOR = Acting(reason="set-up")
ALICE, BOB = parse_claim("user:alice"), parse_claim("user:bob")
PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}


def caller(text: str, *groups: str) -> Caller:
    return Caller(parse_claim(text), tuple(parse_claim(group) for group in groups))


def code_of(error: type, action) -> str:
    with pytest.raises(error) as caught:
        action()
    return caught.value.code


def everything_holds(ledger) -> None:
    """Re-verifies the whole ledger: tree, signatures, views and decisions."""
    store, mapper = ledger._writer.store, ledger._desk.mapper
    verified = verify_log(store, pinned=ledger._desk.unlocked.ledger_id)
    assert verified.ok, verified.checks
    ledger.views.bring_forward()
    assert all(view["same"] for view in ledger.views.rebuild())
    found = redecide(store, mapper)
    assert found["wrong"] == []
    assert found["unreadable"] == []


def test_an_owner_reads_their_own_credentials_and_the_record_names_them(ledger):
    ledger.create_application(OPERATOR, "Payroll", kind="individual")
    ledger.set_credentials(OPERATOR, "payroll", ALICE, PAIR)
    got = ledger.retrieve(caller("user:ALICE"), "PAYROLL", reason="monthly run")
    assert got.fields["Windows Password"].reveal() == "first"
    assert (got.version, got.complete, got.missing) == (1, True, ())
    (record,) = ledger.views.accesses.newest(user="user:alice")
    assert record["position"] == got.position
    assert record["outcome"] == "granted"
    assert record["reason"] == "monthly run"
    assert record["authenticated_by"] == "operator:1/tester@host"
    everything_holds(ledger)


def test_a_stranger_is_refused_alike_whether_the_application_exists_or_not(ledger):
    ledger.create_application(OPERATOR, "Finance", kind="group", members=("group:finance",))
    ledger.set_credentials(OPERATOR, "Finance", None, PAIR)
    answers = []
    for application in ("Finance", "Nowhere"):
        with pytest.raises(Refused) as caught:
            ledger.retrieve(caller("user:mallory"), application)
        answers.append((caught.value.code, caught.value.hint, caught.value.credential_page))
        assert (
            explain(ledger._writer.store, ledger._desk.mapper, caught.value.position)["outcome"]
            == "denied"
        )
    assert answers[0] == answers[1]
    everything_holds(ledger)


def test_any_group_claim_of_the_caller_reads_the_shared_mapping(ledger):
    ledger.create_application(OPERATOR, "Finance", kind="group", members=("group:finance",))
    ledger.set_credentials(OPERATOR, "Finance", None, PAIR)
    got = ledger.retrieve(caller("user:bob", "group:sales", "group:FINANCE"), "finance")
    assert got.owner is None
    (record,) = ledger.views.accesses.newest(application="finance")
    assert record["through"] == "group:finance"


def test_not_set_is_recorded_and_tells_the_credential_page(ledger):
    ledger.create_application(
        OPERATOR, "CRM", kind="individual", credential_page="https://crm.example/set"
    )
    with pytest.raises(NotFound) as caught:
        ledger.retrieve(caller("user:alice"), "CRM")
    assert caught.value.code == "credentials-not-set"
    assert caught.value.credential_page == "https://crm.example/set"
    (record,) = ledger.views.accesses.newest(outcome="not-set")
    assert record["position"] == caught.value.position


def test_restricted_needs_owner_right_and_request(ledger):
    ledger.create_application(OPERATOR, "Vault", kind="individual", restricted=True)
    ledger.set_credentials(OPERATOR, "Vault", ALICE, PAIR)
    assert code_of(Refused, lambda: ledger.retrieve(caller("user:alice"), "Vault"))
    assert code_of(Refused, lambda: ledger.retrieve(caller("user:alice"), "Vault", restricted=True))
    ledger.role_grant(OPERATOR, "restricted-access", "user:alice")
    assert code_of(Refused, lambda: ledger.retrieve(caller("user:alice"), "Vault"))
    assert ledger.retrieve(caller("user:alice"), "Vault", restricted=True).version == 1
    everything_holds(ledger)


def test_naming_a_member_closes_and_revoking_the_last_leaves_it_closed(ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR)
    ledger.retrieve(caller("user:alice"), "CRM")
    ledger.grant(OPERATOR, "CRM", "member", "user:bob")
    assert code_of(Refused, lambda: ledger.retrieve(caller("user:alice"), "CRM"))
    ledger.revoke(OPERATOR, "CRM", "member", "user:bob")
    assert code_of(Refused, lambda: ledger.retrieve(caller("user:alice"), "CRM"))
    ledger.update_application(OPERATOR, "CRM", changes={}, open_to_all=True)
    assert ledger.retrieve(caller("user:alice"), "CRM").version == 1
    everything_holds(ledger)


def test_in_an_opened_application_naming_closes_and_revoking_does_not(ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual", members=("user:bob",))
    ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR)
    ledger.update_application(OPERATOR, "CRM", changes={}, open_to_all=True)
    assert ledger.grant(OPERATOR, "CRM", "member", "user:bob").changed
    assert not ledger.application("CRM").open
    assert code_of(Refused, lambda: ledger.retrieve(caller("user:alice"), "CRM"))
    ledger.update_application(OPERATOR, "CRM", changes={}, open_to_all=True)
    ledger.revoke(OPERATOR, "CRM", "member", "user:bob")
    assert ledger.retrieve(caller("user:alice"), "CRM").version == 1
    everything_holds(ledger)


def test_a_group_that_asks_for_an_individual_application_is_told_it_owns_nothing(ledger):
    ledger.create_application(OPERATOR, "Vault", kind="individual", members=("group:ops",))
    with pytest.raises(Refused) as caught:
        ledger.retrieve(caller("group:ops"), "Vault")
    told = explain(ledger._writer.store, ledger._desk.mapper, caught.value.position)
    assert told["detail"] == "not-an-owner"


def test_a_value_stands_in_no_error_and_no_cause():
    with pytest.raises(InvalidInput) as caught:
        FieldValue("hunter2\ud800")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_field_asked_for_twice_is_released_once_and_settings_that_stay_are_refused(ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR)
    asked = ["Windows Password", "windows password"]
    got = ledger.retrieve(caller("user:alice"), "CRM", fields=asked)
    assert list(got.fields) == ["Windows Password"]
    assert ledger.views.accesses.newest()[0]["fields"] == ["Windows Password"]
    change = {"restricted": True}
    assert (
        code_of(InvalidInput, lambda: ledger.update_application(OPERATOR, "CRM", changes=change))
        == "unknown-setting"
    )


def test_an_administrator_manages_and_sets_but_does_not_read(ledger):
    ledger.create_application(
        OPERATOR, "Finance", kind="group", administrators=("user:ada",), members=("group:f",)
    )
    ada = Acting(caller("user:ada"))
    assert ledger.set_credentials(ada, "Finance", None, PAIR).version == 1
    assert ledger.grant(ada, "Finance", "member", "user:bob").changed
    assert not ledger.grant(ada, "Finance", "member", "user:bob").changed
    assert code_of(Refused, lambda: ledger.retrieve(caller("user:ada"), "Finance"))
    assert code_of(Refused, lambda: ledger.delete_application(ada, "Finance"))


def test_restoring_brings_an_earlier_value_back_under_a_new_version(ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR)
    second = {**PAIR, "Windows Password": FieldValue("second")}
    ledger.set_credentials(OPERATOR, "CRM", ALICE, second)
    restored = ledger.restoring.credentials(OPERATOR, "CRM", ALICE, version=1)
    assert restored.version == 3
    got = ledger.retrieve(caller("user:alice"), "CRM")
    assert got.fields["Windows Password"].reveal() == "first"
    assert [one["event"] for one in ledger.views.history("CRM", "user:alice")] == [
        "set",
        "set",
        "restored",
    ]


def test_an_application_created_anew_starts_empty_and_versions_go_on(ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR)
    ledger.delete_application(OPERATOR, "CRM")
    ledger.create_application(OPERATOR, "crm", kind="individual")
    assert code_of(NotFound, lambda: ledger.retrieve(caller("user:alice"), "CRM"))
    assert ledger.views.credentials() == []
    assert ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR).version == 2
    everything_holds(ledger)


def test_a_field_added_later_does_not_stop_a_running_job(ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR)
    ledger.update_application(OPERATOR, "CRM", changes={}, add_fields=[make_field("PIN", "pin")])
    got = ledger.retrieve(caller("user:alice"), "CRM")
    assert (got.complete, got.missing) == (False, ("PIN",))
    assert ledger.views.credentials()[0]["complete"] is False


def test_deleting_all_of_an_owner_takes_every_application(ledger):
    for name in ("A", "B"):
        ledger.create_application(OPERATOR, name, kind="individual")
        ledger.set_credentials(OPERATOR, name, ALICE, PAIR)
        ledger.set_credentials(OPERATOR, name, BOB, PAIR)
    gone = ledger.delete_all(OPERATOR, ALICE, ["A", "B"])
    assert [one.application for one in gone] == ["A", "B"]
    assert {one["owner"] for one in ledger.views.credentials()} == {"user:bob"}
    everything_holds(ledger)


def test_an_import_leaves_current_values_alone_and_is_all_or_nothing(ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    items = [ImportItem("CRM", parse_claim(f"user:u{n}"), PAIR) for n in range(50)]
    assert ledger.import_batch(OPERATOR, items).imported == 50
    again = ledger.import_batch(OPERATOR, items)
    assert (again.imported, again.unchanged) == (0, 50)
    before = ledger.head().size
    bad = [ImportItem("CRM", ALICE, PAIR), ImportItem("CRM", BOB, {"PIN": FieldValue("1")})]
    assert code_of(InvalidInput, lambda: ledger.import_batch(OPERATOR, bad)) == "unknown-field"
    assert ledger.head().size == before
    everything_holds(ledger)


def test_changes_made_together_are_one_transaction_or_none(ledger):
    make, before = ledger.changes, ledger.head().size
    wanted = [
        make.create(OPERATOR, "CRM", kind="individual"),
        make.grant(OPERATOR, "CRM", "member", "user:alice"),
    ]
    with pytest.raises(NotFound):
        ledger.change_together([*wanted, make.revoke(OPERATOR, "Nowhere", "member", "user:bob")])
    assert ledger.head().size == before
    outcomes = ledger.change_together(wanted)
    assert [one.position for one in outcomes] == [before + 1, before + 2]
    with ledger._writer.store.reading() as reading:
        assert [one.size for one in reading.commits_after(before, 9)] == [before + 2]
    everything_holds(ledger)


@dataclass(frozen=True)
class WithOneTakenBack:
    """Changes in one transaction: the first, one that is taken back, and others that stand."""

    first: object
    taken_back: list
    others: list

    def decide(self, transaction):
        outcomes = [transaction.attempt(self.first)]
        with pytest.raises(NotFound):
            transaction.attempt(Together(self.taken_back))
        return [*outcomes, *(transaction.attempt(one) for one in self.others)]


def test_what_was_taken_back_in_a_transaction_is_not_seen_by_those_behind_it(ledger):
    """Although what it saw of the same application had as many events as they see."""
    make = ledger.changes
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    eve, bob = (
        make.grant(OPERATOR, "CRM", "administrator", f"user:{who}") for who in ("eve", "bob")
    )
    nowhere = make.revoke(OPERATOR, "Nowhere", "member", "user:bob")
    outcomes = ledger._writer.run(
        WithOneTakenBack(
            make.grant(OPERATOR, "CRM", "administrator", "user:ann"),
            [eve, eve, nowhere],
            [bob, bob, eve, make.revoke(OPERATOR, "CRM", "administrator", "user:eve")],
        )
    )
    assert [one.changed for one in outcomes] == [True, True, False, True, True]
    assert {str(claim) for claim in ledger.application("CRM").administrators} == {
        "user:ann",
        "user:bob",
    }
    everything_holds(ledger)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"Windows User Name": FieldValue("x")}, "missing-field"),
        ({**PAIR, "PIN": FieldValue("1")}, "unknown-field"),
        ({**PAIR, "windows password": FieldValue("1")}, "duplicate-field"),
    ],
)
def test_wrong_values_change_nothing(ledger, values, code):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    before = ledger.head().size
    assert (
        code_of(InvalidInput, lambda: ledger.set_credentials(OPERATOR, "CRM", ALICE, values))
        == code
    )
    assert ledger.head().size == before


@pytest.mark.parametrize("again", ["payroll", "PAYROLL ", "Payroll"])
def test_an_id_in_another_form_is_a_duplicate(ledger, again):
    ledger.create_application(OPERATOR, "Payroll", kind="individual")
    assert (
        code_of(Conflict, lambda: ledger.create_application(OPERATOR, again, kind="group"))
        == "application-exists"
    )


def test_state_as_of_a_position_is_the_state_there_was(ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    there = ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR).position
    ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR)
    ledger.delete_application(OPERATOR, "CRM")
    store, mapper = ledger._writer.store, ledger._desk.mapper
    then = state_at(store, mapper, position=there)
    assert then["credentials"][0]["version"] == 1
    now = state_at(store, mapper, position=ledger.head().size)
    assert now["applications"] == []
    assert [one["application"] for one in diff(then, now)["applications"]["removed"]] == ["CRM"]


def test_dropped_views_come_back_to_the_same_digest(ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR)
    ledger.retrieve(caller("user:alice"), "CRM")
    before = ledger.views.digests()
    ledger.views.drop_all()
    assert ledger.views.digests() != before
    ledger.views.rebuild()
    assert ledger.views.digests() == before


def test_no_name_reason_or_value_stands_in_any_stored_byte(house, ledger):
    planted = [os.urandom(6).hex() for _ in range(5)]
    application, owner, reason, user_name, password = planted
    ledger.create_application(Acting(reason=reason), application, kind="individual")
    ledger.set_credentials(
        Acting(reason=reason),
        application,
        parse_claim(f"user:{owner}"),
        {"Windows User Name": FieldValue(user_name), "Windows Password": FieldValue(password)},
    )
    ledger.retrieve(caller(f"user:{owner}"), application, reason=reason)
    with pytest.raises(Refused) as refused:
        ledger.retrieve(caller("group:x"), application, reason=reason)
    assert not any(canary in repr(refused.value) + refused.value.hint for canary in planted)
    ledger.close()
    files = [path for path in house.store_path.parent.parent.rglob("*") if path.is_file()]
    assert any(path.stat().st_size > 10_000 for path in files)
    for path in files:
        content = path.read_bytes()
        assert not any(canary.encode() in content for canary in planted), path.name


def test_an_unreadable_memory_stops_the_host_until_an_operator_accepts_a_new_one(house, ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    ledger.close()
    memory = house.keyring_path.with_name("keyring.memory")
    memory.write_bytes(b"not what was there")
    assert code_of(Tampered, house.open) == "memory-unreadable"
    unlocked = unlocked_by_passphrase(house.keyring_path)
    store = house.store()
    accept_new_memory(
        store,
        house.keyring_path,
        unlocked,
        acting=Acting(reason="disk failure"),
        memory=house.memory(unlocked),
        account="tester@host",
        clock=house.clock,
        random=os.urandom,
        mapper=EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom),
    )
    again = house.open()
    assert again.application("crm").kind == "individual"
    assert again.views.changes()[-1]["event"] == "memory.accepted"
    everything_holds(again)
    again.close()


def test_asking_for_an_unknown_field_is_recorded_too(ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR)
    ask = lambda: ledger.retrieve(caller("user:alice"), "CRM", fields=["PIN"])
    assert code_of(InvalidInput, ask) == "unknown-field"
    (record,) = ledger.views.accesses.newest(user="user:alice")
    assert (record["outcome"], record["detail"]) == ("denied", "unknown-field")
    got = ledger.retrieve(caller("user:alice"), "CRM", fields=["windows PASSWORD"])
    assert list(got.fields) == ["Windows Password"]
    everything_holds(ledger)


def test_a_clock_far_ahead_is_refused_until_it_is_accepted_and_recorded(house, ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    house.clock.offset_us = 40 * 24 * 3600 * 1_000_000
    grant = lambda: ledger.grant(OPERATOR, "CRM", "member", "user:bob")
    assert code_of(Unavailable, grant) == "clock-ahead"
    ledger.close()
    again = house.open(accept_clock=True)
    assert again.grant(OPERATOR, "CRM", "member", "user:bob").changed
    assert "clock.accepted" in [one["event"] for one in again.views.changes()]
    everything_holds(again)
    again.close()


def test_a_clock_set_back_never_sets_times_back(house, ledger):
    ledger.create_application(OPERATOR, "CRM", kind="individual")
    house.clock.offset_us = -3600 * 1_000_000
    for name in ("A", "B"):
        ledger.create_application(OPERATOR, name, kind="individual")
    everything_holds(ledger)
    assert ledger.status().clock_behind_us > 0


def test_what_was_decided_before_holds_only_while_nothing_changed(ledger):
    """The same question again is answered by the policy and the values of its own moment."""
    ledger.create_application(OPERATOR, "Finance", kind="group", members=("group:finance",))
    ledger.set_credentials(OPERATOR, "Finance", None, PAIR)
    asking = caller("user:alice", "group:finance")

    def answer() -> object:
        try:
            got = ledger.retrieve(asking, "Finance")
        except (NotFound, Refused) as error:
            return error.code
        return got.version, got.complete

    assert [answer(), answer()] == [(1, True)] * 2
    ledger.set_credentials(OPERATOR, "Finance", None, PAIR)
    assert [answer(), answer()] == [(2, True)] * 2
    ledger.update_application(
        OPERATOR, "Finance", changes={}, add_fields=(make_field("Host", "generic"),)
    )
    assert [answer(), answer()] == [(2, False)] * 2
    ledger.revoke(OPERATOR, "Finance", "member", "group:finance")
    assert [answer(), answer()] == ["access-denied"] * 2
    ledger.grant(OPERATOR, "Finance", "member", "user:alice")
    assert [answer(), answer()] == [(2, False)] * 2
    ledger.delete_credentials(OPERATOR, "Finance", None)
    assert [answer(), answer()] == ["credentials-not-set"] * 2
    ledger.delete_application(OPERATOR, "Finance")
    assert [answer(), answer()] == ["access-denied"] * 2
    everything_holds(ledger)


def test_each_record_has_the_reason_that_was_given_for_it(ledger):
    """A decision that is recorded again is recorded with the new reason."""
    ledger.create_application(OPERATOR, "Finance", kind="group", members=("user:alice",))
    ledger.set_credentials(OPERATOR, "Finance", None, PAIR)
    given = ["monthly run", "monthly run", "", "an auditor asks", "monthly run"]
    for reason in given:
        ledger.retrieve(caller("user:alice"), "Finance", reason=reason)
    told = ledger.views.accesses.newest(limit=len(given))
    assert [one["reason"] for one in reversed(told)] == given


def test_what_was_decided_before_does_not_hold_within_the_very_commit_that_changes_it(ledger):
    """A revocation counts for whoever is decided after it, in the same transaction too."""
    ledger.create_application(OPERATOR, "CRM", kind="individual", members=("user:alice",))
    ledger.set_credentials(OPERATOR, "CRM", ALICE, PAIR)
    asked = Retrieve(ledger._desk, Asked(caller("user:alice"), "CRM", False, ()), "")
    revoked = ledger.changes.revoke(OPERATOR, "CRM", "member", "user:alice")
    outcomes = ledger._writer.run(Together([asked, asked, revoked, asked]))
    assert [getattr(one, "record", None) and one.record.detail for one in outcomes] == [
        "owner", "owner", None, "not-a-member",
    ]  # fmt: skip
    everything_holds(ledger)


def test_a_right_that_is_revoked_ends_restricted_reads_decided_before(ledger):
    """A decision rests on the service-level rights as well."""
    ledger.create_application(OPERATOR, "Vault", kind="individual", restricted=True)
    ledger.set_credentials(OPERATOR, "Vault", ALICE, PAIR)
    ledger.role_grant(OPERATOR, "restricted-access", "user:alice")
    for _ in range(2):
        assert ledger.retrieve(caller("user:alice"), "Vault", restricted=True).version == 1
    ledger.role_revoke(OPERATOR, "restricted-access", "user:alice")
    assert (
        code_of(Refused, lambda: ledger.retrieve(caller("user:alice"), "Vault", restricted=True))
        == "access-denied"
    )
    everything_holds(ledger)


def test_a_caller_whose_groups_are_a_list_is_a_caller_like_any_other(ledger):
    """Whatever sequence the claims come in, the attempt is decided and recorded."""
    ledger.create_application(OPERATOR, "Finance", kind="group", members=("group:finance",))
    ledger.set_credentials(OPERATOR, "Finance", None, PAIR)
    asking = Caller(ALICE, [parse_claim("group:finance")])
    assert ledger.retrieve(asking, "Finance").version == 1
    everything_holds(ledger)
