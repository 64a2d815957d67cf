"""A moment is brought back by appending: each kind of difference, on both stores."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

import tools.recovering.restoring
from ledger.aggregates.application import make_field
from ledger.aggregates.restoration import MappingStep, RolesStep
from ledger.claims import parse_claim
from ledger.errors import Conflict, InvalidInput, KeyUnavailable, LedgerError, NotFound, Refused
from ledger.log.verification import verify_log
from ledger.log.writer import Writer
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.usecases.credentials import ImportItem
from ledger.usecases.restoration import RestoreApplication, RestoreMappings, RestoreRoles
from ledger.usecases.restorer import Restorer
from ledger.values import FieldValue
from projections.moment import state_at
from projections.redecide import redecide
from tools.recovering.restoring import carry_out, plan_for
from tools.showing.differences import RESTORING, difference_rows
from tools.when import to_text

OPERATOR = Acting(reason="by mistake")
ALICE, BOB, CAROL = (parse_claim(f"user:{name}") for name in ("alice", "bob", "carol"))
PASSWORD = (make_field("Password", "password"),)


@dataclass
class Hands:
    """What the command's functions need of a session."""

    house: object
    ledger: object

    @property
    def store(self):
        return self.ledger._writer.store

    @property
    def mapper(self):
        return self.ledger._desk.mapper

    def now(self):
        return self.house.clock()

    @property
    def position(self):
        return self.ledger.head().size

    def plan(self, position, application=None, *, except_destroyed=False):
        return plan_for(self, str(position), application, except_destroyed=except_destroyed)

    def restore(self, position, application=None, **settings):
        found = self.plan(position, application, **settings)
        assert not found.is_refused
        return carry_out(self, OPERATOR, found.plan)

    def again(self):
        """The same through another process's eyes."""
        return Hands(self.house, self.house.open())

    def create(self, application, **settings):
        told = {"kind": "individual", "fields": PASSWORD, **settings}
        self.ledger.create_application(Acting(), application, **told)

    def set(self, application, owner, password):
        given = {"Password": FieldValue(password)}
        self.ledger.set_credentials(Acting(), application, owner, given)

    def values(self):
        """What is set where, opened past the policy as only a test may."""
        desk, listed = self.ledger._desk, self.ledger.views.credentials()

        def look(transaction):
            found = {}
            for one in listed:
                state = desk.live_application(transaction, one["application"])
                owner = None if one["owner"] is None else parse_claim(one["owner"])
                mapping = desk.mapping(transaction, state, owner)
                opened = desk.open_values(mapping.recorded, mapping.secret)
                found[state.key, one["owner"]] = {n: v.reveal() for n, v in opened.items()}
            return found

        return self.ledger._look(look)

    def state(self, position=None):
        """Everything that is to come back; versions, positions, times and authors are not."""
        told = state_at(self.store, self.mapper, position=position)
        applications = [_plain(one) for one in told["applications"]]
        owners = [(one["application"], one["owner"]) for one in told["credentials"]]
        return applications, owners

    def require_whole(self):
        """The log verifies, every view is its fold, every access decides again the same."""
        assert verify_log(self.store).ok
        assert all(view["same"] for view in self.ledger.views.rebuild())
        assert redecide(self.store, self.mapper)["wrong"] == []


def _plain(document):
    left = ("version", "created_at", "updated_at", "updated_by")
    return {key: value for key, value in document.items() if key not in left}


@contextlib.contextmanager
def opened(house):
    hands = Hands(house, house.open())
    yield hands
    hands.ledger.close()


@pytest.fixture
def hands(house):
    with opened(house) as hands:
        yield hands


@pytest.fixture
def filled(prepared):
    with opened(prepared(fill)) as hands:
        yield hands


def fill(house):
    with opened(house) as hands:
        fill_by(hands)


def fill_by(hands):
    hands.create("CRM", administrators=("user:ann",), contact="a@b.example")
    hands.create("Shared", kind="group", members=("group:g",))
    hands.set("CRM", ALICE, "a1")
    hands.set("CRM", BOB, "b1")
    hands.set("Shared", None, "s1")
    hands.ledger.role_grant(Acting(), "auditor", "user:eve")


