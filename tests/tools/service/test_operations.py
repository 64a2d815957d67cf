"""Every operation means what its command means, over a real socket."""

from __future__ import annotations

import base64
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from ledger.aggregates.application import make_field
from ledger.claims import parse_claim
from ledger.log.transaction import Transaction
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.tools.service.clients import JSON, MSGPACK
from tests.tools.service.conftest import ME, VALUES, running
from tools.service.operations import OPERATIONS

GET = "/v1/credentials/get"
SET = "/v1/credentials/set"


def new_folder(folder, name):
    """An empty one."""
    made = folder / name
    made.mkdir()
    return made


def recorded(service, position):
    """The access record at a position, as an auditor is told of it."""
    views = service.service.seal.counter.session.views
    (found,) = [one for one in views.accesses.newest(limit=0) if one["position"] == position]
    return found


def test_a_process_reads_its_own_account_s_values(service, client):
    """Each answered read is one granted record, at the position that the answer names."""
    found = client.ok(GET, {"application": "payroll", "reason": "nightly"})
    position = found.pop("position")
    assert found == {
        "application": "payroll",
        "owner": str(ME),
        "version": 1,
        "fields": VALUES,
        "complete": True,
        "missing": [],
    }
    record = recorded(service, position)
    assert (record["outcome"], record["caller"]) == ("granted", str(ME))
    assert record["reason"] == "nightly"
    assert record["authenticated_by"].startswith(f"unix:{os.geteuid()};operator:1/")


def test_a_stranger_hears_the_same_of_what_is_there_and_what_is_not(service, client):
    """A refusal tells its position and nothing of the application."""
    refused = [
        client.fails(403, "access-denied", GET, {"application": name})
        for name in ("shared", "nothing")
    ]
    for one in refused:
        position = one.pop("position")
        assert recorded(service, position)["outcome"] == "denied"
        one["detail"] = one["detail"].replace(str(position), "")
    assert refused[0] == refused[1]


def test_whoever_may_nothing_cannot_tell_what_there_is(service, client):
    """No operation answers otherwise for an application that there is, or for one who is known."""
    ledger = service.service.seal.counter.ledger
    bob = "user:bob"
    ledger.create_application(Acting(), "closed", kind="individual", members=(bob,))
    values = {name: FieldValue(value) for name, value in VALUES.items()}
    ledger.set_credentials(Acting(), "closed", parse_claim(bob), values)
    ticket = {"ticket": "clt_" + "A" * 43}
    role = {"role": "member", "claim": str(ME)}
    for path, body in (
        ("credentials/get", {}),
        ("credentials/set", {"fields": {"any": "value"}}),
        ("credentials/set", {"fields": VALUES, "owner": bob}),
        ("credentials/delete", {}),
        ("credentials/delete", {"owner": bob}),
        ("credentials/restore", {"version": 1}),
        ("credentials/list", {}),
        ("credentials/list", {"owner": bob}),
        ("credentials/history", {}),
        ("credentials/history", {"owner": str(ME)}),
        ("credentials/history", {"owner": bob}),
        ("tickets/issue", {}),
        ("tickets/redeem", ticket),
        ("applications/create", {"kind": "group"}),
        ("applications/update", {"name": "New"}),
        ("applications/delete", {}),
        ("applications/grant", role),
        ("applications/revoke", role),
        ("applications/show", {}),
        ("applications/fields", {}),
        ("applications/claims", {}),
    ):
        there, nowhere = (
            _unnumbered(client.ask(f"/v1/{path}", {"application": name, **body}))
            for name in ("closed", "nowhere")
        )
        assert there == nowhere, path
    told = [client.ask("/v1/credentials/delete-all", {"owner": one}) for one in (bob, "user:no")]
    assert [(one.status, one.code) for one in told] == [(403, "not-allowed")] * 2


def _unnumbered(reply):
    position = str(reply.document.get("position", ""))
    return reply.status, reply.content.decode().replace(position or "-", "")


def test_whoever_manages_everything_is_told_that_nothing_was_set(service, client):
    """A right that reaches every application hears the truth of an owner who has nothing."""
    ledger = service.service.seal.counter.ledger
    for right in ("all-applications", "full-control"):
        ledger.role_grant(Acting(), right, str(ME))
        told = client.ok("/v1/credentials/delete-all", {"owner": "user:no"})
        assert told == {"deleted": []}
        ledger.role_revoke(Acting(), right, str(ME))
    client.fails(403, "not-allowed", "/v1/credentials/delete-all", {"owner": "user:no"})


