"""Backups that are killed or run out of room: whole, or absent and begun anew; never believed half.

Each command is killed at its boundaries (see `running`), at all or at some in equal steps, with
segments of three rows so that there are many of them. An archive counts once it has its manifest; a
restored store is a log that holds after any kill, and the same command brings the rest.
"""

from __future__ import annotations

import itertools
import json

import pytest

from ledger.log.host_file import host_path
from tests.faults.archives import emptied, small
from tests.faults.killing import CLOSE, STEP
from tests.faults.running import KILLED, Host

BOUNDARIES_MAX = 1000
CANARY = "canary-77aa"
VALUES = json.dumps({"User": "ann", "Password": CANARY}).encode()
FIELDS = ("--field", "User:user-name", "--field", "Password:password")
EVERY, EVERY_ON_SERVER = 2 * STEP, 7 * STEP
"""One boundary in so many is tried; on a server there are many more."""


def filled(host: Host) -> Host:
    """Some credentials, and a full archive beside the host."""
    key = host.home / "secret" / "key"
    key.parent.mkdir(parents=True)
    key.touch(mode=0o600)
    key.write_bytes(bytes(range(32)))
    host.ok("init", "--label", "ann")
    host.ok("app", "create", "payroll", "--kind", "individual", *FIELDS)
    for name in ("ann", "bob", "eve"):
        owner = ("--owner", f"user:{name}", "--values", "-")
        host.ok("credential", "set", "payroll", *owner, stdin=VALUES)
    host.ok("credential", "get", "payroll", "--as", "user:ann")
    assert host.run(script=small("backup", "create", "archive"), as_json=False).code == 0
    return host


@pytest.fixture(scope="module")
def base(nursery, tmp_path_factory):
    return filled(Host(nursery, tmp_path_factory.mktemp("backups") / "base"))


@pytest.fixture(scope="module")
def base_on_server(nursery, tmp_path_factory, postgres_server):
    host = Host(nursery, tmp_path_factory.mktemp("backups") / "served", server=postgres_server)
    host.create_database()
    yield filled(host)
    host.drop_database()


def at_each_boundary(make, tmp_path, script, how="kill_at", step=1):
    """A fresh host for each boundary in these steps, and how the command ended there."""
    for number in itertools.count(1, step):
        host = make(tmp_path / str(number))
        ended = host.run(script=script, as_json=False, **{how: number})
        if how == "kill_at" and ended.code != KILLED:
            assert ended.code == 0, ended
            assert number > 10, "hardly any boundary was met"
            return
        if how == "full_at" and len(host.boundaries()) < number:
            assert ended.code == 0, ended
            assert number > 10, "hardly any boundary was met"
            return
        assert number < BOUNDARIES_MAX
        host.settle()
        yield host, ended
        host.drop_database()


def archive_of(host: Host, name: str) -> str | None:
    """How an archive stands: whole, or why there is none."""
    ended = host.run("backup", "verify", name)
    if ended.code == 0:
        assert ended.json["ok"]
        return None
    assert ended.code == 3, ended
    assert ended.error["code"] in {"no-archive", "archive-unfinished"}
    return ended.error["code"]


CREATE = small("backup", "create", "second")
CUT_OFF = """
import os, signal
from ledger.usecases.backup_records import BackupRecords
from tools.cli.main import run
def killed(self, *told):
    os.kill(os.getpid(), signal.SIGKILL)
BackupRecords.record = killed
run(["backup", "create", "second", "--json"])
"""


def finish_archive(host: Host, recorded: bool, whole: bool = False) -> None:
    """The same command with the same folder goes on from what is there, or says it is recorded.

    Somebody reads in between, so that a whole archive is not all there is any more.
    """
    host.ok("credential", "get", "payroll", "--as", "user:ann")
    position = host.position()
    ended = host.run(script=CREATE, as_json=False)
    if recorded:
        assert (ended.code, ended.error["code"]) == (5, "archive-exists"), ended
    else:
        assert ended.code == 0, ended
        assert ended.json["position"] == position
        assert host.topics(position) == ["backup.created"] * (2 if whole else 1)
        assert ("taken_up" in ended.json) == whole
    assert archive_of(host, "second") is None
    second = host.home / "second"
    assert not list(second.glob("*.new"))
    last = host.ok("status")["last_database_backup"]
    assert last["directory"] == str(second)
    host.is_whole()


def test_a_killed_create_left_an_archive_that_counts_or_none(base, tmp_path):
    """What is recorded is whole; what is not is taken up or begun anew in the same folder."""
    position = base.position()
    stood = set()
    for host, _ in at_each_boundary(base.copy, tmp_path, CREATE, step=CLOSE):
        host.is_whole()
        recorded = host.topics(position)
        assert recorded in ([], ["backup.created"])
        state = archive_of(host, "second")
        stood.add((state, bool(recorded)))
        assert state is None or not recorded
        finish_archive(host, bool(recorded), whole=state is None and not recorded)
    assert stood >= {("no-archive", False), ("archive-unfinished", False), (None, False)}


def unrecorded(host: Host) -> None:
    """The command was killed when its archive was whole, and before it was recorded."""
    position = host.position()
    ended = host.run(script=CUT_OFF, as_json=False)
    assert ended.code == KILLED
    host.settle()
    assert host.topics(position) == []
    assert archive_of(host, "second") is None


