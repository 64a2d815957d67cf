"""Keyrings made from counted bytes, with slots that open cheaply."""

from __future__ import annotations

import pytest

from ledger.sealing.keyring import UnlockedKeyring, create_keyring
from tests.ledger.sealing.counted import CHEAP, KEY, Counted


@pytest.fixture
def counted():
    return Counted("test")


@pytest.fixture
def unlocked(counted) -> UnlockedKeyring:
    """An operator's keyring, opened by a key file."""
    return create_keyring("first", KEY, created_at=1, random=counted, cost=CHEAP)


@pytest.fixture
def add(unlocked, counted):
    """Add a slot to a keyring: the new keyring, slot, and an auditor's file."""

    def add(label, opens, holding, onto=None):
        return (onto or unlocked).add_slot(
            label, opens, holding, created_at=2, random=counted, cost=CHEAP
        )

    return add