def test_what_is_not_set_names_the_page_where_it_can_be(service, client):
    """A member whose application has nothing set is sent to its credential page."""
    ledger = service.service.seal.counter.ledger
    page = "https://pages.example/set"
    ledger.create_application(Acting(), "empty", kind="individual", credential_page=page)
    problem = client.fails(404, "credentials-not-set", GET, {"application": "empty"})
    assert problem["credential_page"] == page
    assert recorded(service, problem["position"])["outcome"] == "not-set"


def test_values_go_in_and_out_as_they_are_in_both_forms(service, client):
    """Text and bytes survive JSON and msgpack alike."""
    fields = [{"name": "User", "type": "user-name"}, {"name": "Proof", "type": "certificate"}]
    ledger = service.service.seal.counter.ledger
    ledger.role_grant(Acting(), "create-application", str(ME))
    made = client.ok(
        "/v1/applications/create", {"application": "certs", "kind": "individual", "fields": fields}
    )
    assert made["changed"] is True
    raw = bytes(range(256))
    values = {"User": "mé", "Proof": {"base64": base64.b64encode(raw).decode()}}
    assert client.ok(SET, {"application": "certs", "fields": values})["version"] == 1
    assert client.ok(GET, {"application": "certs"})["fields"] == values
    packed = client.ok(GET, {"application": "certs"}, form=MSGPACK)
    assert packed["fields"] == {"User": "mé", "Proof": raw}
    body = {"application": "certs", "fields": {"User": "x", "Proof": b"\0\1"}}
    assert client.ok(SET, body, form=MSGPACK)["version"] == 2
    told = client.ask(GET, {"application": "certs"}, form=MSGPACK, accept=JSON)
    assert told.document["fields"]["Proof"] == {"base64": "AAE="}


def test_an_application_lives_from_its_creation_to_its_end(service, client):
    """Creating, changing, granting, looking and deleting do what the commands do."""
    service.service.seal.counter.ledger.role_grant(Acting(), "full-control", str(ME))
    name = {"application": "Reports"}
    client.ok("/v1/applications/create", {**name, "kind": "group", "name": "All reports"})
    client.ok("/v1/applications/grant", {**name, "role": "member", "claim": "group:finance"})
    again = {**name, "role": "member", "claim": "group:finance"}
    assert client.ok("/v1/applications/grant", again)["changed"] is False
    added = [{"name": "PIN", "type": "pin"}]
    client.ok("/v1/applications/update", {**name, "contact": "it@example.com", "add_fields": added})
    shown = client.ok("/v1/applications/show", name)
    assert (shown["contact"], shown["members"]) == ("it@example.com", ["group:finance"])
    assert [one["name"] for one in client.ok("/v1/applications/fields", name)["fields"]][
        -1
    ] == "PIN"
    assert client.ok("/v1/applications/claims", name)["members"] == ["group:finance"]
    listed = client.ok("/v1/applications/list", {})["applications"]
    assert {one["application"] for one in listed} == {"payroll", "shared", "Reports"}
    client.ok("/v1/applications/revoke", again)
    assert client.ok("/v1/applications/show", name)["members"] == []
    client.ok("/v1/applications/delete", name)
    client.fails(404, "no-such-application", "/v1/applications/show", name)


def test_mine_are_those_that_i_may_get_from(client):
    """An open application is everybody's, a group's is its members'."""
    mine = client.ok("/v1/applications/mine", {})["applications"]
    assert [one["application"] for one in mine] == ["payroll"]


def test_versions_are_listed_restored_and_deleted(client):
    """An owner sets and deletes; history and list tell metadata only."""
    named = {"application": "payroll"}
    assert (
        client.ok(SET, {**named, "fields": {**VALUES, "Windows Password": "two"}})["version"] == 2
    )
    (row,) = client.ok("/v1/credentials/list", named)["credentials"]
    assert (row["owner"], row["version"]) == (str(ME), 2)
    versions = client.ok("/v1/credentials/history", named)["versions"]
    assert {one["version"] for one in versions} == {1, 2}
    client.fails(403, "not-allowed", "/v1/credentials/restore", {**named, "version": 1})
    client.ok("/v1/credentials/delete", named)
    client.fails(404, "credentials-not-set", GET, named)
    client.ok(SET, {**named, "fields": VALUES})
    deleted = client.ok("/v1/credentials/delete-all", {})["deleted"]
    assert [one["application"] for one in deleted] == ["payroll"]


