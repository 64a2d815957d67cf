"""What is kept of decisions stays small, whoever asks and however."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from ledger.aggregates.roles import NO_ROLES, Roles
from ledger.claims import parse_claim
from ledger.policy import Caller
from ledger.usecases import decisions
from ledger.usecases.decisions import Asked, Decisions, Released

ALICE = parse_claim("user:alice")


def application(key: str = "crm"):
    return SimpleNamespace(key=key)


def released(secret: bytes = b"sealed") -> Released:
    return Released(b"s" * 16, None, None, SimpleNamespace(secret=secret), None)


def asked(text: str = "CRM", fields: tuple[str, ...] = (), groups: int = 0) -> Asked:
    claims = tuple(parse_claim(f"group:g{number}") for number in range(groups))
    return Asked(Caller(ALICE, claims), text, False, fields)


def test_a_release_is_found_under_the_very_states_it_was_decided_under():
    """An equal state that is another object is another state."""
    kept, crm = Decisions(), application()
    found = released()
    kept.keep(asked(), crm, NO_ROLES, found)
    assert kept.of(asked(), crm, NO_ROLES) is found
    assert kept.of(asked(), application(), NO_ROLES) is None
    assert kept.of(asked(), crm, Roles()) is None
    assert kept.of(asked("crm"), crm, NO_ROLES) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (asked(" " * 3000 + "CRM"), released()),
        (asked(fields=("Windows User Name" + " " * 3000,)), released()),
        (asked(groups=9), released()),
        (asked(), released(os.urandom(5000))),
    ],
)
def test_what_is_large_is_not_kept(question, answer):
    """Long texts, many groups and large values are decided anew each time."""
    kept, crm = Decisions(), application()
    kept.keep(question, crm, NO_ROLES, answer)
    assert kept.of(question, crm, NO_ROLES) is None


def test_what_was_decided_under_an_earlier_state_is_let_go():
    """A changed application takes all that was kept of it along."""
    kept, before, after = Decisions(), application(), application()
    for number in range(5):
        kept.keep(asked(f"CRM{' ' * number}"), before, NO_ROLES, released())
    kept.keep(asked(), after, NO_ROLES, released())
    assert kept._count == 1
    assert kept.of(asked("CRM "), before, NO_ROLES) is None


def test_the_number_of_what_is_kept_is_bounded(monkeypatch):
    """Beyond the bound everything is forgotten and begun anew."""
    monkeypatch.setattr(decisions, "_KEPT_MAX", 3)
    kept = Decisions()
    for number in range(20):
        kept.keep(asked(), application(f"a{number}"), NO_ROLES, released())
        assert sum(len(one.released) for one in kept._kept.values()) == kept._count <= 3
