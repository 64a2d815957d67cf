"""Events of earlier schemas are read as what they meant."""

from __future__ import annotations

from ledger.aggregates.event import from_payload
from ledger.aggregates.keys import RollbackAccepted


def test_a_rollback_of_schema_1_accepts_no_keyring_ahead():
    stored = {"v": 1, "fork": 5, "abandoned_size": 9, "abandoned_root": b"r" * 32}
    event = from_payload("rollback.accepted", stored)
    assert event == RollbackAccepted(5, 9, b"r" * 32, 0)
