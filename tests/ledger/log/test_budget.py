"""An epoch's keys seal only so much; then everything waits for a rotation, which goes on."""

from __future__ import annotations

import pytest

import ledger.log.transaction
from ledger.claims import parse_claim
from ledger.errors import Refused
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue

ALICE = Caller(parse_claim("user:alice"))
VALUES = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}


def test_an_exhausted_epoch_records_and_releases_nothing_until_it_is_rotated(house, monkeypatch):
    opened = house.open()
    opened.create_application(Acting(), "CRM", kind="group", members=("user:alice",))
    opened.set_credentials(Acting(), "CRM", None, VALUES)
    size = opened.head().size
    monkeypatch.setattr(ledger.log.transaction, "EPOCH_EVENTS_MAX", size + 1)
    assert opened.retrieve(ALICE, "CRM").version == 1
    for refused in (
        lambda: opened.retrieve(ALICE, "CRM"),
        lambda: opened.set_credentials(Acting(), "CRM", None, VALUES),
    ):
        with pytest.raises(Refused) as caught:
            refused()
        assert caught.value.code == "epoch-exhausted"
    assert opened.head().size == size + 1
    assert opened.sealed_in_epoch() == size
    assert opened.rotate(Acting(), without_backup=True).epoch == 2
    assert opened.retrieve(ALICE, "CRM").version == 1
    assert opened.sealed_in_epoch() == 3
    opened.close()


def test_events_count_from_the_start_of_the_epoch_in_a_process_that_did_not_start_it(
    house, monkeypatch
):
    """And a request that fails leaves the count as it was."""
    opened = house.open()
    opened.rotate(Acting(), without_backup=True)
    opened.close()
    again = house.open()
    monkeypatch.setattr(ledger.log.transaction, "EPOCH_EVENTS_MAX", 3)
    again.create_application(Acting(), "CRM", kind="group", members=("user:alice",))
    with pytest.raises(Refused, match="sealed as much"):
        again.set_credentials(Acting(), "CRM", None, VALUES)
    again.close()
