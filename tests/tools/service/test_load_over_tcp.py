"""Under load as it is really used: over TCP, by tokens, through front processes.

Each token names the party that shows it, so that a record can be told to be of that very token.
`make torture` asks for more answers, and kills ten times each.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack

import pytest

from ledger.aggregates.issuers import Settings
from ledger.claims import parse_claim
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.conftest import unlocked_by_passphrase
from tests.ledger.tokens.minting import AUDIENCE, ISSUER, jwks
from tests.tools.service.conftest import VALUES, furnish, running
from tests.tools.service.crowd import GONE, Asker, Crowd, fresh, kept, sealed
from tests.tools.service.test_fronts import children_of, front_of, listening_of, wait_for_end
from tests.tools.service.test_load import file_away, server_away
from tests.tools.service.test_seal import process
from tools.asking.questions import recheck_accesses

PEOPLE = ("alice", "bob", "carol", "dan")
FRONTED = ("--listen", "127.0.0.1:0", "--front-processes", "1")
REFUSED = (401, 403, 429)
"""Known and new tokens that are believed no more, and those beyond an address's share of them."""
MUCH = ("--caller-rate", "100000", "--address-rate", "100000")


def employ(house):
    """Members of a closed application, by an issuer with two keys; and the service's own pair."""
    ledger = house.open()
    settings = Settings(AUDIENCE, ("ES256", "EdDSA"), jwks("EC", "OKP"), "", groups_claim="groups")
    ledger.trust.add(Acting(), ISSUER, settings)
    values = {name: FieldValue(value) for name, value in VALUES.items()}
    for name in PEOPLE:
        person = parse_claim(f"{ISSUER}#user:{name}")
        member = f"{ISSUER}#group:staff" if name == "dan" else str(person)
        ledger.grant(Acting(), "payroll", "member", member)
        ledger.set_credentials(Acting(), "payroll", person, values)
    ledger.trust.new_service_pair(Acting())
    ledger.close()


@pytest.fixture
def house(prepared):
    return prepared(furnish, employ)


@pytest.fixture
def tortured(request):
    return request.config.getoption("--torture")


def granted(house):
    """The party of each granted record, by its position, as the log tells them."""
    ledger = house.open_with(unlocked_by_passphrase(house.keyring_path))
    try:
        found = ledger.views.accesses.newest(outcome="granted", limit=0)
        return {one["position"]: one["acting_party"] for one in found}
    finally:
        ledger.close()


def everybody(house):
    """Each kind of token from each kind of person: known and new ones, some encrypted."""
    ledger = house.open()
    (to, *_) = json.loads(ledger.trust.published().newest().jwks)["keys"]
    ledger.close()
    staff = {"groups": ["staff"]}
    return [
        Asker("alice", kept("alice", "alice-kept")),
        Asker("alice", fresh("alice", "alice-fresh")),
        Asker("alice", sealed(kept("alice", "alice-sealed"), to)),
        Asker("bob", kept("bob", "bob-kept", "OKP")),
        Asker("bob", sealed(fresh("bob", "bob-sealed", "OKP"), to)),
        Asker("carol", kept("carol", "carol-kept", "OKP")),
        Asker("carol", fresh("carol", "carol-fresh", "OKP")),
        Asker("dan", kept("dan", "dan-kept", "OKP", **staff)),
    ]


def test_each_answer_to_a_token_is_one_granted_record_of_that_token(house, tmp_path, tortured):
    """None more, none fewer, each at the position that its answer names."""
    with (
        running(house, tmp_path, front_processes=2 if tortured else 1) as service,
        Crowd(service.address, *everybody(house)) as crowd,
    ):
        crowd.each(500 if tortured else 20, 200)
    assert crowd.statuses == {200}
    assert crowd.answered == granted(house)


@pytest.mark.timeout(600)
def test_killed_under_load_nothing_that_was_answered_is_missing(house, tmp_path, tortured):
    """A front process and the ledger's in turns; what is there besides was on its way."""
    kills = 10 if tortured else 1
    askers = everybody(house)
    for _ in range(kills):
        with process(house, tmp_path, *FRONTED, *MUCH) as started:
            (front,) = children_of(started.pid)
            with Crowd(listening_of([front]), *askers) as crowd:
                crowd.each(5, 200)
                os.kill(front, signal.SIGKILL)
                crowd.each(1, GONE)
                crowd.each(5, 200)
                (front,) = children_of(started.pid)
                started.kill()
                wait_for_end([front])
                crowd.each(1, GONE)
    answered, recorded = crowd.answered, granted(house)
    assert crowd.statuses == {200, GONE}
    assert answered.items() <= recorded.items()
    assert len(recorded) - len(answered) <= 2 * kills * len(askers)


def test_what_is_taken_away_under_load_counts_from_its_position(house, tmp_path):
    """A membership, a key of the issuer's and the issuer itself; the others read on meanwhile."""
    beside = house.open()
    with (
        running(house, tmp_path, front_processes=1) as service,
        Crowd(service.address, *everybody(house)) as crowd,
    ):
        crowd.each(10, 200)
        person = f"{ISSUER}#user:carol"
        revoked = beside.revoke(Acting(), "payroll", "member", person).position
        crowd.each(5, 403, users=("carol",))
        crowd.each(5, 200, users=("alice", "bob", "dan"))
        withdrawn = beside.trust.change(Acting(), ISSUER, without_key).position
        crowd.each(5, *REFUSED, users=("alice",))
        crowd.each(5, 200, users=("bob", "dan"))
        removed = beside.trust.remove(Acting(), ISSUER).position
        crowd.each(5, *REFUSED)
        rechecked = recheck_accesses(service.service.seal.counter.session, jobs=1)
    last = granted(house)
    assert crowd.answered == last
    assert max(of(last, "carol")) < revoked < max(of(last, "alice")) < withdrawn
    assert withdrawn < max(of(last, "bob", "dan")) < removed
    assert min(map(len, (of(last, "bob"), of(last, "dan")))) >= 20
    assert rechecked["wrong"] == []


def without_key(settings):
    """The issuer has given up the key that it signs alice's tokens with."""
    return Settings(
        settings.audience,
        settings.algorithms,
        jwks("OKP"),
        settings.keys_url,
        groups_claim=settings.groups_claim,
    )


def of(recorded, *users):
    """The positions at which these people read."""
    return [at for at, party in recorded.items() if party.partition("-")[0] in users]


@pytest.mark.usefixtures("impatient")
def test_while_its_database_is_away_it_answers_503_and_goes_on_behind_it(
    house, tmp_path, request, tortured
):
    """Nobody is given anything meanwhile, whose token is known already no more than others."""
    away = server_away if house.on_server else file_away
    with (
        running(house, tmp_path, front_processes=1) as service,
        Crowd(service.address, *everybody(house)) as crowd,
    ):
        for _ in range(5 if tortured else 1):
            crowd.each(5, 200)
            with ExitStack() as stack:
                stack.enter_context(away(house, request))
                crowd.each(1, 503)
                released = crowd.answered
                crowd.each(3, 503)
                assert crowd.answered == released
        crowd.each(5, 200)
        assert front_of(service)
    answered, recorded = crowd.answered, granted(house)
    assert crowd.statuses == {200, 503}
    assert answered.items() <= recorded.items()
    assert len(recorded) - len(answered) <= 5 * len(crowd.askers)