def test_an_administrator_restores_what_he_may_not_read(service, client):
    """An earlier version of a group's comes back, unseen."""
    named = {"application": "shared"}
    client.ok(SET, {**named, "fields": VALUES})
    client.ok(SET, {**named, "fields": {**VALUES, "Windows Password": "two"}})
    assert client.ok("/v1/credentials/restore", {**named, "version": 1})["version"] == 3
    client.fails(403, "access-denied", GET, named)
    client.fails(422, "version-or-moment", "/v1/credentials/restore", named)
    to_come = {**named, "at": "2999-01-01T00:00:00Z"}
    for operation in ("restore", "preview-restore"):
        client.fails(422, "future-time", f"/v1/credentials/{operation}", to_come)


def test_applications_are_deleted_by_a_table_only_where_they_are_named(service, client):
    """A plan that another one overtook deletes nothing that nobody confirmed."""
    service.service.seal.counter.ledger.role_grant(Acting(), "full-control", str(ME))
    apply = "/v1/applications/apply"
    said = {"applications": {"payroll": {}}, "prune": True}
    client.fails(409, "deletions-unconfirmed", apply, said)
    client.fails(409, "deletions-unconfirmed", apply, {**said, "deletes": ["shared", "more"]})
    client.fails(409, "deletions-unconfirmed", apply, {**said, "prune": False, "deletes": ["x"]})
    client.fails(422, "retry-key-not-taken", apply, said, idempotency_key="k")
    done = client.ok(apply, {**said, "deletes": ["SHARED"]})
    assert [one["action"] for one in done["changes"]] == ["delete"]


def test_whoever_may_not_manage_an_application_applies_nothing(service, client):
    """Applications of others are as good as not there."""
    wanted = {"payroll": {"name": "Mine"}}
    body = {"applications": wanted}
    client.fails(422, "invalid-applications", "/v1/applications/apply", body)
    wanted["payroll"]["kind"] = "individual"
    client.fails(403, "not-allowed", "/v1/applications/apply", body)
    of_bob = {"application": "payroll", "owner": "user:bob", "version": 1}
    client.fails(403, "not-allowed", "/v1/credentials/preview-restore", of_bob)


def test_a_retried_change_has_its_first_outcome(service, client):
    """The same key again changes nothing, however much was changed since."""
    body = {"application": "payroll", "fields": {**VALUES, "Windows Password": "two"}}
    first = client.ok(SET, body, idempotency_key="key-1")
    client.ok(SET, {"application": "payroll", "fields": VALUES})
    assert client.ok(SET, body, idempotency_key="key-1") == first
    assert client.ok(GET, {"application": "payroll"})["version"] == 3
    service.service.seal.counter.ledger.role_grant(Acting(), "full-control", str(ME))
    for path, more, readers in (
        ("create", {"kind": "individual"}, (None, "every-owner")),
        ("grant", {"role": "member", "claim": "user:x"}, ("every-owner", "members")),
        ("revoke", {"role": "member", "claim": "user:x"}, ("members", "nobody")),
        ("update", {"name": "New", "open": True}, ("nobody", "every-owner")),
        ("delete", {}, ("every-owner", "nobody")),
    ):
        said = {"application": "once", **more}
        done = client.ok(f"/v1/applications/{path}", said, idempotency_key="same")
        assert (done["readers_before"], done["readers"]) == readers
        assert client.ok(f"/v1/applications/{path}", said, idempotency_key="same") == done
    client.fails(404, "no-such-application", "/v1/applications/show", {"application": "once"})


def test_a_retry_key_stands_for_one_request(client):
    """With another request it is a conflict; where it would mean nothing it is refused."""
    body = {"application": "payroll", "fields": VALUES, "reason": "a"}
    client.ok(SET, body, idempotency_key="k")
    client.fails(409, "retry-key-reused", SET, {**body, "reason": "b"}, idempotency_key="k")
    client.fails(422, "retry-key-not-taken", GET, {"application": "payroll"}, idempotency_key="k")
    client.fails(400, "malformed-header", SET, body, idempotency_key="a b")
    client.fails(400, "malformed-header", SET, body, idempotency_key="k" * 129)


def test_a_retry_key_stands_for_its_values_too(service, client):
    """Other values are a conflict, in which nothing changes and which shows none of them."""
    body = {"application": "payroll", "fields": {**VALUES, "Windows Password": "two"}}
    first = client.ok(SET, body, idempotency_key="k")
    for password in ("three", "", "two ", {"base64": "dHdv"}):
        other = {**body, "fields": {**VALUES, "Windows Password": password}}
        said = client.fails(409, "retry-key-reused", SET, other, idempotency_key="k")
        assert "two" not in str(said)
    spelled = {"windows password": "two", "WINDOWS USER NAME": VALUES["Windows User Name"]}
    client.fails(409, "retry-key-reused", SET, {**body, "fields": spelled}, idempotency_key="k")
    assert client.ok(SET, body, idempotency_key="k") == first
    assert client.ok(GET, {"application": "payroll"})["version"] == first["version"]


