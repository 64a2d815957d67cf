"""Commands that keys and recovery rest on, killed while others read and write.

Beside each command a process reads every credential and sets one of them anew, without pause (one
of another application where the command itself must find the credentials as they were). The
command is killed at a boundary (see `running`) and run again, which must finish it. Then whoever
read beside it has met nothing but right values, every live credential opens, the log holds and each
view is its fold.

A restore has no ledger yet that anybody could read. So who reads and writes beside it tries again
and again from before its beginning until after its end: all are turned away, or are given what was
set last, never what the archive's earlier rows say; and what was acknowledged is there.

`pytest --torture` tries so many boundaries that they are over 200 on the two stores together; else
a few of each command, the same in every run.
"""

from __future__ import annotations

import json
import os

import pytest

from tests.faults.archives import emptied, small
from tests.faults.killing import UNREACHED, spread
from tests.faults.running import DEADLINE_S, KILLED, until

OWNERS = ("ann", "bob", "eve", "joe", "sue")
BESIDE = """
import os, pathlib, sys, threading
sys.argv = ["credledger"]
from ledger.claims import parse_claim
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.wiring import open_session
home = pathlib.Path({home!r})
owners = [parse_claim("user:" + name) for name in {owners!r}]
given = {{"User": FieldValue("u"), "Password": FieldValue("right")}}
done = {{"read": 0, "set": 0}}
failures = []
def repeat(name, work):
    try:
        while not (home / "stop").exists():
            work(done[name])
            done[name] += 1
    except BaseException as error:
        failures.append(repr(error))
with open_session(decide(Given(), dict(os.environ)), StandardInput()) as session:
    ledger = session.ledger
    def read(number):
        found = ledger.retrieve(Caller(owners[number % len(owners)]), "payroll")
        assert found.fields["Password"].reveal() == "right", found
    def change(number):
        owner = owners[number % len(owners)] if {application!r} == "payroll" else None
        ledger.set_credentials(Acting(), {application!r}, owner, given)
    read(0)
    works = (("read", read), ("set", change))
    threads = [threading.Thread(target=repeat, args=one) for one in works]
    for thread in threads:
        thread.start()
    (home / "ready").touch()
    for thread in threads:
        thread.join()
print(done, failures, file=sys.stderr)
sys.stderr.flush()
os._exit(1 if failures or not all(done.values()) else 0)
"""
BESIDE_RESTORE = """
import os, pathlib, sys, threading, time
sys.argv = ["credledger"]
from ledger.claims import parse_claim
from ledger.errors import LedgerError
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.wiring import open_session
home = pathlib.Path({home!r})
owner = parse_claim("user:ann")
given = {{"User": FieldValue("u"), "Password": FieldValue("right")}}
deadline = time.monotonic() + {seconds}
done = {{"read": 0, "set": 0}}
failures = []
def read(ledger):
    found = ledger.retrieve(Caller(owner), "payroll")
    assert found.fields["Password"].reveal() == "right", "what was set before was given out"
def change(ledger):
    ledger.set_credentials(Acting(), "payroll", owner, given)
def repeat(name, work):
    try:
        while time.monotonic() < deadline and not (done[name] and (home / "stop").exists()):
            try:
                with open_session(decide(Given(), dict(os.environ)), StandardInput()) as session:
                    work(session.ledger)
            except LedgerError as error:
                assert error.code in {away!r}, error
                (home / "turned-away").touch()
            else:
                done[name] += 1
    except BaseException as error:
        failures.append(repr(error))
threads = [threading.Thread(target=repeat, args=one) for one in (("read", read), ("set", change))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(done["set"])
print(done, failures, file=sys.stderr)
sys.stdout.flush()
sys.stderr.flush()
os._exit(1 if failures or not all(done.values()) else 0)
"""
AWAY = ("no-ledger", "rolled-back", "forked", "store-restoring")
"""What is said of a store that nothing was brought to yet, or not all."""
COMMANDS = {
    "key rotate": ("key", "rotate", "--without-backup"),
    "key rotate --destroy-previous": (
        "key",
        "rotate",
        "--without-backup",
        "--destroy-previous",
        "--yes",
    ),
    "backup create": ("backup", "create", "archive"),
    "key backup": ("key", "backup", "copies/keyring"),
    "key slot add": ("key", "slot", "add", "key-file", "--new-key-file", "spare.key"),
    "replay rebuild": ("replay", "rebuild"),
    "replay restore": ("replay", "restore", "--app", "payroll", "--position", "{first}", "--yes"),
}
"""`{first}` is the position after everybody's credential was set for the first time."""
RESTORES = {"full": ("whole",), "incremental": ("monday", "--part", "sunday")}
"""Archives of a log in which everybody's credential was set twice; `sunday` ends in between."""

USUAL = ("key rotate --destroy-previous", "backup create")
AGAIN = {
    "backup create": ("archive-exists", 5),
    "key backup": ("key-backup-exists", 5),
    "key slot add": ("slot-exists", 5),
    "backup restore": ("store-not-empty", 5),
}
"""What a second run says where the first was killed after it had done its work."""
ONCE, ONCE_ON_SERVER = 2, 1
TORTURED, TORTURED_ON_SERVER = 28, 8

pytestmark = pytest.mark.timeout(900)
"""Each of them is many commands beside others."""


@pytest.fixture(scope="module")
def peopled(on_both, tmp_path_factory):
    """Some people's credentials besides."""
    host = on_both.copy(tmp_path_factory.mktemp("torture") / "host")
    (host.home / "copies").mkdir()
    values = json.dumps({"User": "u", "Password": "right"}).encode()
    for _ in range(2):
        for name in OWNERS:
            owner = ("--owner", f"user:{name}", "--values", "-")
            host.ok("credential", "set", "payroll", *owner, stdin=values)
    yield host
    host.settle()
    host.drop_database()


