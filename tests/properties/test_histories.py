"""Random histories through the real ledger, each step checked by everything that can check it.

A state machine founds a ledger on a real store and lets two hosts, each with its own clock
and memory, take turns at it: applications come, change and go, rights are given and taken,
credentials are set, restored, imported and deleted, people ask for them, input is malformed,
ledgers are closed and reopened, clocks jump, views are dropped. What each request should answer is
said by `model.py`, which knows the pages and none of the product's rules.

After every step it must hold that

- the whole log verifies: tree, signatures, the pinned ledger id, and each host's memory;
- every view stands at the head, answers like the model, and a rebuild has the same digest;
- every access decided again from the log alone is decided the same;
- the log grew by exactly the rows that the model expects, and not at all after an error that is
  not to be recorded: then size and root are what they were;
- no name, claim, reason or value stands in any byte of the store's or the keyrings' folders, in
  UTF-8 or UTF-16, nor in an error. All of them carry one planted word in several cases, and all
  bytes are lowered before they are searched.

The examples are the same on every run, and a history that fails is shown as it was found. For a
longer search, with new examples each time, and failing histories made short::

    python -m tests.properties.test_histories

Each step is one of `STEPS`, drawn by weight, and draws its particulars from the present state, so
that most requests are worth asking. It does not try two requests at the very same moment, keys
and slots, or damaged files; `faults/` does.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from ledger.aggregates.application import make_field
from ledger.aggregates.issuers import Settings
from ledger.aggregates.roles import RIGHTS
from ledger.claims import parse_claim
from ledger.errors import LedgerError
from ledger.log.verification import verify_log
from ledger.policy import Caller, Verb
from ledger.usecases.acting import Acting
from ledger.usecases.credentials import ImportItem
from ledger.values import FieldValue
from projections.documents import application_document
from projections.redecide import redecide
from tests.conftest import House, unlocked_by_passphrase
from tests.prepared import settle_in
from tests.properties.model import PLURALS, Model, claim_of, name_of

SHORT = settings(
    max_examples=7,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
LONG = settings(
    SHORT,
    max_examples=1000,
    stateful_step_count=60,
    derandomize=False,
    phases=(Phase.generate, Phase.shrink),
)
settings.register_profile("short histories", SHORT)
settings.register_profile("long histories", LONG)

PLANTED = "zqxplanted"
ENCODED = (PLANTED.encode(), PLANTED.encode("utf-16-le"))
HOUR_US = 3600 * 1_000_000

PLANTED_ISSUER, KEYS_URL = "https://zqxplanted.example", "https://zqxplanted.example/keys"
APPLICATIONS = ("Zqxplanted Payroll", "ZQXPLANTED-crm", "zqxPlanted.Vault")
PEOPLE = (
    "user:ZqxPlanted.Alice",
    "user:zqxplanted.bob",
    "service:ZQXPLANTED-Job",
    "https://zqxplanted.example#user:Zqxplanted.Alice",
)
GROUPS = (
    "group:zqxplanted finance",
    "role:Zqxplanted Clerks",
    "https://zqxplanted.example#group:Zqxplanted Finance",
    "https://zqxplanted.example#group:zqxplanted finance",
)
FIELD_SETS = (
    (),
    (("Zqxplanted Login", "user-name", False), ("ZQXPLANTED Pin", "pin", True)),
    (("zqxplanted key", "key", True),),
)
MORE_FIELDS = (
    ("Zqxplanted Note", "generic", False),
    ("zqxplanted note", "generic", True),
    ("ZQXPLANTED Pin", "pin", False),
    ("ZqxPlanted Second Key", "key", True),
)
VALUES = (
    "ZqxPlanted first",
    "zqxplanted zweites Paßwort ☂",
    b"\x00ZQXPLANTED\xff third",
    "ZQXPLANTED " + "long " * 60,
)
REASONS = ("", "zqxplanted monthly run", "ZQXPLANTED ünfall")
PAGES = ("none", "default", "https://pages.example/Zqxplanted")
MALFORMED_CLAIMS = ("zqxplanted", "user:", "person:zqxplanted", "#user:zqxplanted", "user:zqx\x07")
VERBS = {
    "create": Verb.CREATE_APPLICATION,
    "manage": Verb.MANAGE_APPLICATION,
    "delete": Verb.DELETE_APPLICATION,
    "show": Verb.SHOW_APPLICATION,
    "set": Verb.SET_CREDENTIALS,
    "unset": Verb.DELETE_CREDENTIALS,
    "restore": Verb.RESTORE_CREDENTIALS,
    "list": Verb.LIST_CREDENTIALS,
    "roles": Verb.MANAGE_ROLES,
    "history": Verb.READ_HISTORY,
}
ROLES = ("member", "member", "administrator", "ticket-redeemer", "owner")
STEPS = (
    *("somebody_asks",) * 3,
    *("somebody_asks_for_what_is_there",) * 5,
    *("a_role_of_an_application_is_changed",) * 3,
    *("a_right_is_changed",) * 2,
    *("right_values_are_set",) * 2,
    *("values_are_set",) * 2,
    *("values_are_deleted",) * 2,
    *("a_batch_is_imported",) * 2,
    *("an_earlier_version_is_restored",) * 2,
    *("an_application_is_created",) * 2,
    *("an_application_is_updated",) * 2,
    *("an_application_begins_anew",) * 2,
    *("members_come_and_all_of_them_go",) * 2,
    "an_application_is_deleted",
    "all_of_an_owner_are_deleted",
    "the_history_is_asked",
    "malformed_input_changes_nothing",
    "a_ledger_is_closed_and_opened_again",
    "a_clock_jumps",
    "views_are_dropped",
)
"""What may happen in one step; what is named twice happens twice as often."""


def spelled(text, spelling):
    """The same claim or ID in another spelling; what is case-exact stays as it is."""
    if "#" in text:
        return f" {text} " if spelling == "blanks" else text
    head, colon, name = text.rpartition(":")
    changed = {
        "as it is": name,
        "upper": name.upper(),
        "lower": name.lower(),
        "blanks": f" {name} ",
    }
    return f"{head}{colon}{changed[spelling]}"


spellings = st.sampled_from(("as it is", "as it is", "upper", "lower", "blanks"))
claims = st.builds(spelled, st.sampled_from(PEOPLE + PEOPLE + GROUPS), spellings)
people = st.builds(spelled, st.sampled_from(PEOPLE), spellings)
groups = st.lists(claims, max_size=2, unique_by=claim_of)
callers = st.builds(lambda own, more: [own, *more], claims, groups)
application_ids = st.builds(spelled, st.sampled_from(APPLICATIONS), spellings)
owners = st.one_of(people, people, st.none(), claims)
seldom = st.sampled_from((False, False, False, True))
reasons = st.sampled_from(REASONS)
values = st.sampled_from(VALUES)
fields_asked = st.lists(
    st.sampled_from(("windows PASSWORD", "Zqxplanted Login", "Zqxplanted Key", "ZQXPLANTED note")),
    min_size=1,
    max_size=2,
    unique=True,
)
settings_of_applications = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(("individual", "individual", "group")),
        "fields": st.sampled_from(FIELD_SETS),
        "restricted": seldom,
        "ticketing": seldom,
        "members": st.one_of(st.just([]), st.lists(claims, max_size=3)),
        "administrators": st.lists(claims, max_size=2),
        "credential_page": st.sampled_from(PAGES),
    },
    optional={
        "ticket_redeemers": st.lists(people, max_size=1),
        "contact": st.just("Zqxplanted@example.org"),
    },
)
settings_changed = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(("Zqxplanted pay", "ZQXPLANTED pay")),
        "contact": st.sampled_from(("", "zqxplanted@example.org")),
        "credential_page": st.sampled_from(PAGES),
        "ticket_timeout_s": st.sampled_from((120, 300)),
        "masked": st.sampled_from(({"Windows User Name": True}, {"Zqxplanted Login": True})),
    },
)


class Histories(RuleBasedStateMachine):
    """Two hosts and one log, in a file."""

    server = None
    """A PostgreSQL server for the log instead."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="histories-"))
        store = self.folder / "store" / "ledger.db"
        self.schema = f"histories_{uuid4().hex[:12]}"
        url = f"{self.server.dsn()}&ledger={self.schema}" if self.server else None
        first = House(store, self.folder / "keys" / "keyring", store_url=url)
        self.ledger_id = first.found()
        second = House(store, self.folder / "other keys" / "keyring", store_url=url)
        second.keyring_path.parent.mkdir(mode=0o700)
        shutil.copy2(first.keyring_path, second.keyring_path)
        settle_in(second.keyring_path)
        self.houses = (first, second)
        self.unlocked = unlocked_by_passphrase(first.keyring_path)
        self.ledgers = [house.open_with(self.unlocked) for house in self.houses]
        self.ledgers[0].trust.add(Acting(), PLANTED_ISSUER, Settings("x", ("RS256",), "", KEYS_URL))
        self.model = Model(self.ledgers[0].head().size)
        self.turn = 0
        self.steps = 0

    def teardown(self):
        for ledger in self.ledgers:
            ledger.close()
        for house in self.houses:
            house.close()
        try:
            self.nothing_stands_in_clear()
        finally:
            shutil.rmtree(self.folder)
            if self.server:
                self.server.execute(f"DROP SCHEMA {self.schema} CASCADE")

    @initialize(data=st.data())
    def a_house_in_use(self, data):
        for application in APPLICATIONS:
            self.create(None, application, data.draw(settings_of_applications), "")
        for right in data.draw(st.lists(st.sampled_from(RIGHTS), max_size=4)):
            self.change_right(None, right, data.draw(claims), "", revoke=False)
        for _ in range(data.draw(st.integers(1, 5))):
            self.right_values_are_set(data)

    @rule(host=st.sampled_from((0, 1)), step=st.sampled_from(STEPS), data=st.data())
    def something_happens(self, host, step, data):
        self.turn = host
        self.steps += 1
        getattr(self, step)(data)

    # What people do.

    def an_application_is_created(self, data):
        how = data.draw(settings_of_applications, "how")
        self.create(self.an_actor(data), self.an_id(data), how, data.draw(reasons))

    def an_application_is_updated(self, data):
        actor, application = self.an_actor(data), self.an_id(data)
        changes = data.draw(settings_changed, "changes")
        added = data.draw(st.lists(st.sampled_from(MORE_FIELDS), max_size=2), "added")
        open_to_all = data.draw(seldom, "open to all")
        expected = self.model.update(
            canonical(actor), application, changes, added, open_to_all=open_to_all
        )
        got = self.meets(
            expected,
            lambda ledger: ledger.update_application(
                acting(actor, data.draw(reasons)),
                application,
                changes=changes,
                add_fields=[make_field(name, kind, masked=mask) for name, kind, mask in added],
                open_to_all=open_to_all,
            ),
        )
        if expected.code is None:
            assert got.changed == (expected.rows > 0)

    def a_role_of_an_application_is_changed(self, data):
        actor, application = self.an_actor(data), self.an_id(data)
        role = data.draw(st.sampled_from(ROLES), "role")
        claim, revoke = data.draw(claims, "claim"), data.draw(st.booleans(), "revoke")
        present = self.model.applications.get(name_of(application))
        if present and role == "member" and revoke and present["members"]:
            claim = data.draw(st.sampled_from(sorted(present["members"])))
        self.change_role(actor, application, role, claim, data.draw(reasons), revoke=revoke)

    def members_come_and_all_of_them_go(self, data):
        """One is named, all are revoked, and somebody asks for what is then closed to all."""
        application = self.an_id(data)
        present = self.model.applications.get(name_of(application))
        if present is None:
            return
        self.change_role(None, application, "member", data.draw(claims), "", revoke=False)
        for claim in sorted(self.model.applications[name_of(application)]["members"]):
            self.change_role(None, application, "member", claim, "", revoke=True)
        self.retrieve([data.draw(people, "caller")], application, False, None, "")

    def an_application_is_deleted(self, data):
        actor, application = self.an_actor(data), self.an_id(data)
        self.meets(
            self.model.delete(canonical(actor), application),
            lambda ledger: ledger.delete_application(
                acting(actor, data.draw(reasons)), application
            ),
        )

    def an_application_begins_anew(self, data):
        """Ended and created again by the operator, then asked for what it held before."""
        held = [(one["application"], one["owner"]) for one in self.model.credentials()]
        if not held:
            return
        application, owner = data.draw(st.sampled_from(held), "held before")
        self.meets(
            self.model.delete(None, application),
            lambda ledger: ledger.delete_application(acting(None), application),
        )
        how = data.draw(settings_of_applications, "how")
        how["kind"] = "individual" if owner else "group"
        self.create(None, application, how, data.draw(reasons))
        self.retrieve(self.an_asker(data, application, owner), application, False, None, "")
        self.restore(self.an_actor(data), name_of(application), owner, 1, data.draw(reasons))

    def a_right_is_changed(self, data):
        right, claim = data.draw(st.sampled_from(RIGHTS), "right"), data.draw(claims, "claim")
        revoke = data.draw(st.booleans(), "revoke")
        if revoke and self.model.rights:
            right, claim = data.draw(st.sampled_from(sorted(self.model.rights)), "held")
        self.change_right(self.an_actor(data), right, claim, data.draw(reasons), revoke=revoke)

    def right_values_are_set(self, data):
        application, owner = self.a_place(data)
        self.set(None, application, owner, self.right_values(data, application), "")

    def values_are_set(self, data):
        application, owner = self.a_place(data)
        actor = self.an_actor(data, owner)
        given = self.some_values(data, application)
        self.set(actor, application, owner, given, data.draw(reasons))

    def values_are_deleted(self, data):
        application, owner = self.a_place(data)
        actor = self.an_actor(data, owner)
        expected = self.model.unset(canonical(actor), application, canonical_owner(owner))
        self.meets_version(
            expected,
            lambda ledger: ledger.delete_credentials(
                acting(actor, data.draw(reasons)), application, owner_claim(owner)
            ),
        )

    def all_of_an_owner_are_deleted(self, data):
        owner = data.draw(st.one_of(people, people, people, claims), "owner")
        actor = self.an_actor(data, owner)
        listed = data.draw(st.lists(application_ids, max_size=4), "applications")
        if data.draw(st.booleans(), "individual ones only"):
            listed = [text for text in listed if not self.is_group(text)]
        expected = self.model.unset_all(canonical(actor), claim_of(owner), listed)
        got = self.meets(
            expected,
            lambda ledger: ledger.delete_all(
                acting(actor, data.draw(reasons)), parse_claim(owner), listed
            ),
        )
        if expected.code is None:
            assert [one.application for one in got] == expected.value["gone"]

    def an_earlier_version_is_restored(self, data):
        if not self.model.mappings:
            return
        key, owner = data.draw(st.sampled_from(list(self.model.mappings)), "mapping")
        newest = self.model.mappings[key, owner][-1]["version"]
        version = data.draw(st.integers(1, newest + 1), "version")
        self.restore(self.an_actor(data), key, owner, version, data.draw(reasons))

    def a_batch_is_imported(self, data):
        actor = self.an_actor(data) if data.draw(seldom, "somebody else's import") else None
        items = []
        for _ in range(data.draw(st.integers(0, 4), "items")):
            application, owner = self.a_place(data)
            if name_of(application) in self.model.applications:
                items.append((application, owner, self.right_values(data, application)))
        if items and data.draw(st.booleans(), "spoiled"):
            application, owner, _ = data.draw(st.sampled_from(items), "once more, wrong")
            items.append((application, owner, self.wrong_values(data, application)))
        expected = self.model.bring_in(
            canonical(actor), [(one, canonical_owner(owner), given) for one, owner, given in items]
        )
        batch = [ImportItem(one, owner_claim(owner), sealed(given)) for one, owner, given in items]
        got = self.meets(
            expected, lambda ledger: ledger.import_batch(acting(actor, data.draw(reasons)), batch)
        )
        if expected.code is None:
            assert {"imported": got.imported, "unchanged": got.unchanged} == expected.value
            assert got.last_position == self.model.size

    def somebody_asks(self, data):
        for _ in range(data.draw(st.integers(1, 3), "asks")):
            unknown = data.draw(seldom, "an unknown application")
            application = "Zqxplanted nowhere" if unknown else self.an_id(data)
            self.retrieve(
                self.an_asker(data, application),
                application,
                data.draw(seldom, "restricted"),
                data.draw(st.one_of(st.none(), fields_asked), "fields"),
                data.draw(reasons),
            )

    def somebody_asks_for_what_is_there(self, data):
        for _ in range(data.draw(st.integers(1, 3), "asks")):
            if self.model.credentials():
                self.ask_for_what_is_there(data)

    def the_history_is_asked(self, data):
        actor = self.an_actor(data)
        position = self.meets(
            self.model.asked(),
            lambda ledger: ledger.record_query(
                acting(actor, data.draw(reasons)), f"user={PEOPLE[0]}", 3
            ),
        )
        assert position == self.model.size

    # What goes wrong.

    def malformed_input_changes_nothing(self, data):
        claim = data.draw(st.sampled_from(MALFORMED_CLAIMS), "claim")
        application = data.draw(application_ids, "application")
        operator, somebody = acting(None), acting([PEOPLE[0]]).caller
        attempts = {
            "grant": lambda one: one.grant(operator, application, "member", claim),
            "role": lambda one: one.role_grant(operator, "auditor", claim),
            "create": lambda one: one.create_application(
                operator, f"{PLANTED} new", kind="group", members=[claim]
            ),
            "ID": lambda one: one.retrieve(somebody, f"{PLANTED}/", reason=PLANTED),
            "field": lambda one: one.retrieve(somebody, application, fields=[f"{PLANTED}/"]),
            "no field": lambda one: one.retrieve(somebody, application, fields=[]),
            "right": lambda one: one.role_grant(operator, PLANTED, PEOPLE[0]),
            "value": lambda one: one.set_credentials(
                operator, application, None, {PLANTED: FieldValue(f"{PLANTED}\ud800")}
            ),
            "type": lambda one: make_field(PLANTED, PLANTED),
            "page": lambda one: one.create_application(
                operator, f"{PLANTED} new", kind="group", credential_page=PLANTED
            ),
        }
        wrong = data.draw(st.sampled_from(sorted(attempts)), "what is wrong")
        with pytest.raises(LedgerError) as caught:
            self.unchanged(attempts[wrong])
        assert caught.value.family == "invalid"

    # What happens to hosts.

    def a_ledger_is_closed_and_opened_again(self, data):
        self.ledgers[self.turn].close()
        self.ledgers[self.turn] = self.houses[self.turn].open_with(self.unlocked)

    def a_clock_jumps(self, data):
        self.houses[self.turn].clock.offset_us = data.draw(st.integers(-48, 48)) * HOUR_US

    def views_are_dropped(self, data):
        views = self.ledgers[self.turn].views
        before = views.digests()
        views.drop_all()
        views.bring_forward()
        assert views.digests() == before

    # What must hold after each step.

    @invariant()
    def the_whole_log_verifies(self):
        memory = self.houses[self.turn].memory(self.unlocked)
        store = self.ledgers[self.turn]._writer.store
        verified = verify_log(store, pinned=self.ledger_id, remembered=memory.recall())
        memory.close()
        assert verified.ok, verified.checks
        assert verified.size == self.model.size
        for ledger in self.ledgers:
            head = ledger.head()
            assert (head.size, head.root) == (verified.size, verified.root)

    @invariant()
    def views_answer_like_the_model_and_like_their_rebuild(self):
        views = self.ledgers[self.turn].views
        assert {one["position"] for one in views.status()} == {self.model.size}
        self.views_answer_like_the_model()
        assert [one["name"] for one in views.rebuild() if not one["same"]] == []
        self.views_answer_like_the_model()

    @invariant()
    def accesses_decided_again_are_the_same(self):
        ledger = self.ledgers[self.turn]
        found = redecide(ledger._writer.store, ledger._desk.mapper)
        assert found == {"checked": len(self.model.accesses), "wrong": [], "unreadable": []}

    @invariant()
    def what_somebody_may_is_as_the_table_says(self):
        """One caller in one application, others at the next step."""
        ledger, model = self.ledgers[self.turn], self.model
        own = (PEOPLE + GROUPS)[self.steps % len(PEOPLE + GROUPS)]
        caller = [own, GROUPS[self.steps % 3]]
        owner = own if self.steps % 2 else PEOPLE[0]
        application = APPLICATIONS[self.steps % len(APPLICATIONS)]
        for name, verb in VERBS.items():
            may = model.may(name, canonical(caller), name_of(application), canonical_owner(owner))
            told = ledger.allowed(acting(caller), verb, application, owner_claim(owner))
            assert told == may, name

    @invariant()
    def nothing_stands_in_clear(self):
        if self.server:
            for table, content in self.stored_on_the_server():
                assert not any(word in content for word in ENCODED), table
        for path in sorted(self.folder.rglob("*")):
            assert PLANTED not in path.name.lower()
            if path.is_file():
                # A writer answers before it notes its head, so a journal may go at any moment.
                with contextlib.suppress(FileNotFoundError):
                    content = path.read_bytes().lower()
                    assert not any(word in content for word in ENCODED), path.name

    def stored_on_the_server(self):
        tables = self.server.execute(
            f"SELECT tablename FROM pg_tables WHERE schemaname = '{self.schema}'"
        )
        for (table,) in tables:
            rows = self.server.execute(f"SELECT * FROM {self.schema}.{table}")
            cells = [cell for row in rows for cell in row]
            said = [one if isinstance(one, bytes) else str(one).encode() for one in cells]
            yield table, b"\0".join(said).lower()

    # How it is done.

    def create(self, actor, application, how, reason):
        expected = self.model.create(canonical(actor), application, listed_fields(how))
        fields = [make_field(name, kind, masked=mask) for name, kind, mask in how["fields"]]
        self.meets(
            expected,
            lambda ledger: ledger.create_application(
                acting(actor, reason), application, **{**how, "fields": fields}
            ),
        )

    def set(self, actor, application, owner, given, reason):
        whose = canonical_owner(owner)
        expected = self.model.set(canonical(actor), application, whose, given)
        told = lambda ledger: ledger.check_credentials(
            acting(actor), application, owner_claim(owner), sealed(given)
        )
        if expected.code is None:
            self.unchanged(told)
        else:
            with pytest.raises(LedgerError) as caught:
                self.unchanged(told)
            assert caught.value.code == expected.code
        self.meets_version(
            expected,
            lambda ledger: ledger.set_credentials(
                acting(actor, reason), application, owner_claim(owner), sealed(given)
            ),
        )

    def restore(self, actor, application, owner, version, reason):
        expected = self.model.restore(canonical(actor), application, owner, version)
        self.meets_version(
            expected,
            lambda ledger: ledger.restoring.credentials(
                acting(actor, reason), application, owner_claim(owner), version=version
            ),
        )

    def change_role(self, actor, application, role, claim, reason, *, revoke):
        expected = self.model.grant(canonical(actor), application, role, claim, revoke=revoke)
        got = self.meets(
            expected,
            lambda ledger: (ledger.revoke if revoke else ledger.grant)(
                acting(actor, reason), application, role, claim
            ),
        )
        if expected.code is None:
            assert got.changed == expected.value["changed"]

    def change_right(self, actor, right, claim, reason, *, revoke):
        expected = self.model.role(canonical(actor), right, claim, revoke=revoke)
        got = self.meets(
            expected,
            lambda ledger: (ledger.role_revoke if revoke else ledger.role_grant)(
                acting(actor, reason), right, claim
            ),
        )
        if expected.code is None:
            assert got.changed == expected.value["changed"]

    def ask_for_what_is_there(self, data):
        one = data.draw(st.sampled_from(self.model.credentials()), "what is there")
        application = self.model.applications[name_of(one["application"])]
        holders = sorted(application["members"]) or list(PEOPLE)
        own = one["owner"] or data.draw(st.sampled_from(holders))
        caller = [own, data.draw(st.sampled_from(holders)), *data.draw(groups, "more claims")]
        restricted = application["restricted"] != data.draw(seldom, "the other request")
        if restricted and data.draw(st.booleans(), "the right is given"):
            self.change_right(None, "restricted-access", own, "", revoke=False)
        shown = [name for name, _, _ in application["fields"]]
        some = st.lists(st.sampled_from(shown), min_size=1, max_size=len(shown) + 1)
        self.retrieve(
            caller,
            one["application"].upper(),
            restricted,
            data.draw(st.one_of(st.none(), some, fields_asked), "fields"),
            data.draw(reasons),
        )

    def retrieve(self, caller, application, restricted, fields, reason):
        expected = self.model.retrieve(
            canonical(caller), application, restricted=restricted, fields=fields, reason=reason
        )
        presented = acting(caller).caller
        error = self.meets(
            expected,
            lambda ledger: self.released(
                ledger.retrieve(
                    presented, application, restricted=restricted, fields=fields, reason=reason
                ),
                expected.value,
            ),
        )
        if expected.code is not None:
            assert error.position == self.model.size
            page = expected.value.get("page", "none")
            assert error.credential_page == (page if "://" in page else None)

    def released(self, got, value):
        """What a granted retrieval answers, compared while it is still a value."""
        assert got.position == self.model.size
        assert {repr(one) for one in got.fields.values()} <= {"•••"}
        shown = {
            "application": got.application,
            "owner": got.owner,
            "version": got.version,
            "fields": {name: one.reveal() for name, one in got.fields.items()},
            "complete": got.complete,
            "missing": list(got.missing),
        }
        assert shown == value
        return got

    def meets_version(self, expected, action):
        got = self.meets(expected, action)
        if expected.code is None:
            assert got.version == expected.value["version"]
            assert got.position == self.model.size

    def meets(self, expected, action):
        """Do it on the host whose turn it is; the answer where it succeeds, else the error."""
        ledger = self.ledgers[self.turn]
        before = ledger.head()
        answer = error = None
        try:
            answer = action(ledger)
        except LedgerError as caught:
            self.tells_nothing(caught)
            error = caught
        assert (error.code if error else None) == expected.code
        after = ledger.head()
        assert after.size == before.size + expected.rows == self.model.size
        assert expected.rows or after.root == before.root
        return answer if error is None else error

    def unchanged(self, action):
        """Do it on the host whose turn it is; whatever comes of it, the log is as it was."""
        ledger = self.ledgers[self.turn]
        before = ledger.head()
        try:
            return action(ledger)
        except LedgerError as error:
            self.tells_nothing(error)
            raise
        finally:
            after = ledger.head()
            assert (after.size, after.root) == (before.size, before.root)

    def tells_nothing(self, error):
        """An error and what it rests on print nothing planted, but for a field without a value."""
        texts = [repr(error), str(error), error.hint]
        if error.code == "missing-field":
            texts = [self.without_fields(text) for text in texts]
        cause = error.__cause__ or error.__context__
        while cause is not None:
            texts.append(str(cause))
            cause = cause.__cause__ or cause.__context__
        assert not any(PLANTED in text.lower() for text in texts), error.code

    def without_fields(self, text):
        for application in self.model.applications.values():
            for name, _, _ in application["fields"]:
                text = text.replace(name, "")
        return text

    def views_answer_like_the_model(self):
        ledger, model = self.ledgers[self.turn], self.model
        views = ledger.views
        shown = ("application", "owner", "version", "complete", "set_by")
        listed = [{name: one[name] for name in shown} for one in views.credentials()]
        assert listed == model.credentials()
        assert sum(views.epochs().values()) == len(listed)
        documents = {name_of(state.application): state for state in views.applications()}
        assert documents.keys() == model.applications.keys()
        for key, state in documents.items():
            self.is_as_the_model_says(application_document(state), model.applications[key])
            assert ledger.application(key) == state
        assert {(right, str(claim)) for right, claim in ledger.roles().held} == model.rights
        told = list(reversed(views.accesses.newest()))
        assert len(told) == len(model.accesses)
        for document, record in zip(told, model.accesses, strict=True):
            assert {name: document[name] for name in record} == record
        for (key, owner), events in model.mappings.items():
            happened = [
                (one["event"], one["version"], one["by"]) for one in views.history(key, owner)
            ]
            assert happened == [(one["event"], one["version"], one["by"]) for one in events]

    def is_as_the_model_says(self, document, application):
        told = {name: document[name] for name in application if name != "creation"}
        told["fields"] = [list(one.values()) for one in document["fields"]]
        said = {name: application[name] for name in told}
        said |= {role: sorted(application[role]) for role in PLURALS.values()}
        assert told == said

    # What is drawn from the present state.

    def an_id(self, data):
        return data.draw(application_ids, "application")

    def is_group(self, application):
        present = self.model.applications.get(name_of(application))
        return present is not None and present["kind"] == "group"

    def an_actor(self, data, owner=None):
        """The operator, the owner, somebody who holds a role or a right, or anybody."""
        who = data.draw(st.sampled_from(("operator", "operator", "holder", "owner", "anybody")))
        holding = {claim for _, claim in self.model.rights}
        for application in self.model.applications.values():
            holding |= application["administrators"]
        if who == "operator":
            return None
        if who == "owner" and owner is not None:
            return [owner, *data.draw(groups, "more claims")]
        if who == "holder" and holding:
            return [data.draw(st.sampled_from(sorted(holding)), "who holds something")]
        return data.draw(callers, "anybody")

    def an_asker(self, data, application, owner=None):
        """Anybody, or somebody, the owner if there is one, who comes with members' claims."""
        present = self.model.applications.get(name_of(application))
        if present is None or data.draw(seldom, "anybody"):
            return data.draw(callers, "caller")
        members = [text for text in sorted(present["members"]) if data.draw(st.booleans(), text)]
        return [owner or data.draw(people, "caller"), *members]

    def a_place(self, data):
        """An application, and mostly an owner that fits it."""
        application = self.an_id(data)
        if data.draw(seldom, "any owner"):
            return application, data.draw(owners, "owner")
        return application, None if self.is_group(application) else data.draw(people, "owner")

    def right_values(self, data, application):
        """A value for each field of the application."""
        present = self.model.applications.get(name_of(application))
        names = [name for name, _, _ in present["fields"]] if present else [f"{PLANTED} field"]
        return {name: data.draw(values) for name in names}

    def some_values(self, data, application):
        """Mostly the right ones."""
        draw = self.wrong_values if data.draw(seldom, "wrong values") else self.right_values
        return draw(data, application)

    def wrong_values(self, data, application):
        """One too few, one too many, one twice, or none at all."""
        given = self.right_values(data, application)
        first = next(iter(given))
        match data.draw(st.sampled_from(("few", "many", "twice", "none")), "what is wrong"):
            case "few":
                del given[first]
            case "many":
                given[f"{PLANTED} surplus"] = data.draw(values)
            case "twice":
                given[f" {first.swapcase()}"] = data.draw(values)
            case "none":
                given = {}
        return given


