"""The line to the database is cut in the middle of a commit: the caller is told the truth.

What landed is answered as done, once; what did not land is an error and leaves nothing.
"""

from __future__ import annotations

import pytest

from ledger.claims import parse_claim
from ledger.errors import Refused, Unavailable
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.conftest import new_house
from tests.contracts.cutting_proxy import cutting_proxy
from tests.contracts.postgres_server import private_server

ALICE = parse_claim("user:alice")
PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}


@pytest.fixture
def behind_proxy(tmp_path, postgres_server, postgres_schema):
    """A ledger on a server, reached through a line that can be cut."""
    house = new_house(tmp_path)
    house.store_url = f"{postgres_server.dsn()}&ledger={postgres_schema}"
    house.found()
    with cutting_proxy(postgres_server.socket_path()) as proxy:
        direct = house.store_url
        house.store_url = (
            f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
            f"?sslmode=disable&ledger={postgres_schema}"
        )
        ledger = house.open()
        ledger.create_application(Acting(), "CRM", kind="individual")
        ledger.set_credentials(Acting(), "CRM", ALICE, PAIR)
        yield ledger, proxy
        ledger.close()
        house.close()
    house.store_url = direct
    assert verify_log(house.store()).ok
    house.close()


def test_an_answer_that_was_lost_is_found(behind_proxy):
    ledger, proxy = behind_proxy
    size = ledger.head().size
    proxy.cut_before_client_hears(b"COMMIT\0")
    assert ledger.retrieve(Caller(ALICE), "CRM").position == size + 1
    assert proxy.cuts == 1
    assert ledger.head().size == size + 1
    assert ledger.retrieve(Caller(ALICE), "CRM").position == size + 2
    assert all(view["same"] for view in ledger.views.rebuild())


def test_a_commit_that_the_server_never_heard_is_an_error_and_releases_nothing(behind_proxy):
    ledger, proxy = behind_proxy
    size = ledger.head().size
    proxy.cut_before_server_hears(b"COMMIT\0")
    with pytest.raises(Unavailable):
        ledger.retrieve(Caller(ALICE), "CRM")
    assert proxy.cuts == 1
    assert ledger.head().size == size
    assert ledger.retrieve(Caller(ALICE), "CRM").position == size + 1


def redeemable(ledger):
    """A ticket of Alice's that a portal may redeem."""
    portal = parse_claim("service:portal")
    ledger.create_application(
        Acting(), "Mail", kind="individual", ticketing=True, ticket_redeemers=(str(portal),)
    )
    ledger.set_credentials(Acting(), "Mail", ALICE, PAIR)
    issued = ledger.tickets.issue(Caller(ALICE), "Mail")
    return Caller(portal), str(issued.ticket.reveal())


def test_a_redemption_whose_answer_was_lost_releases_once(behind_proxy):
    """It landed, so the ticket is spent, and whoever redeemed it has the values."""
    ledger, proxy = behind_proxy
    portal, ticket = redeemable(ledger)
    size = ledger.head().size
    proxy.cut_before_client_hears(b"COMMIT\0")
    assert ledger.tickets.redeem(portal, "Mail", ticket).position == size + 2
    assert proxy.cuts == 1
    with pytest.raises(Refused):
        ledger.tickets.redeem(portal, "Mail", ticket)


def test_a_redemption_that_the_server_never_heard_spends_nothing(behind_proxy):
    """An error without a value; the ticket is good for the next try."""
    ledger, proxy = behind_proxy
    portal, ticket = redeemable(ledger)
    size = ledger.head().size
    proxy.cut_before_server_hears(b"COMMIT\0")
    with pytest.raises(Unavailable):
        ledger.tickets.redeem(portal, "Mail", ticket)
    assert (proxy.cuts, ledger.head().size) == (1, size)
    assert ledger.tickets.redeem(portal, "Mail", ticket).position == size + 2


def test_a_change_that_landed_is_made_once(behind_proxy):
    ledger, proxy = behind_proxy
    proxy.cut_before_client_hears(b"COMMIT\0")
    assert ledger.set_credentials(Acting(), "CRM", ALICE, PAIR).version == 2
    assert ledger.set_credentials(Acting(), "CRM", ALICE, PAIR).version == 3


def test_what_no_standby_has_is_never_released(tmp_path):
    """The server gives up waiting and says COMMIT: the record is on one machine only."""
    house = new_house(tmp_path)
    house.store_settings = {"standby_timeout_s": 0.3}
    with private_server() as server:
        house.store_url = f"{server.dsn()}&ledger=one"
        house.found()
        ledger = house.open()
        ledger.create_application(Acting(), "CRM", kind="individual")
        ledger.set_credentials(Acting(), "CRM", ALICE, PAIR)
        server.execute(
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"
        )
        house.close()  # connections opened from now on know of it
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                ledger.retrieve(Caller(ALICE), "CRM")
            assert caught.value.code == "commit-unconfirmed"
        server.execute("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        house.close()
        assert ledger.retrieve(Caller(ALICE), "CRM").version == 1
        ledger.close()
        assert verify_log(house.store()).ok
        house.close()
