"""A store that is half restored is nobody's ledger until the same command has finished it."""

from __future__ import annotations

from pathlib import Path

import pytest

import tools.recovering.backups
from ledger.archive.restoring import finish
from ledger.log.postgresql.store import PostgresqlStore
from ledger.log.sqlite import SqliteStore
from ledger.usecases.backup_records import BackupRecords
from tests.tools.test_backups import create, lose, topics, worked  # noqa: F401 # a fixture
from tests.tools.test_restored_keys import forget, password


class Killed(BaseException):
    """The process ends here."""


def killed(*_, **__):
    raise Killed


def checks_of(cli) -> set[str]:
    """What `log verify` has to say, whether it holds or not."""
    return {one["name"] for one in cli("log", "verify").json["checks"]}


@pytest.mark.parametrize("remembers", [True, False])
def test_a_half_restored_store_gives_out_nothing_and_is_gone_on_with(worked, remembers):  # noqa: F811
    """Not even on a host that remembers nothing, to which the shorter log would look whole."""
    create(worked, "one")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    part = create(worked, "two", "--since-backup")
    segment = next((worked.archives / "two").glob("*.segment"))
    whole = segment.read_bytes()
    segment.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    if not remembers:
        forget(worked)
    lose(worked)
    # The keyring's stream and the last row are read first; let it be damaged after that.
    with pytest.MonkeyPatch.context() as patched:
        for looked_at in ("require_fit_of_archive", "_require_clock"):
            patched.setattr(tools.recovering.backups, looked_at, lambda *_: None)
        worked.fails(8, "archive-damaged", "backup", "restore", part["directory"])
    get = ("credential", "get", "payroll", "--as", "user:ann")
    for command in (get, ("status",), ("key", "rotate")):
        error = worked.fails(7, "store-restoring", *command)
        assert "credledger backup restore DIR" in error["hint"]
    answer = worked("doctor")
    assert (answer.code, answer.json["findings"][0]["code"]) == (7, "store-restoring")
    assert "restoring" in checks_of(worked)
    accept = ("log", "accept-rollback", "--reason", "as it is", "--yes")
    worked.fails(7, "store-restoring", *accept)
    segment.write_bytes(whole)
    assert worked.ok("backup", "restore", part["directory"])["ok"]
    assert password(worked) == "p-2"
    assert worked.ok("log", "verify", "--views")["ok"]
    assert "restoring" not in checks_of(worked)


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("where", ["before the record", "after the record"])
def test_killed_near_its_end_a_restore_is_finished_by_the_same_command(
    worked,  # noqa: F811
    monkeypatch,
    where,
    remembers,
):
    made = create(worked, "one")
    if not remembers:
        forget(worked)
    lose(worked)
    command = ("backup", "restore", made["directory"])
    with monkeypatch.context() as patched:
        if where == "before the record":
            patched.setattr(BackupRecords, "record", killed)
        else:
            patched.setattr(tools.recovering.backups, "finish", killed)
        with pytest.raises(Killed):
            worked(*command)
    worked.fails(7, "store-restoring", "status")
    assert worked.ok(*command)["ok"]
    assert topics(worked).count("backup.restored") == 1
    assert password(worked) == "p-1"
    worked.fails(5, "store-not-empty", *command)


def store_of(cli):
    url = cli.environment["CREDLEDGER_STORE"]
    file = url.removeprefix("sqlite://")
    return SqliteStore(Path(file)) if file != url else PostgresqlStore(url)


def test_a_whole_ledger_is_no_place_to_restore_into_though_the_archive_begins_like_it(
    worked,  # noqa: F811
    monkeypatch,
):
    """As where a copy of the database was put back: cut off there, it would be open to all."""
    older = create(worked, "one")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    newer = create(worked, "two", "--since-backup")
    forget(worked)
    lose(worked)
    with monkeypatch.context() as patched:
        patched.setattr(BackupRecords, "record", killed)
        with pytest.raises(Killed):
            worked("backup", "restore", older["directory"])
    store = store_of(worked)
    finish(store)
    size = older["position"]
    for archive in (newer, older):
        worked.fails(5, "store-not-empty", "backup", "restore", archive["directory"])
        with store.reading() as reading:
            assert reading.extent()[:2] == (size, size)
            assert not reading.is_restoring()
    store.close()
    assert password(worked) == "p-1"


def test_a_store_of_before_the_mark_is_opened_as_it_is(worked):  # noqa: F811
    """Its tables are made by whoever migrates it, and nobody has to."""
    store = store_of(worked)
    with store.writing() as writing:
        writing.connection.execute("DROP TABLE restoring")
        writing.connection.execute(
            "DELETE FROM schema_migrations WHERE name = ?", ("0002_restoring.sql",)
        )
    store.close()
    assert password(worked) == "p-1"