def test_a_retry_key_stands_for_one_place(service, client):
    """It is not free again because another application, or another owner, is meant."""
    ledger = service.service.seal.counter.ledger
    ledger.create_application(Acting(), "mail", kind="individual")
    body = {"application": "payroll", "fields": VALUES}
    client.ok(SET, body, idempotency_key="k")
    client.fails(409, "retry-key-reused", SET, {**body, "application": "mail"}, idempotency_key="k")
    client.fails(409, "retry-key-reused", SET, {**body, "owner": str(ME)}, idempotency_key="k")
    granted = {"application": "shared", "role": "member", "claim": "user:x"}
    client.ok("/v1/applications/grant", granted, idempotency_key="k")
    other = {**granted, "claim": "user:y"}
    client.fails(409, "retry-key-reused", "/v1/applications/grant", other, idempotency_key="k")


def test_what_failed_or_changed_nothing_leaves_its_retry_key_free(service, client):
    """Only a change takes a key."""
    body = {"application": "payroll", "fields": {"Windows Password": "alone"}}
    client.fails(422, "missing-field", SET, body, idempotency_key="k")
    client.ok(SET, {"application": "payroll", "fields": VALUES}, idempotency_key="k")
    granted = {"application": "shared", "role": "administrator", "claim": str(ME)}
    assert not client.ok("/v1/applications/grant", granted, idempotency_key="k")["changed"]
    granted = {**granted, "claim": "user:x"}
    assert client.ok("/v1/applications/grant", granted, idempotency_key="k")["changed"]


def test_a_retried_change_has_its_outcome_whatever_fields_there_are_since(service, client):
    """A field that was added meanwhile does not turn the answer into a refusal."""
    body = {"application": "payroll", "fields": VALUES}
    first = client.ok(SET, body, idempotency_key="k")
    service.service.seal.counter.ledger.update_application(
        Acting(), "payroll", changes={}, add_fields=(make_field("PIN", "pin"),)
    )
    assert client.ok(SET, body, idempotency_key="k") == first


def test_a_retry_key_outlives_rotations_as_long_as_its_values_do(service, client):
    """Resealed values are compared; those whose key is destroyed are a conflict of their own."""
    ledger = service.service.seal.counter.ledger
    body = {"application": "payroll", "fields": {**VALUES, "Windows Password": "two"}}
    first = client.ok(SET, body, idempotency_key="k")
    ledger.rotate(Acting(), without_backup=True, destroy_previous=True)
    assert client.ok(SET, body, idempotency_key="k") == first
    client.fails(
        409,
        "retry-key-reused",
        SET,
        {"application": "payroll", "fields": VALUES},
        idempotency_key="k",
    )
    client.ok(SET, {"application": "payroll", "fields": VALUES})
    ledger.rotate(Acting(), without_backup=True, destroy_previous=True)
    client.fails(409, "retry-key-too-old", SET, body, idempotency_key="k")
    assert client.ok(GET, {"application": "payroll"})["fields"] == VALUES


def test_a_retry_key_is_known_after_a_restart_and_in_another_process(furnished, tmp_path):
    """Two services on one ledger, one started behind the change, know the key and its values."""
    body = {"application": "payroll", "fields": {**VALUES, "Windows Password": "two"}}
    other = {"application": "payroll", "fields": VALUES}
    with running(furnished, new_folder(tmp_path, "a")) as beside:
        early = beside.client()
        early.ok(GET, {"application": "payroll"})
        with running(furnished, new_folder(tmp_path, "b")) as one:
            first = one.client().ok(SET, body, idempotency_key="k")
        early.fails(409, "retry-key-reused", SET, other, idempotency_key="k")
        assert early.ok(SET, body, idempotency_key="k") == first
    with running(furnished, new_folder(tmp_path, "c")) as later:
        client = later.client()
        client.fails(409, "retry-key-reused", SET, other, idempotency_key="k")
        assert client.ok(SET, body, idempotency_key="k") == first
        assert client.ok(GET, {"application": "payroll"})["version"] == first["version"]