@pytest.fixture(scope="module")
def archived(on_both, tmp_path_factory):
    """A host with archives of all that it remembers, but for a last question."""
    host = on_both.copy(tmp_path_factory.mktemp("torture") / "archived")
    for password, archive in (("before", "sunday"), ("right", "monday")):
        values = json.dumps({"User": "u", "Password": password}).encode()
        for name in OWNERS:
            owner = ("--owner", f"user:{name}", "--values", "-")
            host.ok("credential", "set", "payroll", *owner, stdin=values)
        since = () if archive == "sunday" else ("--since-backup",)
        assert host.run(script=small("backup", "create", archive, *since), as_json=False).code == 0
    assert host.run(script=small("backup", "create", "whole"), as_json=False).code == 0
    host.ok("audit", "access")
    yield host
    host.settle()
    host.drop_database()


def moments(counted, arguments, count):
    """So many of the boundaries that an untouched run meets, its last one among them."""
    assert counted.run(*arguments, kill_at=UNREACHED).code == 0
    met = len(counted.boundaries())
    counted.settle()
    counted.drop_database()
    return sorted({*spread(range(1, met + 1), min(count, met), 0.5), met})


@pytest.mark.parametrize("name", COMMANDS if os.environ.get("CREDLEDGER_TORTURE") else USUAL)
def test_a_command_killed_beside_others_is_finished_by_the_next(request, peopled, tmp_path, name):
    first = peopled.ok("status")["position"] - len(OWNERS)
    arguments = tuple(one.format(first=first) for one in COMMANDS[name])
    written = "Reports" if name == "replay restore" else "payroll"
    tortured = request.config.getoption("--torture")
    few, many = (ONCE, TORTURED) if peopled.server is None else (ONCE_ON_SERVER, TORTURED_ON_SERVER)
    codes = []
    for moment in moments(peopled.copy(tmp_path / "counted"), arguments, many if tortured else few):
        host = peopled.copy(tmp_path / str(moment))
        script = BESIDE.format(home=str(host.home), owners=OWNERS, application=written)
        beside = host.start(script=script, as_json=False)
        until((host.home / "ready").exists)
        ended = host.run(*arguments, kill_at=moment)
        codes.append(ended.code)
        if ended.code == KILLED:
            again = host.run(*arguments)
            done_before = again.code and AGAIN.get(name) == (again.error["code"], again.code)
            assert again.code == 0 or done_before, again
            if name == "backup create":
                assert "backup.created" in host.topics()
        (host.home / "stop").touch()
        told = beside.wait()
        assert told.code == 0, told
        require_whole(host, name)
        host.settle()
        host.drop_database()
    require_killed(codes)


@pytest.mark.parametrize(
    "kind", RESTORES if os.environ.get("CREDLEDGER_TORTURE") else ["incremental"]
)
def test_a_restore_killed_beside_others_is_finished_by_the_next(request, archived, tmp_path, kind):
    tortured = request.config.getoption("--torture")
    few, many = (
        (ONCE, TORTURED) if archived.server is None else (ONCE_ON_SERVER, TORTURED_ON_SERVER)
    )
    arguments = ("backup", "restore", *RESTORES[kind])
    codes = []
    for moment in moments(
        emptied(archived, tmp_path / "counted"), arguments, many if tortured else few
    ):
        host = emptied(archived, tmp_path / str(moment))
        script = BESIDE_RESTORE.format(home=str(host.home), away=AWAY, seconds=DEADLINE_S)
        beside = host.start(script=script, as_json=False)
        until((host.home / "turned-away").exists)
        ended = host.run(*arguments, kill_at=moment)
        codes.append(ended.code)
        if ended.code == KILLED:
            again = host.run(*arguments)
            done_before = again.code and AGAIN["backup restore"] == (
                again.error["code"],
                again.code,
            )
            assert again.code == 0 or done_before, again
        (host.home / "stop").touch()
        told = beside.wait(2 * DEADLINE_S)
        assert told.code == 0, told
        require_whole(host, "backup restore")
        topics = host.topics()
        restored = topics.index("backup.restored")
        assert topics.count("backup.restored") == topics.count("rollback.accepted") == 1
        assert topics[restored:].count("credential.set") == int(told.out)
        host.settle()
        host.drop_database()
    require_killed(codes)


def require_killed(codes):
    """Others beside it spare a command a boundary now and then, and so the last kills."""
    assert set(codes) <= {0, KILLED}, codes
    assert codes[0] == KILLED, codes
    assert codes.count(KILLED) >= len(codes) * 4 // 5, codes


def require_whole(host, name):
    for owner in OWNERS:
        found = host.ok("credential", "get", "payroll", "--as", f"user:{owner}")
        assert found["fields"]["Password"] == "right"
    assert host.ok("credential", "get", "Reports", "--as", "service:nightly")["complete"]
    host.is_whole()
    assert host.ok("audit", "recheck")["wrong"] == []
    if name == "replay restore":
        assert host.topics().count("credential.restored") == len(OWNERS)
    if not name.startswith("key rotate"):
        return
    status = host.ok("key", "status")
    current = status["epoch"]
    resting = {one["epoch"]: one["mappings"] for one in status["epochs"] if one["mappings"]}
    assert resting == {current: len(OWNERS) + 1}
    topics = host.topics()
    assert topics.count("epoch.started") == topics.count("epoch.resealed") + 1 == current
    if "destroy" in name:
        secrets = {one["epoch"]: one["secrets"] for one in status["epochs"]}
        assert all(secrets[epoch] == "destroyed" for epoch in range(1, current))
        assert topics.count("keys.destroying") == topics.count("keys.destroyed")
