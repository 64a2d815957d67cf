"""The ledgers that commands are killed at, on each store; a test never changes one itself.

They are made once in each process of a run, as is the nursery: both are costly, and no test leaves
a trace in either.
"""

from __future__ import annotations

import pytest

from tests.faults.killing import make_base, with_key
from tests.faults.running import Host, Nursery


@pytest.fixture(scope="session")
def nursery():
    with Nursery() as started:
        yield started


@pytest.fixture(scope="session")
def base(nursery, tmp_path_factory):
    """In a file."""
    return make_base(Host(nursery, tmp_path_factory.mktemp("kills") / "base"))


@pytest.fixture(scope="session")
def bare_on_server(nursery, tmp_path_factory, postgres_server):
    """An empty database, and a key file."""
    home = tmp_path_factory.mktemp("kills") / "bare"
    host = with_key(Host(nursery, home, server=postgres_server))
    host.create_database()
    yield host
    host.drop_database()


@pytest.fixture(scope="session")
def base_on_server(bare_on_server, tmp_path_factory):
    """In a database of its own."""
    host = make_base(bare_on_server.copy(tmp_path_factory.mktemp("kills") / "base"))
    yield host
    host.drop_database()


@pytest.fixture(scope="session", params=["base", "base_on_server"], ids=["sqlite", "postgresql"])
def on_both(request):
    """The same ledger on each store."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["sqlite", "postgresql"])
def bare(request, nursery, tmp_path):
    """No ledger yet, but the key file that is to open it."""
    if request.param == "sqlite":
        return with_key(Host(nursery, tmp_path / "bare"))
    return request.getfixturevalue("bare_on_server")
