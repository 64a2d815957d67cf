"""A witness killed at every boundary it crosses, or on a full disk: it never signs a fork after.

What it has handed out it remembers; what it remembers it need not have handed out. An older
archive of the same log stands for every log that is not the one that was seen.
"""

from __future__ import annotations

import pytest

from ledger.anchors.head import noted_head
from ledger.anchors.signed_note import read_notes
from ledger.anchors.time_stamp import stamp_request
from tests.authority import Authority
from tests.faults.killing import killed_everywhere
from tests.faults.test_full_disk import full_everywhere

SIGN = ("log", "witness", "sign", "witness", "--out", "anchors")
OLDER = ("log", "witness", "sign", "witness", "--archive", "safe/older")
SHOW = ("log", "witness", "show", "witness")
STAMP = ("log", "witness", "stamp", "anchors", "--response", "answer", "--root", "root.pem")
REFUSED = {"witness-not-writable", "anchors-not-writable", "store-full", "system-refused"}


@pytest.fixture(scope="module")
def watched(on_both, tmp_path_factory):
    """A log that a witness has seen as far as an archive of it goes, with rows after that."""
    host = watch(on_both.copy(tmp_path_factory.mktemp("watched") / "base"))
    yield host
    host.drop_database()


def watch(host):
    host.ok("backup", "create", "safe/older")
    ledger_id = host.ok("status")["ledger_id"]
    host.ok("log", "witness", "init", "witness", "--ledger-id", ledger_id, "--name", "w")
    host.ok(*OLDER, "--out", "anchors")
    return host


@pytest.fixture(scope="module")
def sizes(watched):
    """What the witness has seen, and what there is to see."""
    return watched.ok(*SHOW)["size"], watched.position()


def handed_out(host) -> list[int]:
    content = (host.home / "anchors").read_bytes()
    return [noted_head(note).size for note in read_notes(content)]


def require_no_fork(host, sizes) -> None:
    """It remembers all that it handed out, and refuses what is older than what it remembers."""
    before, newest = sizes
    seen = host.ok(*SHOW)["size"]
    assert seen in {before, newest}
    assert max(handed_out(host)) <= seen
    if seen == newest:
        host.fails(8, "rolled-back", *OLDER)
    else:
        host.ok(*OLDER)
    host.ok(*SIGN)
    assert handed_out(host)[-1] == newest
    host.fails(8, "rolled-back", *OLDER)
    key = host.ok(*SHOW)["witness_key"]
    report = host.ok("log", "verify", "--anchors", "anchors", "--witness-key", key)
    assert report["proven_to"] == newest


def test_a_killed_witness_never_signs_a_fork(watched, sizes, tmp_path):
    remembered = set()
    for host, _ in killed_everywhere(watched, tmp_path, *SIGN):
        remembered.add(host.ok(*SHOW)["size"])
        require_no_fork(host, sizes)
    assert remembered == set(sizes)


def test_a_witness_on_a_full_disk_never_signs_a_fork(watched, sizes, tmp_path):
    for host, ended in full_everywhere(watched, tmp_path, *SIGN):
        if ended.code:
            assert ended.code == 7, ended
            assert ended.error["code"] in REFUSED, ended
        require_no_fork(host, sizes)


def test_a_killed_init_goes_on_at_the_next_or_is_done(base, tmp_path):
    """The key stays the one that was made; nothing was signed with it yet."""
    init = ("log", "witness", "init", "new", "--ledger-id", base.ok("status")["ledger_id"])
    for host, _ in killed_everywhere(base, tmp_path, *init, step=1):
        key = host.home / "new" / "key"
        kept = key.read_bytes() if key.exists() else None
        again = host.run(*init)
        assert again.code == 0 or again.error["code"] == "witness-exists", again
        assert kept in {None, key.read_bytes()}
        host.ok("log", "witness", "sign", "new")


def test_a_killed_stamp_leaves_the_file_as_it_was_or_with_the_stamp(base, tmp_path):
    """Nothing of it touches a store."""
    watched = watch(base.copy(tmp_path / "watched"))
    authority = Authority()
    authority.root_file(watched.home / "root.pem")
    (note,) = read_notes((watched.home / "anchors").read_bytes())
    (watched.home / "answer").write_bytes(authority.answer(stamp_request(note.text)))
    met = set()
    for host, _ in killed_everywhere(watched, tmp_path, *STAMP, step=1):
        (found,) = read_notes((host.home / "anchors").read_bytes())
        assert found.text == note.text
        met.add(len(found.signatures))
        again = host.run(*STAMP)
        assert again.code == 0 or again.error["code"] == "time-stamp-exists", again
        verified = host.ok("log", "verify", "--anchors", "anchors", "--tsa-root", "root.pem")
        assert verified["anchors"][0]["counted"] is True
    assert met == {2, 3}
