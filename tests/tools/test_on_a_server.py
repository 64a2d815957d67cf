"""What the program asks of a database server, and what it says of it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.claims import parse_claim
from ledger.errors import InvalidInput, Refused, Unavailable
from ledger.log.store import ServerState
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from tests.conftest import PASSPHRASE, new_house
from tests.contracts.postgres_server import private_server
from tests.tools.conftest import Answer, Cli

ROOT = Path(__file__).parents[2]


def process(environment, *arguments):
    """The program as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli.main", *arguments, "--json"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return Answer(done.returncode, done.stdout, done.stderr.decode())


@pytest.fixture
def program(tmp_path, postgres_server, postgres_schema):
    """Run the program as a database role."""
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text(PASSPHRASE)
    cli = Cli(tmp_path)

    def ended(*arguments: str, user: str, code: int, as_process: bool = False) -> Answer:
        cli.environment = {
            "HOME": str(tmp_path),
            "CREDLEDGER_STORE": f"{postgres_server.dsn(user)}&ledger={postgres_schema}",
            "CREDLEDGER_KEYRING": str(tmp_path / "keys" / "keyring"),
            "CREDLEDGER_PASSPHRASE_FILE": str(secret),
        }
        done = process(cli.environment, *arguments) if as_process else cli(*arguments)
        assert done.code == code, done
        return done

    def run(*arguments: str, user: str = "postgres", code: int = 0, **how: bool) -> dict:
        done = ended(*arguments, user=user, code=code, **how)
        return done.json if code == 0 else json.loads(done.err)["error"]

    def doctor(user: str, code: int = 0) -> set[tuple[str, str]]:
        findings = ended("doctor", user=user, code=code).json["findings"]
        return {(one["code"], one["severity"]) for one in findings}

    run.doctor = doctor
    run.secret = str(secret)
    return run


@pytest.fixture
def roles(postgres_server):
    """An owner and a writer, and nobody else's rights."""
    names = [f"{kind}_{os.getpid()}" for kind in ("owner", "writer")]
    for name in names:
        postgres_server.execute(f"CREATE ROLE {name} LOGIN")
    postgres_server.execute(f"GRANT CREATE ON DATABASE postgres TO {names[0]}")
    yield names
    postgres_server.execute(
        f"DROP OWNED BY {', '.join(names)} CASCADE", f"DROP ROLE {', '.join(names)}"
    )


def test_an_owner_prepares_and_a_writer_works(program, roles):
    """Tables by one role, everything else by another that may only append; each a process."""
    owner, writer = roles
    secret, program = program.secret, functools.partial(program, as_process=True)
    refused = program("store", "migrate", user=writer, code=7)
    assert refused["code"] == "store-not-writable"
    assert program("store", "migrate", "--writer", writer, user=owner)["writer"] == writer
    program("store", "migrate", "--writer", writer, user=owner)
    argon = ("--argon2-memory", "19")
    program("init", "--new-passphrase-file", secret, *argon, user=writer)
    program("app", "create", "CRM", "--kind", "individual", user=writer)
    told = program("doctor", user=writer)["findings"]
    assert {one["code"] for one in told} >= {"no-standby"}
    assert not {one["code"] for one in told} & {"role-too-wide", "role-too-narrow"}
    wide = next(
        one for one in program("doctor", user=owner)["findings"] if one["code"] == "role-too-wide"
    )
    assert "owner of log" in wide["message"]
    assert program("log", "verify", user=writer)["ok"]


NARROW = {
    "INSERT on log": "INSERT ON {schema}.log",
    "UPDATE (format) on ledger": "UPDATE (format) ON {schema}.ledger",
}


