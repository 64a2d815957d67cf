"""Store, keyring and backups on one small file system that is really full.

Each command is tried with no room, and with more each time, until it is done. Until then it ends in
exit 7 with a code that says what is to be mended, every credential opens after it, and nothing that
was recorded before is lost; the run that has room completes.
"""

from __future__ import annotations

import json
import shutil

import pytest

from tests.faults.running import Host
from tests.faults.small_disk import FILE_SYSTEM_BYTES, small_disk

OWNERS = ("ann", "bob")
CANARY = "canary-41e7"
VALUES = json.dumps({"User": "u", "Password": CANARY + "x" * 30_000}).encode()
FIELDS = ("--field", "User:user-name", "--field", "Password:password")
ROOM_FIRST = 4096
REFUSALS = {
    "store-full",
    "store-unreachable",
    "keyring-not-writable",
    "key-backup-not-writable",
    "archive-disk-full",
    "archive-not-writable",
    "memory-not-writable",
}
COMMANDS = {
    "rotation": ("key", "rotate", "--without-backup", "--destroy-previous", "--yes"),
    "key backup": ("key", "backup", "disk/safe/keyring"),
    "keyring write": ("key", "slot", "add", "key-file", "--new-key-file", "spare", "--label", "s"),
    "backup": ("backup", "create", "disk/archives/two"),
    "restore": ("backup", "restore", "disk/archives/one"),
}
TOLD = {
    "rotation": "epoch.resealed",
    "key backup": "key.backed-up",
    "keyring write": "slot.added",
    "backup": "backup.created",
    "restore": "backup.restored",
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    with small_disk(tmp_path_factory.mktemp("small") / "disk") as made:
        yield made


@pytest.fixture
def host(disk):
    """A ledger of some people on the small disk, with an archive; gone when the test has ended."""
    home = disk.path.parent
    environment = {
        "CREDLEDGER_STORE": f"sqlite://{disk.path}/store/ledger.db",
        "CREDLEDGER_KEYRING": str(disk.path / "keys" / "keyring"),
    }
    made = Host(disk.nursery, home, environment)
    (disk.seen / "safe").mkdir()
    made.ok("init", "--label", "ann")
    made.ok("app", "create", "payroll", "--kind", "individual", *FIELDS)
    for name in OWNERS:
        owner = ("--owner", f"user:{name}", "--values", "-")
        made.ok("credential", "set", "payroll", *owner, stdin=VALUES)
    made.ok("backup", "create", "disk/archives/one")
    yield made
    for name in ("spare", "secret/key"):
        (home / name).unlink(missing_ok=True)
    for entry in disk.seen.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def require_opens(host, **how):
    for name in OWNERS:
        got = host.ok("credential", "get", "payroll", "--as", f"user:{name}", **how)
        assert got["fields"]["Password"].startswith(CANARY)
    host.ok("log", "verify", "--views", **how)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_with_too_little_room_loses_nothing_and_is_done_with_more(disk, host, name):
    how = {}
    if name == "restore":  # into another place; the ledger that is there stays as it is
        how = {"environment": {"CREDLEDGER_STORE": f"sqlite://{disk.path}/new/ledger.db"}}
    room, refused = 0, []
    while True:
        assert room < FILE_SYSTEM_BYTES // 2
        disk.fill(but_bytes=room)
        ended = host.run(*COMMANDS[name], **how)
        disk.make_room()
        assert CANARY.encode() not in ended.both
        assert b"Traceback" not in ended.both
        if ended.code == 0:
            break
        assert ended.code == 7, ended
        assert ended.error["hint"]
        refused.append(ended.error["code"])
        if name != "restore":
            require_opens(host)
        room = 2 * room or ROOM_FIRST
    assert refused
    assert set(refused) <= REFUSALS
    require_opens(host, **how)
    topics = [row["topic"] for row in host.ok("log", "events", "--limit", "0", **how)]
    before = {"backup": 1, "keyring write": 1}.get(name, 0)  # by the fixture
    recorded = topics.count(TOLD[name]) - before
    # An archive that was whole when its record had no room is recorded with the last one.
    assert recorded == 1 or (recorded > 1 and "taken_up" in ended.json), refused
