"""A ledger that trusts three issuers and has a key pair of its own, and who verifies for it."""

from __future__ import annotations

import json
import time

import pytest

from ledger.aggregates.issuers import ALGORITHMS, Settings
from ledger.tokens.verifier import TokenVerifier
from ledger.usecases.acting import Acting
from tests.ledger.tokens.hostile import LIFE_S, SEALED, SKEW_S, Scene
from tests.ledger.tokens.minting import AUDIENCE, ISSUER, OTHER, jwks


def settings(*kinds: str, algorithms=ALGORITHMS, **said) -> Settings:
    """Those of an issuer with these keys."""
    return Settings(AUDIENCE, algorithms, jwks(*kinds), "", **said)


def trusting(house):
    """The step that names the issuers and makes the pair."""
    ledger = house.open()
    trust = ledger.trust
    first = settings(
        "EC", "RSA", "OKP",
        algorithms=("RS256", "ES256", "EdDSA"),
        groups_claim="groups",
        application_claim="app",
        skew_s=SKEW_S,
        life_s_max=LIFE_S,
    )  # fmt: skip
    trust.add(Acting(), ISSUER, first)
    trust.add(Acting(), OTHER, settings("other's EC", token_type="JWT", refuses_replay=True))
    trust.add(Acting(), SEALED, settings("EC", requires_encryption=True))
    made = trust.new_service_pair(Acting())
    house.elliptic, house.rsa = json.loads(made.jwks)["keys"]
    ledger.close()


def no_fetch(url: str) -> bytes:
    """Nobody here has keys by URL."""
    raise AssertionError(url)


class Counter:
    """One who verifies for an open ledger, at a time that the test sets."""

    def __init__(self, house):
        self.house = house
        self.ledger = house.open()
        self.verifier = self.another()

    def another(self) -> TokenVerifier:
        """As a process beside this one would have it."""
        return TokenVerifier(self.ledger.trust, no_fetch, self.house.clock)

    @property
    def scene(self) -> Scene:
        now = self.house.clock() // 1_000_000
        return Scene(now, self.house.elliptic, self.house.rsa)

    def verify(self, token: str | bytes, **said):
        content = token.encode() if isinstance(token, str) else token
        return self.verifier.verify(content, **said)

    def events(self, prefix: str, after: int = 0):
        """All events of a kind behind a position, oldest first."""
        found = []
        with self.ledger._writer.store.reading() as reading:
            for row in reading.rows_after(after, 10_000):
                if row.topic.startswith(prefix):
                    found.append(self.ledger._desk.mapper.open(row))
        return found


class StillClock:
    """A clock that stands until it is moved, at half past a minute so that none is crossed."""

    def __init__(self):
        self.now = time.time_ns() // 60_000_000_000 * 60_000_000 + 30_000_000 + 60_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def counter(prepared_file):
    """On a store in a file."""
    yield from counting(prepared_file(trusting))


@pytest.fixture
def counter_anywhere(prepared):
    """On each kind of store."""
    yield from counting(prepared(trusting))


def counting(house):
    """Whoever verifies for the ledger in this house, until it is closed."""
    house.clock = StillClock()
    made = Counter(house)
    yield made
    made.ledger.close()
