"""OCSF events against the schema that is published for the pinned version."""

from __future__ import annotations

import functools
import json

import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from ledger.aggregates.access import AccessDenied, AccessGranted, AccessNotSet, AuditQueried
from ledger.aggregates.application import ApplicationGranted, ApplicationRevoked
from ledger.aggregates.event import topics
from ledger.aggregates.roles import RoleGranted
from ledger.errors import KeyUnavailable
from projections.export import exported
from projections.ocsf import ACTIONS, OTHER, SCHEMA_VERSION, ocsf_document
from tests.projections.samples import AT, LEDGER_ID, SECRET, exported_sample, sample, sample_classes


@functools.cache
def published():
    return get_ocsf_schema(SCHEMA_VERSION)


@functools.cache
def validator(uid):
    schemas = OcsfJsonSchemaEmbedded(published())
    return Draft202012Validator(schemas.get_class_schema(schemas.lookup_class_name_from_uid(uid)))


def class_of(uid):
    return next(one for one in published()["classes"].values() if one["uid"] == uid)


def checked(document):
    """The document, as it comes out of its line, valid by the published schema in all captions."""
    document = json.loads(json.dumps(document))
    errors = [error.message for error in validator(document["class_uid"]).iter_errors(document)]
    assert errors == []
    attributes = class_of(document["class_uid"])["attributes"]
    for number, caption in (
        ("activity_id", "activity_name"),
        ("severity_id", "severity"),
        ("status_id", "status"),
        ("class_uid", "class_name"),
        ("category_uid", "category_name"),
        ("type_uid", "type_name"),
    ):
        named = attributes[number]["enum"][str(document[number])]["caption"]
        assert document[caption] == named or named == "Other" or named.endswith(": Other")
    assert document["type_uid"] == document["class_uid"] * 100 + document["activity_id"]
    assert document["metadata"]["version"] == SCHEMA_VERSION
    return document


def test_every_topic_has_an_action_and_no_action_is_for_nothing():
    """A topic that is added is mapped, too."""
    sample_classes()
    assert set(ACTIONS) == set(topics())


@pytest.mark.parametrize("cls", sample_classes(), ids=lambda cls: cls.TOPIC)
def test_an_event_of_every_topic_is_valid(cls):
    """By the published schema of its class, and it can be proven and found again."""
    row = exported_sample(sample(cls))
    document = checked(ocsf_document(row))
    assert document["metadata"]["event_code"] == cls.TOPIC
    assert document["metadata"]["uid"] == f"{LEDGER_ID.hex()}/41"
    assert document["time"] == AT // 1000
    assert document["unmapped"] == {
        name: value for name, value in row.document.items() if name != "ledger_id"
    }
    assert (document["unmapped"]["leaf"], document["unmapped"]["head_size"]) == ("00" * 32, 42)
    assert SECRET.hex() not in json.dumps(document)
    assert SECRET.decode() not in json.dumps(document)


@pytest.mark.parametrize("cls", sample_classes(), ids=lambda cls: cls.TOPIC)
def test_a_row_that_does_not_open_is_valid_too(cls):
    """It is told that it is there, and why nothing else is."""
    gone = KeyUnavailable("key-destroyed", "Gone.")
    document = checked(ocsf_document(exported_sample(sample(cls), content=gone)))
    assert (document["class_uid"], document["activity_id"]) == (0, OTHER)
    assert document["status_detail"] == "key-destroyed"
    assert document["metadata"]["event_code"] == cls.TOPIC
    assert "Payroll" not in json.dumps(document)


@pytest.mark.parametrize(
    ("cls", "status"), [(AccessGranted, 1), (AccessDenied, 2), (AccessNotSet, 2)]
)
def test_an_attempt_names_who_asked_with_which_groups_for_what(cls, status):
    """The caller is the actor, not the slot; the application is a table of the ledger."""
    record = sample(cls, caller="https://sts.example#user:Ann")
    document = checked(ocsf_document(exported_sample(record, claim=record.caller)))
    assert (document["class_uid"], document["activity_id"]) == (6005, 1)
    assert (document["status_id"], document["status_code"]) == (status, "member")
    user = document["actor"]["user"]
    assert (user["name"], user["domain"]) == ("Ann", "https://sts.example")
    assert user["groups"] == [{"name": "group:finance"}]
    assert user["account"]["name"] == "ann"
    assert document["table"]["name"] == "Payroll"


@pytest.mark.parametrize("cls", [ApplicationGranted, ApplicationRevoked, RoleGranted])
def test_a_right_of_one_person_and_one_of_many_are_of_different_classes(cls):
    """A group or role is no user."""
    one = checked(ocsf_document(exported_sample(sample(cls, claim="service:nightly"))))
    many = checked(ocsf_document(exported_sample(sample(cls, claim="group:finance"))))
    assert (one["class_uid"], one["user"]["name"]) == (3005, "nightly")
    assert (many["class_uid"], many["group"]["name"]) == (3006, "finance")
    assert one["privileges"] == many["privileges"] != []
    assert one["activity_id"] == many["activity_id"]


@pytest.mark.parametrize(
    "text", ["x" * 1024, "user:" + "ü" * 500, "", "no claim", "user:<script>", "user:\u202eevil"]
)
def test_no_name_makes_an_event_invalid(text):
    """Neither one that is no claim nor one of any length or script."""
    checked(ocsf_document(exported_sample(sample(AccessDenied, caller=text, claims=(text,)))))
    checked(ocsf_document(exported_sample(sample(ApplicationGranted, claim=text))))
    checked(ocsf_document(exported_sample(sample(AuditQueried), claim=text, reason=text)))


@pytest.mark.parametrize("odd", [None, 1.5, b"\xff", ("a", ("b",)), {1: 2}])
def test_what_an_auditor_seals_for_fun_stops_no_export(odd):
    """Contents of a wrong type, which only somebody with keys can write, are told as text."""
    checked(ocsf_document(exported_sample(sample(AuditQueried, filter=odd, rows=odd))))


def test_a_real_log_is_valid_row_by_row(busy):
    """Every row that the ledger itself has written."""
    rows = list(exported(busy.store, busy.mapper))
    seen = {checked(ocsf_document(row))["class_uid"] for row in rows}
    assert {6005, 3004} <= seen
    assert len(rows) == busy.size