def undone(hands, position, application=None, **settings):
    """Restore, check that all is as it was, and that doing it again appends nothing."""
    expected, values = hands.state(position), settings.pop("values")
    done = hands.restore(position, application, **settings)
    assert hands.state() == expected
    assert hands.values() == values
    size = hands.position
    again = hands.plan(position, application)
    assert again.plan.is_empty
    assert carry_out(hands, OPERATOR, again.plan)["position"] is None
    assert hands.position == size
    hands.require_whole()
    return done


def test_a_deleted_application_comes_back_with_its_credentials(filled):
    then, values = filled.position, filled.values()
    filled.ledger.delete_application(Acting(), "CRM")
    done = undone(filled, then, "CRM", values=values)
    assert (done["applications"], done["restored"], done["deleted"]) == (1, 2, 0)
    found = filled.ledger.retrieve(Caller(ALICE), "CRM")
    assert (found.version, found.fields["Password"].reveal()) == (2, "a1")


def test_overwritten_added_and_deleted_credentials_are_as_they_were(filled):
    then, values = filled.position, filled.values()
    filled.set("CRM", ALICE, "wrong")
    filled.ledger.delete_credentials(Acting(), "CRM", BOB)
    filled.set("CRM", CAROL, "new")
    filled.set("Shared", None, "also wrong")
    told = filled.plan(then, "CRM").difference
    (changed,) = told["credentials"]["changed"]
    assert (changed["before"]["version"], changed["after"]["version"]) == (2, 1)
    assert [one["owner"] for one in told["credentials"]["added"]] == ["user:bob"]
    assert [one["owner"] for one in told["credentials"]["removed"]] == ["user:carol"]
    done = filled.restore(then, "CRM")
    assert (done["restored"], done["deleted"], done["applications"]) == (2, 1, 0)
    left = {**values, ("shared", None): {"Password": "also wrong"}}
    assert filled.values() == left, "another application is left alone"
    undone(filled, then, values=values)


def test_a_value_restored_or_resealed_since_is_no_difference(filled):
    """Two versions are the same where both go back to the same set."""
    then, values = filled.position, filled.values()
    filled.set("CRM", ALICE, "wrong")
    filled.ledger.restoring.credentials(Acting(), "CRM", ALICE, version=1)
    filled.set("CRM", BOB, "wrong")
    filled.ledger.restoring.credentials(Acting(), "CRM", BOB, version=1)
    filled.ledger.restoring.credentials(Acting(), "CRM", BOB, version=3)
    filled.ledger.rotate(Acting(), without_backup=True)
    assert filled.plan(then).plan.is_empty
    undone(filled, then, values=values)