def canonical(actor):
    """The claims somebody presents, as the model knows them; None is the operator."""
    return None if actor is None else [claim_of(text) for text in actor]


def canonical_owner(owner):
    return None if owner is None else claim_of(owner)


def owner_claim(owner):
    return None if owner is None else parse_claim(owner)


def acting(actor, reason=""):
    if actor is None:
        return Acting(reason=reason)
    own, *more = (parse_claim(text) for text in actor)
    return Acting(Caller(own, tuple(more)), reason)


def sealed(given):
    return {name: FieldValue(value) for name, value in given.items()}


def listed_fields(how):
    return {**how, "fields": [list(one) for one in how["fields"]]}


TestHistories = pytest.mark.timeout(300)(Histories.TestCase)
TestHistories.settings = settings.get_profile("short histories")


@pytest.mark.timeout(300)
def test_histories_on_a_server(postgres_server):
    """The same on PostgreSQL, with fewer and shorter histories."""

    class OnServer(Histories):
        server = postgres_server

    fewer = settings(
        settings.get_profile("short histories"), max_examples=3, stateful_step_count=20
    )
    run_state_machine_as_test(OnServer, settings=fewer)


if __name__ == "__main__":
    run_state_machine_as_test(Histories, settings=settings.get_profile("long histories"))
