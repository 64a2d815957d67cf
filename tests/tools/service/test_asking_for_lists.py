"""Lists cost what their caller may see, not what the ledger holds, and tell no more than that."""

from __future__ import annotations

from collections import Counter

import pytest

from ledger.claims import parse_claim
from ledger.log.writer import Writer
from ledger.policy import Caller
from ledger.usecases import ledger as use_cases
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from projections.views import Views
from tests.tools.service.conftest import ME, running
from tools import shapes

ANN, BOB, CARL = (parse_claim(f"user:{name}") for name in ("ann", "bob", "carl"))
APPLICATIONS = [f"app {number}" for number in range(7)]
VALUES = {"Windows User Name": FieldValue("one"), "Windows Password": FieldValue("two")}


def people(house):
    """Seven applications with three people's credentials; this account administers two."""
    ledger = house.open()
    for number, name in enumerate(APPLICATIONS):
        ledger.create_application(
            Acting(),
            name,
            kind="individual",
            administrators=(str(ME),) if number in {2, 5} else (),
            members=(str(BOB),) if number % 2 else (),
        )
        for owner in (ANN, BOB, *((ME,) if number in {1, 2} else ())):
            ledger.set_credentials(Acting(), name, owner, VALUES)
    ledger.create_application(Acting(), "shared", kind="group", administrators=(str(ANN),))
    ledger.set_credentials(Acting(), "shared", None, VALUES)
    ledger.role_grant(Acting(), "all-applications", str(CARL))
    ledger.close()


@pytest.fixture
def service(prepared, tmp_path):
    with running(prepared(people), tmp_path) as one:
        yield one


@pytest.fixture
def asked(monkeypatch):
    """How often something was looked at or opened."""
    counted = Counter()

    def counting(kind, name):
        work = getattr(kind, name)

        def counts(self, *args, **named):
            counted[name] += 1
            return work(self, *args, **named)

        monkeypatch.setattr(kind, name, counts)

    counting(Writer, "look")
    counting(Views, "_mapping")
    return counted


def places(rows):
    return [(row["application"], row["owner"]) for row in rows]


@pytest.mark.parametrize("one_by_one_max", [0, 50])
@pytest.mark.parametrize("application", [None, "APP 1", "app 2", "Shared", "nowhere"])
@pytest.mark.parametrize("owner", [None, ANN, ME])
def test_everybody_lists_what_the_rules_let_him(
    service, monkeypatch, one_by_one_max, application, owner
):
    """Own mappings, and those of applications that one administers, in one order; both ways."""
    session = service.service.seal.counter.session
    monkeypatch.setattr(shapes, "_ONE_BY_ONE_MAX", one_by_one_max)
    monkeypatch.setattr(use_cases, "_TOGETHER", 3)
    every = shapes.readable_credentials(session, Acting(), None, None, None)
    administered = {
        ME: {"app 2", "app 5"},
        ANN: {"shared"},
        BOB: set(),
        CARL: {*APPLICATIONS, "shared"},
    }
    for caller, names in administered.items():
        acting = Acting(Caller(caller))
        found = shapes.readable_credentials(session, acting, application, owner, None)
        assert places(found) == [
            (name, whose)
            for name, whose in places(every)
            if (name in names or whose == str(caller))
            and (application is None or name == application.lower())
            and (owner is None or whose == str(owner))
        ]


def test_who_may_list_little_has_little_opened(service, asked):
    """However much others have there."""
    client = service.client()
    assert len(client.ok("/v1/credentials/list", {})["credentials"]) == 6
    assert asked["_mapping"] <= 8
    asked.clear()
    session = service.service.seal.counter.session
    nobody = Acting(Caller(parse_claim("user:nobody")))
    assert shapes.readable_credentials(session, nobody, None, None, None) == []
    assert shapes.readable_credentials(session, nobody, "app 1", None, None) == []
    assert asked["_mapping"] == 0


@pytest.mark.parametrize("path", ["applications/list", "applications/mine", "credentials/list"])
def test_a_list_is_decided_about_in_one_look(service, asked, path):
    """And not in one for each application, which anybody could make the service do."""
    service.client().ok(f"/v1/{path}", {})
    assert asked["look"] <= 2
