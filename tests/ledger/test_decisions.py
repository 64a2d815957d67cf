"""What is kept of decisions stays small, whoever asks and however."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from ledger.aggregates.issuers import NO_ISSUERS, Issuers
from ledger.aggregates.roles import NO_ROLES, Roles
from ledger.claims import parse_claim
from ledger.policy import Caller
from ledger.usecases import decisions
from ledger.usecases.decisions import Asked, Decisions, Policy, Released

ALICE = parse_claim("user:alice")


NEWEST = object()


class States:
    """What a transaction's folds give."""

    def __init__(
        self,
        application: object,
        roles: object,
        newest: object = NEWEST,
        issuers: object = NO_ISSUERS,
    ):
        self.standing: set[str] = set()
        self._states = {b"a": application, b"r": roles, b"i": issuers}
        self._newest = newest

    def load(self, stream: bytes, fold: object) -> object:
        return self._states[stream]

    def newest(self, stream: bytes) -> object:
        return self._newest


def application(key: str = "crm"):
    return SimpleNamespace(key=key)


def policy(state: object, roles: object = NO_ROLES) -> Policy:
    return Policy(b"a", state, b"r", roles, b"i", NO_ISSUERS)


def released(secret: bytes = b"sealed", reason: str = "") -> Released:
    mapping = SimpleNamespace(secret=secret)
    return Released(b"s" * 16, NEWEST, None, mapping, None, reason, b"text", b"place")


def asked(text: str = "CRM", fields: tuple[str, ...] = (), groups: int = 0) -> Asked:
    claims = tuple(parse_claim(f"group:g{number}") for number in range(groups))
    return Asked(Caller(ALICE, claims), text, False, fields)


def test_a_release_is_found_under_the_very_states_it_was_decided_under():
    """An equal state that is another object is another state."""
    kept, crm = Decisions(), application()
    found = released()
    kept.keep(asked(), policy(crm), found)
    assert kept.of(asked(), "crm", States(crm, NO_ROLES)) is found
    assert kept.of(asked(), "crm", States(application(), NO_ROLES)) is None
    assert kept.of(asked(), "crm", States(crm, Roles())) is None
    assert kept.of(asked(), "crm", States(crm, None)) is None
    assert kept.of(asked(), "crm", States(crm, NO_ROLES, object())) is None
    assert kept.of(asked(), "crm", States(crm, NO_ROLES, issuers=Issuers())) is None
    assert kept.of(asked(), "erp", States(crm, NO_ROLES)) is None
    assert kept.of(asked("crm"), "crm", States(crm, NO_ROLES)) is None


def test_no_rights_at_all_are_a_state_too():
    """As long as nobody was granted any, the fold gives nothing."""
    kept, crm = Decisions(), application()
    kept.keep(asked(), policy(crm, None), released())
    assert kept.of(asked(), "crm", States(crm, None)) is not None
    assert kept.of(asked(), "crm", States(crm, NO_ROLES)) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (asked(" " * 3000 + "CRM"), released()),
        (asked(fields=("Windows User Name" + " " * 3000,)), released()),
        (asked(groups=9), released()),
        (asked(), released(os.urandom(5000))),
        (asked(), released(reason="because " * 300)),
    ],
)
def test_what_is_large_is_not_kept(question, answer):
    """Long texts, many groups and large values are decided anew each time."""
    kept, crm = Decisions(), application()
    kept.keep(question, policy(crm), answer)
    assert kept.of(question, "crm", States(crm, NO_ROLES)) is None


def test_what_was_decided_under_an_earlier_state_is_let_go():
    """A changed application takes all that was kept of it along."""
    kept, before, after = Decisions(), application(), application()
    for number in range(5):
        kept.keep(asked(f"CRM{' ' * number}"), policy(before), released())
    kept.keep(asked(), policy(after), released())
    assert kept._count == 1
    assert kept.of(asked("CRM "), "crm", States(before, NO_ROLES)) is None


def test_the_number_of_what_is_kept_is_bounded(monkeypatch):
    """Beyond the bound everything is forgotten and begun anew."""
    monkeypatch.setattr(decisions, "_KEPT_MAX", 3)
    kept = Decisions()
    for number in range(20):
        kept.keep(asked(), policy(application(f"a{number}")), released())
        assert sum(len(one) for _, one in kept._kept.values()) == kept._count <= 3
