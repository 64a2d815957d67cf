"""Questions to a store in which nothing can be recorded: answered, and said so, or refused."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.log.turns import Turns
from tests.contracts.postgres_server import private_server
from tests.tools.conftest import Cli

NOBODY = 65534
QUESTIONS = (
    ("audit", "access"),
    ("audit", "changes"),
    ("audit", "explain", "{denied}"),
    ("audit", "questions"),
    ("audit", "recheck"),
    ("audit", "exposure", "user:alice"),
    ("audit", "access", "--unusual", "--bulk", "2/1h"),
    ("audit", "who-can", "--all"),
    ("audit", "who-can", "payroll", "--position", "4"),
    ("audit", "exposure", "user:alice", "--position", "5"),
    ("audit", "review", "--list"),
    ("leaver", "user:alice", "--dry-run"),
    ("leaver", "user:alice", "--dry-run", "--position", "5"),
    ("credential", "history", "payroll", "--owner", "user:alice"),
    ("replay", "state", "--position", "5"),
    ("replay", "diff", "1", "5"),
)


@contextmanager
def somebody_else():
    """What follows is done as a user whom files can be read-only for; root is not."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


class AsSomebodyElse(Cli):
    """Runs each command as somebody who may not write to the store's file."""

    def __call__(self, *arguments, **settings):
        with somebody_else():
            return super().__call__(*arguments, **settings)


def fill(cli: Cli) -> str:
    """A read and a refusal; the position of the refusal."""
    cli.ok("app", "create", "payroll", "--kind", "individual", "--field", "Password:password")
    cli.set("payroll", "user:alice", Password="p")
    cli.ok("credential", "get", "payroll", "--as", "user:alice")
    error = cli.fails(4, "access-denied", "credential", "get", "nothing", "--as", "user:bob")
    return str(error["position"])


def read_only(path: Path, *, folder: bool) -> None:
    """Take away the right to write to the file, and to make files beside it."""
    path.chmod(0o444)
    path.parent.chmod(0o555 if folder else 0o777)


@pytest.fixture(params=["file and folder", "file only"])
def file_store(request):
    """A ledger in a file that only its writer, and not who asks, may write to."""
    home = Path(tempfile.mkdtemp(prefix="credledger-read-only-"))
    writer = Cli(home)
    writer.ok("init", "--label", "alice")
    denied = fill(writer)
    home.chmod(0o755)
    mine = home / "mine"
    for name in ("keys", "secret"):
        shutil.copytree(home / name, mine / name)
    for path in (mine, *mine.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    for lock in (home / "store").glob("*.lock"):
        lock.unlink()
    read_only(home / "store/ledger.db", folder=request.param == "file and folder")
    asker = AsSomebodyElse(home)
    asker.environment = {
        **writer.environment,
        "CREDLEDGER_KEYRING": str(mine / "keys/keyring"),
        "CREDLEDGER_KEY_FILE": str(mine / "secret/key"),
    }
    yield writer, asker, denied
    (home / "store").chmod(0o700)
    shutil.rmtree(home)


@pytest.fixture(params=["SELECT only", "read-only by default"])
def server_store(request, bare, postgres_server, postgres_schema):
    """A ledger on a server that who asks may only read from."""
    bare.environment["CREDLEDGER_STORE"] = f"{postgres_server.dsn()}&ledger={postgres_schema}"
    bare.ok("init", "--label", "alice")
    denied = fill(bare)
    asker, role = Cli(bare.home), f"asker_{os.getpid()}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN")
    if request.param == "SELECT only":
        grants = ("USAGE ON SCHEMA {}", "SELECT ON ALL TABLES IN SCHEMA {}")
    else:
        grants = ("USAGE ON SCHEMA {}", "ALL ON ALL TABLES IN SCHEMA {}")
        postgres_server.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    for grant in grants:
        postgres_server.execute(f"GRANT {grant.format(postgres_schema)} TO {role}")
    store = f"{postgres_server.dsn(role)}&ledger={postgres_schema}"
    asker.environment = {**bare.environment, "CREDLEDGER_STORE": store}
    yield bare, asker, denied
    postgres_server.execute(f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def check(writer, asker, denied):
    asked = [tuple(word.format(denied=denied) for word in words) for words in QUESTIONS]
    before = writer.ok("log", "events")
    for words in asked:
        answer = asker(*words)
        assert answer.code == 0, (words, answer.err)
        assert "This question was not recorded" in answer.err, words
        assert answer.json is not None
        asker.fails(7, "query-unrecorded", *words, "--require-record")
    assert writer.ok("log", "events") == before
    refused = asker("credential", "get", "payroll", "--as", "user:alice")
    assert (refused.code, refused.out) == (7, b"")


def test_a_pack_with_access_from_a_read_only_server_says_that_it_is_unrecorded(server_store):
    """Or is refused, and nothing lies there then."""
    writer, asker, _ = server_store
    before = writer.ok("log", "events")
    pack = asker("audit", "pack", str(asker.home / "pack"), "--with-access")
    assert pack.code == 0, pack.err
    assert "This question was not recorded" in pack.err
    assert pack.json["accesses"] == 2
    other = asker.home / "other"
    asked = ("audit", "pack", str(other), "--with-access", "--require-record")
    asker.fails(7, "query-unrecorded", *asked)
    asker.fails(2, "usage", "audit", "pack", str(other), "--require-record")
    assert not other.exists()
    assert writer.ok("log", "events") == before


def test_in_a_read_only_file_questions_are_answered_and_said_to_be_unrecorded(file_store):
    """Each of them; --require-record refuses with exit 7, and a read of values is refused."""
    check(*file_store)


def test_on_a_read_only_server_questions_are_answered_and_said_to_be_unrecorded(server_store):
    """The same for a role that may only SELECT, and where every transaction is read-only."""
    check(*server_store)


def test_where_it_can_be_recorded_it_must_be(anywhere):
    """A question leaves its record before it is answered, with --require-record and without."""
    denied = fill(anywhere)
    for words in QUESTIONS:
        asked = tuple(word.format(denied=denied) for word in words)
        for further in ((), ("--require-record",)):
            before = anywhere.ok("status")["position"]
            answer = anywhere(*asked, *further)
            assert (answer.code, answer.err) == (0, answer.err), answer.err
            assert "not recorded" not in answer.err
            (event,) = anywhere.ok("log", "events", "--after", str(before))
            assert event["topic"] == "audit.queried"


def test_a_replica_answers_and_says_so(bare):
    """A standby of the primary serves whoever only asks, from a host of its own."""
    with private_server() as primary:
        bare.environment["CREDLEDGER_STORE"] = f"{primary.dsn()}&ledger=contoso"
        bare.ok("init", "--label", "alice")
        denied = fill(bare)
        with private_server(primary) as standby:
            asker = Cli(bare.home)
            store = f"{standby.dsn()}&ledger=contoso"
            asker.environment = {**bare.environment, "CREDLEDGER_STORE": store}
            check(bare, asker, denied)


def test_a_full_disk_is_no_store_that_cannot_be_written(cli, monkeypatch):
    """Whoever could be recorded if there were room is told nothing."""
    fill(cli)
    for lock in (cli.home / "store").glob("*.lock"):
        lock.unlink()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Turns, "_locked", full)
    answer = cli("audit", "access")
    assert (answer.code, answer.error["code"], answer.out) == (7, "store-full", b"")
