"""Names, texts and versions that ask for more than there is: refused alone, at the door."""

from __future__ import annotations

import pytest

from ledger.claims import parse_claim
from ledger.errors import InvalidInput, NotFound
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue

PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}


def test_restoring_does_not_reach_into_a_deleted_applications_values(ledger):
    alice = parse_claim("user:alice")
    ledger.create_application(Acting(), "HR", kind="individual")
    ledger.set_credentials(Acting(), "HR", alice, PAIR)
    ledger.delete_application(Acting(), "HR")
    ledger.create_application(Acting(), "HR", kind="individual")
    for choice in ({"version": 1}, {"at_us": 2**60}):
        with pytest.raises(NotFound):
            ledger.restoring.credentials(Acting(), "HR", alice, **choice)
    with pytest.raises(NotFound):
        ledger.retrieve(Caller(alice), "HR")


def test_a_claim_whose_form_grows_too_long_is_refused_at_the_door():
    with pytest.raises(InvalidInput):
        parse_claim("user:" + "ß" * 1000)


def test_text_that_cannot_be_stored_fails_alone(ledger):
    with pytest.raises(InvalidInput):
        Acting(reason="\ud800")
    ledger.create_application(Acting(), "CRM", kind="individual")
    with pytest.raises(InvalidInput):
        ledger.retrieve(Caller(parse_claim("user:a")), "CRM", fields=["\ud800"])
    with pytest.raises(InvalidInput):
        ledger.retrieve(Caller(parse_claim("user:a")), "CRM", fields=["x"] * 100)
    assert verify_log(ledger._writer.store).ok