def test_a_ticket_turns_into_the_credentials_of_whom_it_was_issued_to(service, client):
    """A redeemer gets them once."""
    ledger = service.service.seal.counter.ledger
    ledger.create_application(
        Acting(), "cube", kind="individual", ticketing=True, ticket_redeemers=(str(ME),)
    )
    client.ok(SET, {"application": "cube", "fields": VALUES})
    issued = client.ok("/v1/tickets/issue", {"application": "cube"})
    assert issued["expires_at"] > issued["issued_at"]
    assert (issued["application"], issued["position"]) == ("cube", ledger.head().size)
    said = {"application": "cube", "ticket": issued["ticket"]}
    found = client.ok("/v1/tickets/redeem", said)
    assert found["fields"] == VALUES
    record = recorded(service, found["position"])
    assert (record["outcome"], record["on_behalf_of"]) == ("granted", str(ME))
    client.fails(403, "access-denied", "/v1/tickets/redeem", said)


def test_a_list_of_no_fields_releases_nothing(service, client):
    """In either form, of a read or a ticket, which stays good; left out or null, it is all."""
    ledger = service.service.seal.counter.ledger
    ledger.create_application(
        Acting(), "cube", kind="individual", ticketing=True, ticket_redeemers=(str(ME),)
    )
    client.ok(SET, {"application": "cube", "fields": VALUES})
    ticket = client.ok("/v1/tickets/issue", {"application": "cube"})["ticket"]
    head = ledger.head()
    redeem = {"application": "cube", "ticket": ticket}
    for form in (JSON, MSGPACK):
        for path, body in ((GET, {"application": "cube"}), ("/v1/tickets/redeem", redeem)):
            problem = client.fails(422, "no-fields-named", path, {**body, "fields": []}, form=form)
            assert "Leave the list out" in problem["hint"]
    assert ledger.head() == head
    assert client.ok(GET, {"application": "cube", "fields": None})["fields"] == VALUES
    assert client.ok("/v1/tickets/redeem", redeem)["fields"] == VALUES


def test_no_operation_is_open_to_whom_nobody_knows(service):
    """Over TCP without a token there is a challenge, and nothing else."""
    stranger = service.stranger()
    for path in OPERATIONS:
        reply = stranger.ask(path, {})
        assert (reply.status, reply.code) == (401, "no-caller")
        assert reply.headers["www-authenticate"] == 'Bearer realm="credledger"'
        assert reply.headers["cache-control"] == "no-store"


def test_a_retry_key_costs_the_same_however_much_was_changed(client, monkeypatch):
    """Nor one that is sent again: nobody waits at the lock for a look through all versions."""
    looked = []
    history = Transaction.history
    monkeypatch.setattr(
        Transaction, "history", lambda *asked: looked.append(asked) or history(*asked)
    )
    asked = {"application": "payroll", "fields": VALUES}
    for number in range(3):
        first = client.ok(SET, asked, idempotency_key=f"key-{number}")
    administered = {"application": "shared", "role": "member", "claim": "user:ann"}
    client.ok("/v1/applications/grant", administered, idempotency_key="grant")
    client.ok("/v1/credentials/delete", {"application": "payroll"}, idempotency_key="end")
    for _ in range(2):
        assert client.ok(SET, asked, idempotency_key="key-2") == first
    client.fails(409, "retry-key-reused", SET, {**asked, "reason": "b"}, idempotency_key="key-2")
    other = {**asked, "fields": {**VALUES, "Windows Password": "two"}}
    client.fails(409, "retry-key-reused", SET, other, idempotency_key="key-2")
    assert looked == []


def test_requests_of_one_key_that_come_at_once_are_carried_out_once(service):
    """In one commit or in several, each has the one outcome."""
    asked, start = {"application": "payroll", "fields": VALUES}, threading.Barrier(8)
    clients = [service.client() for _ in range(8)]

    def ask(client, key):
        start.wait()
        return json.dumps(client.ok(SET, asked, idempotency_key=key))

    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            told = set(pool.map(ask, clients, [f"key-{number}"] * 8))
            assert {json.loads(one)["version"] for one in told} == {number + 2}
            assert len(told) == 1


def test_a_change_of_several_steps_is_found_whole_by_its_key(service, client):
    """Its key is taken behind the first of them, and its outcome is that of the last."""
    ledger = service.service.seal.counter.ledger
    ledger.grant(Acting(), "payroll", "administrator", str(ME))
    ledger.grant(Acting(), "payroll", "member", "user:ann")
    said = {
        "application": "payroll",
        "contact": "it@example.com",
        "add_fields": [{"name": "PIN", "type": "pin"}],
        "open": True,
    }
    update = "/v1/applications/update"
    done = client.ok(update, said, idempotency_key="steps")
    size = ledger.head().size
    client.ok(GET, {"application": "payroll"})
    client.ok(update, {"application": "payroll", "name": "Pay"}, idempotency_key="later")
    assert client.ok(update, said, idempotency_key="steps") == done
    assert ledger.head().size == size + 3