CHANGES = {
    "settings": lambda ledger: ledger.update_application(
        Acting(),
        "CRM",
        changes={
            "name": "Other",
            "contact": "",
            "ticket_timeout_s": 5,
            "credential_page": "https://x.example/",
            "masked": {"Password": False},
        },
    ),
    "administrators taken away": lambda ledger: ledger.revoke(
        Acting(), "CRM", "administrator", "user:ann"
    ),
    "members taken away": lambda ledger: ledger.revoke(Acting(), "Shared", "member", "group:g"),
    "a member named, which closes": lambda ledger: ledger.grant(
        Acting(), "CRM", "member", "user:alice"
    ),
    "created since": lambda ledger: ledger.create_application(
        Acting(), "Later", kind="group", members=("group:x",)
    ),
    "rights": lambda ledger: (
        ledger.role_grant(Acting(), "full-control", "user:mal"),
        ledger.role_revoke(Acting(), "auditor", "user:eve"),
    ),
    "deleted and created otherwise": lambda ledger: (
        ledger.delete_application(Acting(), "CRM"),
        ledger.create_application(Acting(), "crm", kind="group", members=("user:mal",)),
        ledger.set_credentials(
            Acting(),
            "crm",
            None,
            {"Windows User Name": FieldValue("x"), "Windows Password": FieldValue("y")},
        ),
    ),
    "deleted and created alike": lambda ledger: (
        ledger.delete_application(Acting(), "CRM"),
        ledger.create_application(Acting(), "CRM", kind="individual", fields=PASSWORD),
        ledger.set_credentials(Acting(), "CRM", CAROL, {"Password": FieldValue("c")}),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_was_changed_comes_back(filled, name):
    then, values, roles = filled.position, filled.values(), filled.ledger.roles().held
    CHANGES[name](filled.ledger)
    assert difference_rows(filled.plan(then).difference, RESTORING)
    undone(filled, then, values=values)
    assert filled.ledger.roles().held == roles


def test_an_application_closed_without_members_is_closed_again(filled):
    """Only an event of its own can do that: naming a member would say something untrue."""
    filled.ledger.grant(Acting(), "CRM", "member", "user:alice")
    filled.ledger.revoke(Acting(), "CRM", "member", "user:alice")
    then, values = filled.position, filled.values()
    filled.ledger.update_application(Acting(), "CRM", changes={}, open_to_all=True)
    undone(filled, then, "CRM", values=values)
    with pytest.raises(Refused):
        filled.ledger.retrieve(Caller(ALICE), "CRM")
    events = [one["event"] for one in filled.ledger.views.changes(application="CRM")]
    assert events[-1] == "application.closed"


def test_an_open_application_with_members_is_so_again(filled):
    filled.ledger.grant(Acting(), "CRM", "member", "user:alice")
    filled.ledger.update_application(Acting(), "CRM", changes={}, open_to_all=True)
    then, values = filled.position, filled.values()
    filled.ledger.revoke(Acting(), "CRM", "member", "user:alice")
    undone(filled, then, values=values)
    filled.ledger.grant(Acting(), "CRM", "member", "user:bob")
    undone(filled, then, values=values)
    filled.ledger.delete_application(Acting(), "CRM")
    undone(filled, then, values=values)


def test_a_deletion_is_undone_and_done_again(filled):
    there, values = filled.position, filled.values()
    filled.ledger.delete_application(Acting(), "CRM")
    gone, rest = filled.position, filled.values()
    undone(filled, there, "CRM", values=values)
    done = undone(filled, gone, "CRM", values=rest)
    assert (done["applications"], done["restored"], done["deleted"]) == (1, 0, 2)


def test_a_field_added_since_stays_and_is_told(filled):
    then = filled.position
    filled.ledger.update_application(
        Acting(), "CRM", changes={"name": "x"}, add_fields=[make_field("PIN", "pin")]
    )
    told = filled.plan(then, "CRM").difference
    assert told["staying"] == [
        {"application": "CRM", "fields": [{"name": "PIN", "type": "pin", "masked": True}]}
    ]
    filled.restore(then, "CRM")
    state = filled.ledger.application("CRM")
    assert (state.name, [one.name for one in state.fields]) == ("CRM", ["Password", "PIN"])
    assert filled.plan(then, "CRM").plan.is_empty
    assert "field stays" in [row["action"] for row in difference_rows(told, RESTORING)]


def test_rights_come_back_with_everything_only(filled):
    then = filled.position
    filled.ledger.role_revoke(Acting(), "auditor", "user:eve")
    assert filled.plan(then, "CRM").plan.is_empty
    told = filled.plan(then).difference
    assert told["roles"]["granted"] == [{"right": "auditor", "claim": "user:eve"}]


def test_an_application_that_the_log_never_knew_is_not_found(filled):
    with pytest.raises(NotFound) as caught:
        filled.plan(3, "Nowhere")
    assert caught.value.code == "no-such-application"
    with pytest.raises(NotFound) as caught:
        filled.plan(10**6)
    assert caught.value.code == "beyond-the-log"


def test_a_time_means_after_the_last_event_at_or_before_it(filled):
    then = filled.position
    with filled.store.reading() as reading:
        at = reading.row_at(then).recorded_at
    filled.house.clock.offset_us += 3_600_000_000
    filled.set("CRM", ALICE, "wrong")
    found = plan_for(filled, to_text(at), None, except_destroyed=False)
    assert found.difference["to"]["position"] == then
    assert len(found.difference["credentials"]["changed"]) == 1
    before = plan_for(filled, to_text(at - 1), None, except_destroyed=False)
    assert before.difference["to"]["position"] == then - 1
    assert found.difference["roles"]["revoked"] == []
    assert len(before.difference["roles"]["revoked"]) == 1


def destroyed(filled):
    """Values of alice and of the group are gone; bob's was carried over."""
    then = filled.position
    filled.set("CRM", ALICE, "a2")
    filled.set("Shared", None, "s2")
    filled.ledger.rotate(Acting(), without_backup=True, destroy_previous=True)
    filled.set("CRM", BOB, "b2")
    return then


def test_values_whose_key_was_destroyed_are_told_before_anything_is_done(filled):
    then, now = destroyed(filled), filled.values()
    found = filled.plan(then)
    assert found.is_refused
    assert [one["owner"] for one in found.difference["lost"]] == ["user:alice", None]
    assert found.refusal().code == "key-destroyed"
    size = filled.position
    with pytest.raises(KeyUnavailable):
        carry_out(filled, OPERATOR, found.plan)
    assert filled.position == size
    done = filled.restore(then, except_destroyed=True)
    assert (done["restored"], done["deleted"]) == (1, 0)
    assert filled.values() == {**now, ("crm", "user:bob"): {"Password": "b1"}}
    rest = filled.plan(then, except_destroyed=True)
    assert rest.plan.is_empty
    assert len(rest.difference["lost"]) == 2
    filled.require_whole()


def test_what_is_lost_in_an_application_created_again_is_told_as_ending(filled):
    then = destroyed(filled)
    filled.ledger.delete_application(Acting(), "CRM")
    filled.ledger.create_application(Acting(), "CRM", kind="individual")
    filled.ledger.set_credentials(
        Acting(),
        "CRM",
        ALICE,
        {"Windows User Name": FieldValue("x"), "Windows Password": FieldValue("y")},
    )
    found = filled.plan(then, "CRM", except_destroyed=True)
    assert found.difference["recreated"] == ["CRM"]
    assert [one["owner"] for one in found.difference["credentials"]["removed"]] == ["user:alice"]
    assert found.plan.deletes == (1, 1)
    carry_out(filled, OPERATOR, found.plan)
    assert ("crm", "user:alice") not in filled.values()
    filled.require_whole()


def test_a_key_destroyed_after_the_plan_was_made_changes_nothing(filled):
    then = filled.position
    filled.set("CRM", ALICE, "a2")
    found = filled.plan(then)
    filled.ledger.rotate(Acting(), without_backup=True, destroy_previous=True)
    filled.set("CRM", ALICE, "a3")
    size = filled.position
    with pytest.raises(LedgerError) as caught:
        carry_out(filled, OPERATOR, found.plan)
    assert caught.value.code == "changed-meanwhile"
    assert filled.position == size


def requests_counted(monkeypatch, until):
    """Let that many requests of a restoration pass, then let the process die."""
    run, left = Writer.run, [until]

    def counted(self, request):
        if isinstance(request, RestoreApplication | RestoreMappings | RestoreRoles):
            if left[0] == 0:
                raise SystemExit("killed")
            left[0] -= 1
        return run(self, request)

    monkeypatch.setattr(Writer, "run", counted)


@pytest.mark.parametrize("step", range(7))
def test_a_run_killed_at_any_request_is_finished_by_the_next(filled, monkeypatch, step):
    monkeypatch.setattr(tools.recovering.restoring, "RESTORED_TOGETHER_MAX", 1)
    then, values, expected = filled.position, filled.values(), filled.state()
    roles = filled.ledger.roles().held
    filled.ledger.delete_application(Acting(), "CRM")
    filled.create("Later")
    filled.set("Shared", None, "wrong")
    filled.ledger.role_revoke(Acting(), "auditor", "user:eve")
    found = filled.plan(then)
    with monkeypatch.context() as patched:
        requests_counted(patched, step)
        killed = False
        try:
            carry_out(filled, OPERATOR, found.plan)
        except SystemExit:
            killed = True
    assert killed == (step < 6), "there are more requests, or fewer, than this test knows"
    filled.require_whole()
    after = filled.again()
    after.restore(then)
    assert (after.state(), after.values()) == (expected, values)
    assert after.ledger.roles().held == roles
    assert after.plan(then).plan.is_empty
    after.ledger.close()


MEANWHILE = {
    "a mapping that is restored": lambda hands: hands.set("CRM", ALICE, "a3"),
    "a mapping that is deleted": lambda hands: hands.set("CRM", CAROL, "c2"),
    "an application": lambda hands: hands.ledger.grant(Acting(), "CRM", "member", "user:x"),
    "its end": lambda hands: hands.ledger.delete_application(Acting(), "CRM"),
    "rights": lambda hands: hands.ledger.role_grant(Acting(), "auditor", "user:zoe"),
}


@pytest.mark.parametrize("name", MEANWHILE)
def test_what_others_changed_since_the_plan_is_told_and_not_overwritten(filled, name):
    then, values = filled.position, filled.values()
    filled.set("CRM", ALICE, "a2")
    filled.set("CRM", CAROL, "c1")
    filled.ledger.update_application(Acting(), "CRM", changes={"name": "x"})
    filled.ledger.role_revoke(Acting(), "auditor", "user:eve")
    found = filled.plan(then)
    other = filled.again()
    MEANWHILE[name](other)
    set_meanwhile = other.values()
    other.ledger.close()
    with pytest.raises(Conflict) as caught:
        carry_out(filled, OPERATOR, found.plan)
    assert caught.value.code == "changed-meanwhile"
    assert "changes were made and stand" in caught.value.message
    assert f"--position {then}" in caught.value.hint
    assert filled.values() == set_meanwhile
    undone(filled, then, values=values)


def test_nothing_comes_into_an_application_created_meanwhile(filled):
    """Its mappings stand where the plan saw them, and would count in another application."""
    then = filled.position
    filled.set("CRM", ALICE, "a2")
    found = filled.plan(then)
    assert found.plan.applications == ()
    filled.ledger.delete_application(Acting(), "CRM")
    filled.create("CRM", members=("user:mal",))
    size = filled.position
    with pytest.raises(Conflict) as caught:
        carry_out(filled, OPERATOR, found.plan)
    assert caught.value.code == "changed-meanwhile"
    assert filled.position == size


def test_beside_concurrent_writers_all_that_is_planned_is_done(hands):
    """Others write elsewhere all the while; only what they touch themselves can be in the way."""
    hands.create("CRM")
    hands.create("Busy")
    owners = [parse_claim(f"user:u{number}") for number in range(40)]
    item = lambda owner, text: ImportItem("CRM", owner, {"Password": FieldValue(text)})
    hands.ledger.import_batch(Acting(), [item(owner, f"{owner} 1") for owner in owners])
    then, stop, began = hands.position, threading.Event(), threading.Barrier(3)
    hands.ledger.import_batch(Acting(), [item(owner, "wrong") for owner in owners])

    def work(number):
        other = hands.again()
        count = 0
        while not stop.is_set():
            other.set("Busy", owners[number], str(count))
            count += 1
            if count == 1:
                began.wait()
        other.ledger.close()
        return count

    with pytest.MonkeyPatch.context() as patched, ThreadPoolExecutor(2) as pool:
        patched.setattr(tools.recovering.restoring, "RESTORED_TOGETHER_MAX", 7)
        workers = [pool.submit(work, number) for number in range(2)]
        began.wait()
        try:
            done = hands.restore(then, "CRM")
        finally:
            stop.set()
        assert all(worker.result() > 1 for worker in workers)
    assert done["restored"] == len(owners)
    found = hands.values()
    assert all(found["crm", str(one)] == {"Password": f"{one} 1"} for one in owners)
    assert hands.plan(then, "CRM").plan.is_empty
    hands.require_whole()


def test_a_thousand_overwritten_credentials_take_two_requests(hands, monkeypatch):
    hands.create("CRM")
    owners = [parse_claim(f"user:u{number}") for number in range(1000)]

    def fill(text):
        for start in range(0, 1000, 500):
            hands.ledger.import_batch(
                Acting(),
                [
                    ImportItem("CRM", owner, {"Password": FieldValue(f"{text} of {owner}")})
                    for owner in owners[start : start + 500]
                ],
            )

    fill("right")
    then = hands.position
    fill("wrong")
    sizes = []
    restore = Restorer.mappings

    def counted(self, acting, steps, creations):
        sizes.append(len(steps))
        return restore(self, acting, steps, creations)

    monkeypatch.setattr(Restorer, "mappings", counted)
    assert hands.restore(then)["restored"] == 1000
    assert sizes == [500] * 2
    assert hands.values() == {("crm", str(o)): {"Password": f"right of {o}"} for o in owners}
    assert hands.plan(then).plan.is_empty


def test_an_auditor_and_whoever_is_acted_for_may_not(filled):
    then = filled.position
    filled.set("CRM", ALICE, "a2")
    filled.ledger.delete_application(Acting(), "Shared")
    filled.ledger.role_revoke(Acting(), "auditor", "user:eve")
    plan, ledger, size = filled.plan(then).plan, filled.ledger, filled.position
    acting = Acting(Caller(parse_claim("user:ann")))
    ledger.role_grant(Acting(), "full-control", "user:ann")
    size = filled.position
    steps = list(plan.steps())
    asked = [
        lambda who: ledger.restoring.application(who, plan.applications[0].step),
        lambda who: ledger.restoring.roles(who, plan.roles),
        lambda who: ledger.restoring.mappings(who, steps, plan.creations),
    ]
    for ask in asked:
        with pytest.raises(Refused) as caught:
            ask(acting)
        assert caught.value.code == "not-allowed"
    desk = ledger.restoring._desk
    slot = replace(desk.unlocked.slot, opens="auditor")
    ledger.restoring._desk = replace(desk, unlocked=replace(desk.unlocked, slot=slot))
    for ask in asked:
        with pytest.raises(Refused) as caught:
            ask(OPERATOR)
        assert caught.value.code == "operator-needed"
    ledger.restoring._desk = desk
    assert filled.position == size


HOSTILE = {
    "a source that is no value": MappingStep("CRM", "user:alice", 1, 9, 1),
    "a version that is not there": MappingStep("CRM", "user:alice", 0, None, 0),
    "an owner who never was": MappingStep("CRM", "user:nobody", 0, None, 0),
    "an application that never was": MappingStep("None", "user:alice", 1, None, 0),
    "another's owner": MappingStep("Shared", None, 2, None, 0),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_step_that_does_not_fit_leaves_nothing(filled, name):
    plan, size = filled.plan(filled.position).plan, filled.position
    good = MappingStep("CRM", "user:bob", 1, None, 0)
    with pytest.raises(Conflict) as caught:
        filled.ledger.restoring.mappings(OPERATOR, [good, HOSTILE[name]], plan.creations)
    assert caught.value.code == "changed-meanwhile"
    assert filled.position == size
    with pytest.raises(InvalidInput) as caught:
        filled.ledger.restoring.mappings(OPERATOR, [good] * 501, plan.creations)
    assert caught.value.code == "batch-too-large"
    with pytest.raises(Conflict):
        filled.ledger.restoring.roles(OPERATOR, RolesStep(0, (), ()))
    assert filled.position == size


def test_what_is_restored_is_recorded_with_who_and_why(filled):
    then = filled.position
    filled.set("CRM", ALICE, "a2")
    filled.restore(then, "CRM")
    (last,) = filled.ledger.views.changes(application="CRM")[-1:]
    assert (last["event"], last["reason"], last["by"]) == (
        "credential.restored",
        "by mistake",
        "operator",
    )
    assert (last["detail"]["value_version"], last["detail"]["restored_version"]) == (3, 1)


APPLICATIONS = ("One", "Two", "Three")
CLAIMS = ("user:alice", "user:bob", "group:g")


def step(hands, chance, count):
    """One thing that somebody may do, sensible or not."""
    ledger, name = hands.ledger, chance.choice(APPLICATIONS)
    owner = chance.choice([None, ALICE, BOB])
    kind = chance.choice(["individual", "group"])
    again = chance.choice([name, name.lower()])
    doing = {
        "create": lambda: hands.create(
            again, kind=kind, ticketing=chance.random() < 0.3, members=chance.sample(CLAIMS, 1)
        ),
        "create open": lambda: hands.create(name),
        "delete": lambda: ledger.delete_application(Acting(), name),
        "update": lambda: ledger.update_application(
            Acting(), name, changes={"name": f"n{count}", "masked": {"Password": count % 2 == 0}}
        ),
        "field": lambda: ledger.update_application(
            Acting(), name, changes={}, add_fields=[make_field(f"F{count % 3}", "generic")]
        ),
        "open": lambda: ledger.update_application(Acting(), name, changes={}, open_to_all=True),
        "grant": lambda: ledger.grant(
            Acting(),
            name,
            chance.choice(["member", "administrator", "ticket-redeemer"]),
            chance.choice(CLAIMS),
        ),
        "revoke": lambda: ledger.revoke(
            Acting(), name, chance.choice(["member", "administrator"]), chance.choice(CLAIMS)
        ),
        "right": lambda: ledger.role_grant(Acting(), "auditor", chance.choice(CLAIMS)),
        "no right": lambda: ledger.role_revoke(Acting(), "auditor", chance.choice(CLAIMS)),
        "unset": lambda: ledger.delete_credentials(Acting(), name, owner),
        "earlier": lambda: ledger.restoring.credentials(
            Acting(), name, owner, version=chance.randint(1, 4)
        ),
        "rotate": lambda: ledger.rotate(Acting(), without_backup=True),
        "read": lambda: ledger.retrieve(Caller(ALICE), name),
    }
    sets = lambda: ledger.set_credentials(
        Acting(),
        name,
        owner,
        {one.name: FieldValue(f"{name} {count}") for one in ledger.application(name).fields},
    )
    doing.update({"set": sets, "set too": sets, "set as well": sets})
    with contextlib.suppress(LedgerError):
        doing[chance.choice(sorted(doing))]()


def with_fields_of(applications, then):
    """The same with only the fields that were there, in the order of then."""
    listed = {one["application"]: [field["name"] for field in one["fields"]] for one in then}
    return [
        {
            **one,
            "fields": sorted(
                (field for field in one["fields"] if field["name"] in listed[one["application"]]),
                key=lambda field: listed[one["application"]].index(field["name"]),
            ),
        }
        for one in applications
    ]


@pytest.mark.parametrize("seed", range(12))
def test_after_any_history_any_moment_comes_back(hands, seed):
    """Up to fields added since, versions, positions, times and authors: what reads now give too."""
    chance = random.Random(seed)
    kept = {}
    for count in range(45):
        step(hands, chance, count)
        if chance.random() < 0.3:
            kept[hands.position] = (hands.values(), hands.ledger.roles().held)
    for then in chance.sample(sorted(kept), min(3, len(kept))):
        values, roles = kept[then]
        hands.restore(then)
        applications, owners = hands.state(then)
        present, set_now = hands.state()
        assert [one["application"] for one in present] == [
            one["application"] for one in applications
        ]
        assert with_fields_of(present, applications) == applications
        assert (set_now, hands.values()) == (owners, values)
        assert hands.ledger.roles().held == roles
        assert hands.plan(then).plan.is_empty
    hands.require_whole()
    assert json.dumps(hands.plan(2).difference)