def test_a_role_that_can_record_nothing_is_refused_before_anything_is_tried(
    program, roles, postgres_server, postgres_schema
):
    """Reading a value, changing and merely looking all end alike; checking the log goes on."""
    owner, writer = roles
    program("store", "migrate", "--writer", writer, user=owner)
    argon = ("--argon2-memory", "19")
    program("init", "--new-passphrase-file", program.secret, *argon, user=writer)
    program("app", "create", "CRM", "--kind", "individual", user=writer)
    before = program("status", user=writer)["position"]
    for right in NARROW.values():
        taken = right.format(schema=postgres_schema)
        postgres_server.execute(f"REVOKE {taken} FROM {writer}")
    for command in (
        ("credential", "get", "CRM", "--as", "user:ann"),
        ("app", "create", "HR", "--kind", "individual"),
        ("app", "list"),
    ):
        refused = program(*command, user=writer, code=7)
        assert refused["code"] == "role-too-narrow"
        assert all(lacking in refused["message"] for lacking in NARROW)
        assert "store migrate --writer" in refused["hint"]
    assert ("role-too-narrow", "error") in program.doctor(user=writer, code=7)
    assert program("log", "verify", user=writer)["size"] == before
    program("store", "migrate", "--writer", writer, user=owner)
    assert program("status", user=writer)["position"] == before


def test_a_role_that_lacks_what_recording_does_not_take_serves_and_is_warned(
    program, roles, postgres_server, postgres_schema
):
    """Without the right to begin signers everything goes on but slots; the owner is warned too."""
    owner, writer = roles
    program("store", "migrate", "--writer", writer, user=owner)
    argon = ("--argon2-memory", "19")
    program("init", "--new-passphrase-file", program.secret, *argon, user=writer)
    postgres_server.execute(f"REVOKE INSERT ON {postgres_schema}.signers FROM {writer}")
    program("app", "create", "CRM", "--kind", "individual", user=writer)
    assert ("role-too-narrow", "warning") in program.doctor(user=writer)
    assert "role-too-narrow" in program("status", user=writer)["warnings"]
    program("app", "create", "HR", "--kind", "individual", user=owner)
    assert ("role-too-wide", "warning") in program.doctor(user=owner)
    assert "role-too-wide" in program("status", user=owner)["warnings"]


def test_where_no_ledger_is_that_is_said_before_a_keyring_is_missed(program):
    for command in (("status",), ("app", "list"), ("credential", "get", "CRM", "--as", "user:a")):
        assert program(*command, code=3)["code"] == "no-ledger"
    program("init", "--new-passphrase-file", program.secret, "--argon2-memory", "19")
    (Path(program.secret).parent / "keys" / "keyring").unlink()
    assert program("status", code=6)["code"] == "keyring-missing"


def test_an_unknown_writer_and_a_file_without_roles_are_refused(program, tmp_path):
    assert program("store", "migrate", "--writer", "nobody_here", code=2)["code"] == "unknown-role"
    store = f"sqlite://{tmp_path}/other.db"
    refused = program("store", "migrate", "--store", store, "--writer", "x", code=2)
    assert refused["code"] == "no-roles"


@pytest.fixture
def on_server(tmp_path, postgres_server, postgres_schema):
    made = new_house(tmp_path)
    made.store_url = f"{postgres_server.dsn()}&ledger={postgres_schema}"
    made.found()
    yield made
    made.close()


def test_a_clock_far_from_the_servers_is_refused_unless_accepted(on_server):
    on_server.clock.offset_us = -10 * 60 * 1_000_000
    with pytest.raises(Unavailable) as caught:
        on_server.open()
    assert caught.value.code == "clocks-apart"
    on_server.open(accept_clock=True).close()
    on_server.clock.offset_us = 0
    on_server.open().close()


def test_standbys_that_nobody_waits_for_are_refused_unless_accepted_and_recorded(tmp_path):
    """A real standby that follows asynchronously."""
    house = new_house(tmp_path)
    with private_server() as primary:
        house.store_url = f"{primary.dsn()}&ledger=one"
        house.found()
        with private_server(primary):
            with pytest.raises(Unavailable) as caught:
                house.open()
            assert caught.value.code == "store-async"
            ledger = house.open(accept_async=True)
            size = ledger.head().size
            ledger.create_application(Acting(), "CRM", kind="individual")
            ledger.create_application(Acting(), "Mail", kind="individual")
            with house.store().reading() as reading:
                rows = reading.rows_after(size, 100)
            created = "application.created"
            assert [row.topic for row in rows] == [created, "async.accepted", created]
            ledger.close()
            primary.execute(
                "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"
            )
            house.close()
            house.open().close()
        house.close()