@pytest.mark.parametrize("where", ["base", "base_on_server"])
def test_an_archive_that_was_never_recorded_is_taken_up_and_brings_all_back(
    where, tmp_path, request
):
    """Twice cut off, each time with more in the log; then it is one archive, and restores."""
    made = request.getfixturevalue(where)
    host = made.copy(tmp_path / "host")
    for password in ("first", "second"):
        unrecorded(host)
        owner = ("--owner", "user:new", "--values", "-")
        values = json.dumps({"User": "new", "Password": password}).encode()
        host.ok("credential", "set", "payroll", *owner, stdin=values)
    position = host.position()
    # No backup of before is gone on from where that folder holds more.
    ended = host.ok("backup", "create", "second", "--since-backup")
    assert (ended["kind"], ended["position"]) == ("incremental", position)
    assert ended["taken_up"] == ended["after"] == position - 1
    assert host.topics(position) == ["backup.created"] * 3
    host.fails(5, "archive-exists", "backup", "create", "second")
    drilled = host.ok("backup", "drill")
    assert (drilled["ok"], drilled["position"]) == (True, position)
    lost = emptied(host, tmp_path / "lost")
    assert lost.ok("backup", "restore", "second")["position"] == position
    got = lost.ok("credential", "get", "payroll", "--as", "user:new")
    assert got["fields"]["Password"] == "second"
    lost.is_whole()
    for one in (host, lost):
        one.settle()
        one.drop_database()


def is_whole(host: Host) -> bool:
    return archive_of(host, "second") is None


def test_a_create_without_room_recorded_nothing_that_is_not_there(base, tmp_path):
    """Exit 7 with a code that says so, and with room the same command does it."""
    position = base.position()
    codes = set()
    for host, ended in at_each_boundary(base.copy, tmp_path, CREATE, how="full_at", step=EVERY):
        recorded = host.topics(position)
        if ended.code != 0:
            assert ended.code == 7, ended
            assert not recorded
            codes.add(ended.error["code"])
        assert CANARY.encode() not in ended.both
        assert bool(recorded) == (ended.code == 0)
        finish_archive(host, bool(recorded), whole=not recorded and is_whole(host))
    assert "archive-disk-full" in codes


RESTORE = small("backup", "restore", "archive")


def finish_restore(host: Host) -> None:
    """The same command brings the rest; then everything holds and is served."""
    ended = host.run(script=RESTORE, as_json=False)
    done = ended.code == 5 and ended.error["code"] == "store-not-empty"
    assert ended.code == 0 or done, ended
    host.is_whole()
    assert CANARY.encode() in host.run("credential", "get", "payroll", "--as", "user:ann").out
    topics = host.topics(0)
    assert topics.count("backup.restored") == 1, topics
    assert topics.count("rollback.accepted") == 1, topics


@pytest.mark.parametrize("where", ["base", "base_on_server"])
def test_a_killed_restore_goes_on(where, tmp_path, request):
    """Whatever is in the store holds; the next run brings the rest and records it once."""
    made = request.getfixturevalue(where)
    served = made.server is not None
    seen = set()
    hosts = at_each_boundary(
        lambda home: emptied(made, home),
        tmp_path,
        RESTORE,
        step=EVERY_ON_SERVER if served else CLOSE,
    )
    for host, _ in hosts:
        seen.add(host.position())
        finish_restore(host)
    assert len(seen) >= 3, seen


RECORDED = """
import os, signal
from ledger.log.memory import HostMemory
from tools.cli.main import run
def killed(self, fresh):
    os.kill(os.getpid(), signal.SIGKILL)
HostMemory.replace_by = killed
run(["backup", "restore", "archive", "--json"])
"""


@pytest.mark.parametrize("where", ["base", "base_on_server"])
def test_a_restore_on_a_new_host_is_finished_after_its_record_too(where, tmp_path, request):
    """The host tells of its keyring beside the record; the next run takes that for no change."""
    host = emptied(request.getfixturevalue(where), tmp_path / "host")
    host_path(host.keyring).unlink()
    assert host.run(script=RECORDED, as_json=False).code == KILLED
    host.settle()
    host.ok("backup", "restore", "archive")
    assert host.topics(0)[-3:] == ["rollback.accepted", "backup.restored", "host.seen"]
    host.ok("credential", "get", "payroll", "--as", "user:ann")
    host.is_whole()
    host.drop_database()


def test_a_restore_without_room_goes_on_with_room(base, tmp_path):
    codes = set()
    hosts = at_each_boundary(
        lambda home: emptied(base, home), tmp_path, RESTORE, how="full_at", step=EVERY
    )
    for host, ended in hosts:
        assert ended.code in {0, 7}, ended
        assert CANARY.encode() not in ended.both
        if ended.code == 7:
            codes.add(ended.error["code"])
        finish_restore(host)
    assert codes


def test_a_killed_drill_left_the_ledger_as_it_was(base, tmp_path):
    """Nothing but the scratch folder, and perhaps the record, is there of it."""
    position = base.position()
    drill = small("backup", "drill", "archive", "--scratch", "scratch")

    def made(home):
        host = base.copy(home)
        (host.home / "scratch").mkdir()
        return host

    for host, _ in at_each_boundary(made, tmp_path, drill, step=EVERY):
        assert host.topics(position) in ([], ["backup.drilled"])
        host.is_whole()
        assert host.run(script=drill, as_json=False).code == 0


def test_a_destination_that_cannot_be_written_is_exit_7(base, tmp_path):
    host = base.copy(tmp_path / "host")
    (host.home / "file").write_text("no folder")
    position = host.position()
    host.fails(7, "archive-not-writable", "backup", "create", "file")
    host.fails(7, "archive-not-writable", "backup", "create", "file/below")
    host.fails(7, "archive-not-writable", "backup", "create", "/proc/nowhere")
    assert host.topics(position) == []
