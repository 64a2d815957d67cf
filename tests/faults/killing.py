"""The ledger that commands are killed at, and where they are.

A command is killed at its first boundary, then at a later one, and so on until it completes
untouched, each time on a fresh copy; `running` says what counts as one. One in `STEP` is tried and
the last one, or each of them with `pytest --torture`.

With a server there are three times as many boundaries and each ledger is a database, so there the
kills are spread: over what is said around each COMMIT, and over everything else. Where they fall
differs from command to command and is the same in every run. (Making tables ends in a COMMIT that
the driver says by itself, unheard: there they are spread over everything.)
"""

from __future__ import annotations

import itertools
import os
import zlib

from tests.faults.running import KILLED
from tests.faults.writes import VALUES

PASSPHRASES = {
    "first": "seven herons cross the lake",
    "second": "eight herons cross the lake",
    "third": "nine auditors count the owls",
}
BOUNDARIES_MAX = 200
TORTURED = bool(os.environ.get("CREDLEDGER_TORTURE"))
STEP = 1 if TORTURED else 10
"""One boundary in so many is tried in a file; with `pytest --torture` each of them."""
CLOSE = 1 if TORTURED else 3
"""The same where what a kill may leave behind lies close together."""
UNREACHED = 1_000_000
FEW, MORE = (2, 1), (3, 2)
"""How many kills on a server fall around commits and elsewhere, besides the last moment."""
FIELDS = ("--field", "User:user-name", "--field", "Password:password")
APPLICATIONS = """
[application."payroll"]
contact = "payroll@contoso.example"
members = ["user:ann"]
[application."Reports"]
administrators = ["user:carla"]
[application."Warehouse"]
kind = "group"
members = ["group:sales"]
"""


def with_key(host):
    """The host with a key file of its own."""
    key = host.home / "secret" / "key"
    key.parent.mkdir()
    key.touch(mode=0o600)
    key.write_bytes(bytes(range(32)))
    return host


def make_base(host):
    """A ledger with two applications, credentials, a passphrase's slot and an auditor's."""
    for name, text in PASSPHRASES.items():
        (host.home / name).touch(mode=0o600)
        (host.home / name).write_text(text)
    (host.home / "applications.toml").write_text(APPLICATIONS)
    host.ok("init", "--label", "ann")
    host.ok("app", "create", "payroll", "--kind", "individual", *FIELDS)
    host.ok("app", "create", "Reports", "--kind", "group", "--member", "service:nightly", *FIELDS)
    host.ok("credential", "set", "Reports", "--values", "-", stdin=VALUES)
    host.ok("credential", "get", "Reports", "--as", "service:nightly")
    slot = ("key", "slot", "add", "passphrase", "--argon2-memory", "19")
    host.ok(*slot, "--label", "ben", "--new-passphrase-file", "first")
    host.ok(*slot, "--label", "cleo", "--new-passphrase-file", "third", "--auditor")
    return host


def killed_everywhere(base, tmp_path, *arguments, step=STEP, **how):
    """A fresh copy for each boundary with the command killed there, and what it had printed."""
    if base.server is not None:
        yield from killed_here_and_there(base, tmp_path, *arguments, close=step < STEP, **how)
        return
    for number in itertools.count(1, step):
        host = base.copy(tmp_path / str(number))
        ended = host.run(*arguments, kill_at=number, **how)
        if ended.code != KILLED:
            assert ended.code == 0, ended
            break
        assert number < BOUNDARIES_MAX
        yield host, ended
    last = len(host.boundaries())
    assert last > 5, "hardly any boundary was met"
    if last > number - step:
        host = base.copy(tmp_path / "last")
        ended = host.run(*arguments, kill_at=last, **how)
        assert ended.code == KILLED, ended
        yield host, ended


def killed_here_and_there(base, tmp_path, *arguments, close=False, **how):
    """The same at moments that lie apart, the last one among them."""
    for moment in moments_of(base, tmp_path, *arguments, close=close, **how):
        host = base.copy(tmp_path / str(moment))
        ended = host.run(*arguments, kill_at=moment, **how)
        assert ended.code == KILLED, ended
        host.settle()
        yield host, ended
        host.drop_database()


def moments_of(base, tmp_path, *arguments, close=False, **how):
    """Some of the boundaries that an untouched run meets, and some of the waits between them.

    They are more where what a kill may leave behind lies `close` together.
    """
    met = untouched(base, tmp_path, *arguments, **how)
    moments = {"COMMIT": [], "": []}
    for number, name in enumerate(met, 1):
        kind = moments["COMMIT" if "COMMIT" in name else ""]
        kind += [number, number + 0.5] if name.startswith("before sending") else [number]
    shift = zlib.crc32(" ".join(arguments).encode()) / 2**32
    count = MORE if close or TORTURED else FEW
    around = count[0] if moments["COMMIT"] else 0
    some = spread(moments["COMMIT"], around, shift)
    some += spread(moments[""], sum(count) - around, shift)
    return sorted({*some, len(met)})


def untouched(base, tmp_path, *arguments, **how):
    """The boundaries that the command meets when nothing happens to it."""
    host = base.copy(tmp_path / "counted")
    assert host.run(*arguments, kill_at=UNREACHED, **how).code == 0
    met = host.boundaries()
    host.settle()
    host.drop_database()
    return met


def spread(moments, count, shift):
    """So many of them in equal steps, which begin at this part of a step."""
    return [moments[int((step + shift) * len(moments) / count)] for step in range(count)]