def test_a_server_is_asked_for_nothing_more_than_it_may_be_believed(on_server):
    state = on_server.store().server()
    assert isinstance(state, ServerState)
    assert state.outlives_failover
    assert abs(state.clock_us - on_server.clock()) < 60 * 1_000_000


def test_the_ledger_on_a_server_is_the_same_ledger(on_server):
    ledger = on_server.open()
    ledger.create_application(Acting(), "CRM", kind="group", members=("group:crm",))
    with pytest.raises(Refused):
        ledger.retrieve(Caller(parse_claim("user:eve")), "CRM")
    with pytest.raises(InvalidInput):
        ledger.create_application(Acting(), "", kind="group")
    ledger.close()
    assert verify_log(on_server.store()).ok


def test_standbys_that_nobody_waits_for_are_named_by_doctor_where_they_are_accepted(tmp_path):
    """Without a standby, and with one that commits wait for, it says something else."""
    cli = Cli(tmp_path)

    def found(*accepted: str) -> dict[str, dict[str, str]]:
        answer = cli("doctor", *accepted)
        return {one["code"]: one for one in answer.json["findings"]}

    with private_server() as primary:
        cli.environment["CREDLEDGER_STORE"] = f"{primary.dsn()}&ledger=one"
        cli.ok("init", "--label", "ann")
        assert "no-standby" in found()
        assert "store-async" not in found()
        with private_server(primary):
            assert found()["store-async"]["severity"] == "error"
            accepted = found("--accept-async")
            assert accepted["store-async"]["severity"] == "warning"
            assert "synchronous_standby_names" in accepted["store-async"]["mend"]
            assert "no-standby" not in accepted
            primary.execute(
                "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"
            )
            assert {"store-async", "no-standby"}.isdisjoint(found())


def test_an_unlogged_table_of_the_log_is_an_error_for_doctor(
    tmp_path, postgres_server, postgres_schema
):
    """A crash empties it, and no standby has it; so nothing is recorded there."""
    cli = Cli(tmp_path)
    cli.environment["CREDLEDGER_STORE"] = f"{postgres_server.dsn()}&ledger={postgres_schema}"
    cli.ok("init", "--label", "ann")
    postgres_server.execute(f"ALTER TABLE {postgres_schema}.log SET UNLOGGED")
    told = cli("doctor")
    (finding,) = [one for one in told.json["findings"] if one["code"] == "store-not-durable"]
    assert (told.code, finding["severity"]) == (7, "error")
    assert "Unlogged in the store: log." in finding["message"]
    cli.fails(7, "store-not-durable", "app", "create", "CRM", "--kind", "individual")


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_may_lose_what_it_acknowledged_is_an_error_for_doctor(tmp_path, setting):
    """Nothing can be recorded then, and who only reads is told too."""
    cli = Cli(tmp_path)
    with private_server() as server:
        cli.environment["CREDLEDGER_STORE"] = f"{server.dsn()}&ledger=one"
        cli.ok("init", "--label", "ann")
        found = lambda answer: {one["code"]: one for one in answer.json["findings"]}
        healthy = cli("doctor")
        assert (healthy.code, "store-not-durable" in found(healthy)) == (0, False)
        server.stop()
        server.start(f"-c {setting}=off")
        told = cli("doctor")
        assert (told.code, next(iter(found(told)))) == (7, "store-not-durable")
        assert found(told)["store-not-durable"]["severity"] == "error"
        cli.fails(7, "store-not-durable", "app", "create", "CRM", "--kind", "individual")
        server.stop()
        server.start()
        assert found(cli("doctor")).keys() == found(healthy).keys()
