"""Commands killed (SIGKILL) at every boundary they cross, and imports killed while they run.

Each case begins with the same ledger in a folder of its own, and the command is killed at one
boundary of it: see `killing`. After every kill the same is asked: the log verifies, every view is
its fold, the next command works without repair, what was answered is there, and what the command
does is there as a whole or not at all.

An import is killed from outside at moments told by the log itself: as soon as so many of its rows
are committed.
"""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from ledger.sealing.keyring_file import read_keyring, update_keyring_file
from ledger.sealing.keyring_parsing import parse_keyring
from ledger.sealing.slots import key_file, seal_root
from tests.faults.killing import CLOSE, TORTURED, killed_everywhere, moments_of
from tests.faults.running import KILLED, Host, until
from tests.faults.writes import VALUES, WRITES

BATCH = 500


def opens(host, passphrase_file, *arguments):
    """Whether this passphrase unlocks; a wrong one must say that it is wrong."""
    how = {"CREDLEDGER_KEY_FILE": "", "CREDLEDGER_PASSPHRASE_FILE": passphrase_file}
    ended = host.run("key", "slot", "list", *arguments, environment=how)
    assert ended.code == 0 or (ended.code, ended.error["code"]) == (6, "wrong-passphrase"), ended
    return ended.code == 0


def test_a_killed_init_goes_on_at_the_next_init(bare, tmp_path):
    """Whatever was made already is used, and what stands there is one whole ledger."""
    for host, ended in killed_everywhere(bare, tmp_path, "init", "--label", "ann"):
        before = host.run("log", "verify")
        assert before.code in {0, 3}, before
        again = host.run("init", "--label", "ann")
        if before.code == 0:
            assert again.error["code"] == "ledger-exists"
        else:
            assert again.code == 0, (host.boundaries(), again)
        assert not ended.out or before.code == 0
        assert host.is_whole()["size"] == 2


def test_a_killed_init_leaves_a_whole_key_file_or_none(nursery, tmp_path):
    """The next init makes it, or uses it; nothing else stays in its folder."""
    bare = Host(nursery, tmp_path / "bare")
    seen = set()
    for host, _ in killed_everywhere(bare, tmp_path, "init", "--label", "ann"):
        key = host.home / "secret" / "key"
        seen.add(key.exists())
        assert not key.exists() or len(key.read_bytes()) == 32, host.boundaries()
        again = host.run("init", "--label", "ann")
        assert again.code == 0 or again.error["code"] == "ledger-exists", again
        assert [one.name for one in key.parent.iterdir()] == ["key"]
        assert key.stat().st_mode & 0o777 == 0o600
        assert host.is_whole()["size"] == 2
    assert seen == {True, False}


def test_an_empty_key_file_of_an_older_kill_says_what_it_is(nursery, tmp_path):
    """Deleted, as the hint says, it is made anew."""
    host = Host(nursery, tmp_path / "host")
    key = host.home / "secret" / "key"
    key.parent.mkdir()
    key.touch(mode=0o600)
    ended = host.fails(6, "key-file-empty", "init", "--label", "ann")
    assert "Delete it" in ended.error["hint"]
    key.unlink()
    host.ok("init", "--label", "ann")


EVERYWHERE = ("credential set", "credential delete", "app create", "app delete", "role grant")


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_killed_change_is_there_or_absent(base, tmp_path, name):
    """What was answered is there; run again it does its work or finds it done."""
    write = WRITES[name]
    arguments, topics = write.arguments, list(write.topics)
    position = base.position()
    seen = set()
    for host, ended in killed_everywhere(base, tmp_path, *arguments, stdin=VALUES):
        host.is_whole()
        there = host.topics(position)
        assert there in ([], topics), host.boundaries()
        assert there or not ended.out
        seen.add(bool(there))
        again = host.run(*arguments, stdin=VALUES)
        assert again.code == (write.again if there else 0), again
    assert seen == {True, False}


def test_a_killed_restore_is_finished_by_the_next(on_both, tmp_path):
    """Killed anywhere on the way; the same command again does what is left, and no more."""
    base = on_both.copy(tmp_path / "mistaken")
    position = base.position()
    base.ok("app", "delete", "Reports", "--yes")
    base.ok("credential", "set", "payroll", "--owner", "user:ann", "--values", "-", stdin=VALUES)
    arguments = ("replay", "restore", "--position", str(position), "--all", "--yes")
    wanted = base.ok("replay", "state", "--position", str(position))
    before, seen = base.position(), set()
    for host, _ in killed_everywhere(base, tmp_path, *arguments):
        host.is_whole()
        seen.add(len(host.topics(before)))
        host.ok(*arguments)
        assert host.topics(before) == [
            "application.created",
            "credential.deleted",
            "credential.restored",
        ]
        now = host.ok("replay", "state", "--at", "now")
        assert [one["owner"] for one in now["credentials"]] == [
            one["owner"] for one in wanted["credentials"]
        ]
        host.is_whole()
    assert {0} < seen <= {0, 1, 3}
    if base.server is None:
        assert seen == {0, 1, 3}
    else:
        base.drop_database()


def test_a_killed_apply_has_applied_the_whole_file_or_nothing(on_both, tmp_path):
    """The next run does it, or finds it done, and leaves what an untouched one does."""
    arguments = ("app", "apply", "applications.toml")
    untouched = on_both.copy(tmp_path / "untouched")
    untouched.ok(*arguments)
    position, wanted = on_both.position(), untouched.run("app", "export", as_json=False).out
    all_topics, seen = untouched.topics(position), set()
    for host, ended in killed_everywhere(on_both, tmp_path, *arguments):
        host.is_whole()
        there = host.topics(position)
        assert there in ([], all_topics)
        assert there or not ended.out
        seen.add(bool(there))
        host.ok(*arguments)
        assert host.run("app", "export", as_json=False).out == wanted
        assert host.topics(position) == all_topics
    assert seen == {True, False}


@pytest.mark.parametrize("command", ["get", "exec"])
def test_nothing_is_released_by_a_killed_command_without_its_record(on_both, tmp_path, command):
    """Whoever saw a value has a record in the log."""
    reading = ("Reports", "--as", "service:nightly")
    program = ("--", "sh", "-c", 'echo "$PASSWORD"')
    arguments = (
        ("exec", *reading, *program) if command == "exec" else ("credential", "get", *reading)
    )
    position = on_both.position()
    seen = set()
    for host, ended in killed_everywhere(on_both, tmp_path, *arguments):
        there = host.topics(position)
        assert there in ([], ["access.granted"])
        assert there or b"canary" not in ended.both
        seen.add(bool(there))
        host.is_whole()
        assert b"canary-91c4" in host.run(*arguments).out
        assert host.topics(position) == [*there, "access.granted"]
    assert seen == {True, False}


def test_a_killed_read_leaves_a_whole_receipt_or_none(on_both, tmp_path):
    """One that is there holds, and is of the record; the next read makes one without repair."""
    get = ("credential", "get", "Reports", "--as", "service:nightly", "--receipt", "receipt.json")
    position = on_both.position()
    seen = set()
    for host, ended in killed_everywhere(on_both, tmp_path, *get):
        receipt, there = host.home / "receipt.json", host.topics(position)
        if receipt.exists():
            found = host.ok("log", "proof", "--check", "receipt.json")
            assert (found["position"], there) == (position + 1, ["access.granted"])
            receipt.unlink()
        else:
            assert b"canary" not in ended.both
        seen.add(bool(there))
        host.is_whole()
        assert b"canary-91c4" in host.run(*get).out
        assert host.ok("log", "proof", "--check", "receipt.json")["position"] > position
        assert [one.name for one in host.home.glob(".receipt*")] == []
    assert seen == {True, False}


READS = """
import os
from ledger.claims import parse_claim
from ledger.policy import Caller
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.wiring import open_session

with open_session(decide(Given()), StandardInput()) as session:
    for _ in range(4):
        found = session.ledger.retrieve(Caller(parse_claim("service:nightly")), "Reports")
        os.write(1, b"%d\\n" % found.position)
"""


def test_a_program_that_is_killed_while_it_reads_was_answered_nothing_unrecorded(on_both, tmp_path):
    """Each answer it had is a record in the log, at the position it was told."""
    position = on_both.position()
    counts = set()
    for host, ended in killed_everywhere(on_both, tmp_path, "reads", script=READS, step=1):
        answered = [int(number) for number in ended.out.split()]
        there = host.topics(position)
        assert there == ["access.granted"] * len(there)
        assert answered == list(range(position + 1, position + 1 + len(answered)))
        assert len(answered) <= len(there)
        counts.add(len(answered))
        assert host.ok("log", "verify")["ok"]
    assert counts >= {0, 4}


def test_after_a_killed_change_of_passphrase_exactly_one_opens(on_both, tmp_path):
    """The old one or the new one, never both and never none; and the change can be made."""
    how = {"CREDLEDGER_KEY_FILE": "", "CREDLEDGER_PASSPHRASE_FILE": "first"}
    change = ("key", "passphrase", "--argon2-memory", "19", "--new-passphrase-file")
    seen = set()
    for host, ended in killed_everywhere(on_both, tmp_path, *change, "second", environment=how):
        host.is_whole()
        old, new = opens(host, "first"), opens(host, "second")
        assert old != new, host.boundaries()
        assert new or not ended.out
        seen.add(new)
        if not new:
            host.ok(*change, "second", environment=how)
            assert opens(host, "second")
    assert seen == {True, False}


ADD = ("key", "slot", "add", "passphrase", "--argon2-memory", "19")
DORA = ("--label", "dora", "--new-passphrase-file", "second")
AS_DORA = {"CREDLEDGER_KEY_FILE": "", "CREDLEDGER_PASSPHRASE_FILE": "second"}


SLOTS = """
import json
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.wiring import open_session

with open_session(decide(Given()), StandardInput()) as session:
    print(json.dumps([slot[1] for slot in session.ledger.status().slots]))
"""
AFTER_ANOTHER = """
import os
from ledger.sealing.slots import Argon2Cost, key_file
from ledger.usecases.acting import Acting
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.wiring import open_session

with open_session(decide(Given()), StandardInput()) as session:
    made = {"opens": "operator", "holding": key_file(os.urandom(32)), "cost": Argon2Cost(19 * 1024)}
    one = session.ledger.add_slot(Acting(), label="one", **made).slot
    session.ledger.remove_slot(Acting(), one, mislaid=True)
    session.ledger.remove_slot(Acting(), 2, mislaid=True)
    print(session.ledger.add_slot(Acting(), label="two", **made).slot)
"""


def in_file(host):
    """The slots that the keyring's file holds, whatever the log says."""
    return {slot.label: slot.id for slot in read_keyring(host.keyring).slots}


def found_by_doctor(host):
    """What is said of slots, by code."""
    findings = host.ok("doctor")["findings"]
    return {one["code"]: one for one in findings if one["code"].startswith("slot-")}


def unfinished(base, tmp_path):
    """Copies in which the file has a slot that the log was not told of any more."""
    for host, _ in killed_everywhere(base, tmp_path, *ADD, *DORA, step=CLOSE):
        if "dora" in in_file(host) and not host.topics(base.position()):
            yield host


def test_a_slot_that_was_being_added_opens_only_once_the_log_knows_it(on_both, tmp_path):
    """Before that nobody gets in by it, and slots can be added as ever."""
    position, slots = on_both.position(), on_both.ok("key", "slot", "list")
    seen = set()
    for host, ended in killed_everywhere(on_both, tmp_path, *ADD, *DORA):
        host.is_whole()
        there = host.topics(position)
        assert there in ([], ["slot.added"])
        assert there or not ended.out
        seen.add(bool(there))
        assert len(host.ok("key", "slot", "list")) == len(slots) + len(there)
        assert len(host.ok("key", "status")["slots"]) == len(slots) + len(there)
        entered = host.run("credential", "list", environment=AS_DORA)
        assert (entered.code == 0) == bool(there), entered
        assert there or entered.code == 6
        host.ok("key", "slot", "add", "key-file", "--label", "eve", "--new-key-file", "eve")
        assert set(in_file(host)) == {slot["label"] for slot in host.ok("key", "slot", "list")}
        assert not found_by_doctor(host)
    assert seen == {True, False}


PAIRS = """
import json
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.wiring import open_session

with open_session(decide(Given()), StandardInput()) as session:
    held = [pair.made_at for pair in session.ledger.trust.service_pairs()]
    print(json.dumps([held, [pair.made_at for pair in session.ledger.trust.published().kept]]))
"""
NEW_PAIR = ("key", "service", "rotate")


def test_a_killed_new_pair_of_the_service_is_published_or_gives_way(on_both, tmp_path):
    """Whatever is published opens at every moment; the next one leaves nothing unpublished."""
    begun = on_both.copy(tmp_path / "begun")
    begun.ok(*NEW_PAIR)
    begun.settle()
    position, ((first,), _) = begun.position(), begun.ok("pairs", script=PAIRS)
    seen = set()
    for host, ended in killed_everywhere(begun, tmp_path, *NEW_PAIR):
        host.is_whole()
        there = host.topics(position)
        assert there in ([], ["service-key.made"])
        assert there or not ended.out
        held, published = host.ok("pairs", script=PAIRS)
        assert held[: len(published)] == published
        assert held[0] == first
        seen.add((len(held), len(published)))
        host.ok(*NEW_PAIR)
        held, after = host.ok("pairs", script=PAIRS)
        assert held == after == [published[-1], after[-1]]
    assert seen >= {(1, 1), (2, 2)}
    if begun.server is not None:
        begun.drop_database()


def test_an_unfinished_slot_does_not_stand_in_the_way_of_the_next(base, tmp_path):
    """The same label, or the same passphrase under another, goes through and opens."""
    met = 0
    for host in unfinished(base, tmp_path):
        met += 1
        found = found_by_doctor(host)["slot-unfinished"]
        assert "4" in found["message"]
        assert "key slot remove 4" in found["mend"]
        assert host.ok("slots", script=SLOTS) == ["ann", "ben", "cleo"]
        other = host.copy(tmp_path / f"other {met}")
        host.ok(*ADD, *DORA)
        other.ok(*ADD, "--label", "dora again", *DORA[2:])
        for one in (host, other):
            assert one.ok("credential", "list", environment=AS_DORA)
            assert not found_by_doctor(one)
            assert len(in_file(one)) == 4
            one.is_whole()
    assert met


def test_a_passphrase_that_opens_several_slots_opens_the_one_that_the_log_knows(base, tmp_path):
    """Wherever the unfinished one stands in the file."""
    for met, host in enumerate(unfinished(base, tmp_path)):
        hidden = host.keyring.read_bytes()
        host.ok(*ADD, *DORA)
        unlocked = read_keyring(host.keyring).unlock(
            key_file((host.home / "secret" / "key").read_bytes())
        )
        left = next(slot for slot in parse_keyring(hidden).slots if slot.label == "dora")
        slots = (left, *unlocked.keyring.slots)
        update_keyring_file(
            host.keyring,
            unlocked,
            lambda _, slots=slots, held=unlocked: (
                held.keyring.with_slots(
                    tuple(
                        replace(slot, sealed_root=seal_root(held.ledger_id, slot, held.root))
                        if slot.opens == "operator"
                        else slot
                        for slot in slots
                    ),
                    held.root,
                ),
                held.root,
                None,
            ),
        )
        assert "slot-unfinished" in found_by_doctor(host)
        told = host.ok("status", environment=AS_DORA)
        assert told["unlocked_by"] == "operator:5/dora"
        named = {**AS_DORA, "CREDLEDGER_PASSPHRASE_FILE": "second"}
        host.fails(6, "slot-removed", "status", "--slot", "4", environment=named)
        if met:
            return


def test_one_unlock_adds_and_removes_one_after_another(base, tmp_path):
    """A new root that it made itself is no other one's change."""
    host = base.copy(tmp_path / "host")
    assert host.ok("slots", script=AFTER_ANOTHER) == 5
    assert set(in_file(host)) == {"ann", "cleo", "two"}
    host.is_whole()


def test_two_at_a_time_add_their_slots_one_after_the_other(base, tmp_path):
    """Neither takes the other's for an unfinished one."""
    host = base.copy(tmp_path / "host")
    running = [
        host.start(*ADD, "--label", f"slot {number}", "--new-passphrase-file", "second")
        for number in range(4)
    ]
    added = sorted(one.wait().json["slot"] for one in running)
    assert added == [4, 5, 6, 7]
    assert len(in_file(host)) == len(host.ok("key", "slot", "list")) == 7
    assert not found_by_doctor(host)
    host.is_whole()


def test_an_unfinished_slot_can_be_removed(base, tmp_path):
    """It is gone from the file, exit 0, and nothing is recorded of what was never recorded."""
    position = base.position()
    for host in unfinished(base, tmp_path):
        said = host.run("key", "slot", "remove", "4", "--mislaid", "--yes", as_json=False)
        assert said.code == 0, said
        assert b"never recorded" in said.out
        assert host.topics(position) == []
        assert set(in_file(host)) == {"ann", "ben", "cleo"}
        before = host.keyring.read_bytes()
        host.fails(3, "no-such-slot", "key", "slot", "remove", "4", "--mislaid", "--yes")
        assert host.keyring.read_bytes() == before
        host.is_whole()
        return


def test_a_slot_can_be_added_after_the_file_lost_one_to_a_killed_removal(base, tmp_path):
    """The removal is named with what finishes it, and finished at any time."""
    remove = ("key", "slot", "remove", "2", "--mislaid", "--yes")
    met = 0
    for host, _ in killed_everywhere(base, tmp_path, *remove, step=CLOSE):
        if "ben" in in_file(host) or host.topics(base.position()):
            continue
        met += 1
        found = found_by_doctor(host)["slot-not-in-file"]
        assert "key slot remove 2" in found["mend"]
        assert len(host.ok("key", "slot", "list")) == 3
        host.ok(*ADD, *DORA)
        assert host.ok(*remove)["position"] == host.position()
        assert not found_by_doctor(host)
        assert host.ok("credential", "list", environment=AS_DORA)
        host.is_whole()
    assert met


def test_a_removed_slot_opens_nothing_once_its_removal_was_answered(on_both, tmp_path):
    """A killed removal has happened, or happens when it is run again; the others still open."""
    remove = ("key", "slot", "remove", "2", "--mislaid", "--yes")
    position = on_both.position()
    seen = set()
    for host, ended in killed_everywhere(on_both, tmp_path, *remove):
        host.is_whole()
        there = host.topics(position)
        assert there in ([], ["slot.removed"])
        assert there or not ended.out
        seen.add(bool(there))
        again = host.run(*remove)
        assert again.code == (5 if there else 0), again
        assert host.topics(position) == ["slot.removed"]
        assert not opens(host, "first")
        assert [slot["id"] for slot in host.ok("key", "slot", "list")] == [1, 3]
    assert seen == {True, False}


def test_a_killed_export_of_an_auditors_keyring_leaves_a_whole_file_or_none(on_both, tmp_path):
    """The file that is there opens; where none is, or under another name, it is exported again."""
    export = ("key", "slot", "export-auditor", "3")
    how = {
        "CREDLEDGER_KEY_FILE": "",
        "CREDLEDGER_PASSPHRASE_FILE": "third",
        "CREDLEDGER_KEYRING": "auditor/keyring",
    }
    seen = set()
    for host, ended in killed_everywhere(on_both, tmp_path, *export, "auditor/keyring"):
        there = (host.home / "auditor" / "keyring").exists()
        assert there or not ended.out
        seen.add(there)
        if not there:
            host.ok(*export, "auditor/keyring")
        assert host.ok("credential", "list", environment=how)
        host.is_whole()
    assert seen == {True, False}


def lines(count, version=1):
    people = (
        {
            "application": "payroll",
            "owner": f"user:p{number}",
            "fields": {"User": f"p{number}", "Password": f"canary-{version}-{number}"},
        }
        for number in range(count)
    )
    return "".join(json.dumps(one) + "\n" for one in people)


@pytest.mark.parametrize("batches", [0, 1, 3, 5] if TORTURED else [0, 3])
def test_a_killed_import_keeps_whole_batches_and_resumes(base, tmp_path, batches):
    """Every committed batch is there, no part of another, and the next run does the rest."""
    count = (batches + 5) * BATCH  # so many are left when it is seen and killed
    host = base.copy(tmp_path / "host")
    (host.home / "people.jsonl").write_text(lines(count))
    before = host.position()
    running = host.start("credential", "import", "people.jsonl")
    until(lambda: host.position() > before + batches * BATCH)
    acknowledged = host.position() - before
    running.kill()
    assert running.wait().code == KILLED
    there = host.position() - before
    assert acknowledged <= there < count
    assert there % BATCH == 0
    digests = {view["name"]: view["digest_before"] for view in rebuilt(host)}
    host.is_whole()
    listed = host.ok("credential", "list", "--app", "payroll")
    assert {row["owner"] for row in listed} == {f"user:p{number}" for number in range(there)}
    last = ("credential", "get", "payroll", "--as", f"user:p{there - 1}", "--field", "Password")
    assert host.run(*last, as_json=False).out == f"canary-1-{there - 1}\n".encode()
    answer = host.ok("credential", "import", "people.jsonl")
    assert (answer["imported"], answer["unchanged"]) == (count - there, there)
    assert len(host.ok("credential", "list", "--app", "payroll")) == count
    assert digests["application_catalogue"] == rebuilt(host)[2]["digest_after"]
    host.is_whole()


def test_an_import_killed_on_a_server_keeps_whole_batches_and_resumes(base_on_server, tmp_path):
    """Every answered batch is there, no part of another, and the next run does the rest."""
    count = BATCH + 1
    offered = ("credential", "import", "people.jsonl")
    offering = base_on_server.copy(tmp_path / "offering")
    (offering.home / "people.jsonl").write_text(lines(count))
    position, seen = offering.position(), set()
    moments = moments_of(offering, tmp_path, *offered)
    for moment in moments if TORTURED else moments[-3:]:
        host = offering.copy(tmp_path / str(moment))
        assert host.run(*offered, kill_at=moment).code == KILLED
        host.settle()
        there = host.position() - position
        assert there in {0, BATCH, count}
        seen.add(there)
        answer = host.ok(*offered)
        assert (answer["imported"], answer["unchanged"]) == (count - there, there)
        assert len(host.ok("credential", "list", "--app", "payroll")) == count
        host.is_whole()
        host.drop_database()
    assert len(seen) > 1
    offering.drop_database()


def rebuilt(host):
    """The views' digests, all equal before and after a rebuild."""
    views = host.ok("replay", "rebuild")["views"]
    assert all(view["same"] for view in views), views
    return views


def test_a_killed_import_of_new_values_leaves_each_mapping_old_or_new(base, tmp_path):
    """A second import that changes every value is resumed as the first one is."""
    count = 4 * BATCH
    host = base.copy(tmp_path / "host")
    (host.home / "old.jsonl").write_text(lines(count))
    (host.home / "new.jsonl").write_text(lines(count, 2))
    host.ok("credential", "import", "old.jsonl")
    before = host.position()
    running = host.start("credential", "import", "new.jsonl")
    until(lambda: host.position() > before)
    running.kill()
    assert running.wait().code == KILLED
    host.is_whole()
    versions = [row["version"] for row in host.ok("credential", "list", "--app", "payroll")]
    changed = versions.count(2)
    assert changed + versions.count(1) == count
    assert changed % BATCH == 0
    assert changed > 0
    answer = host.ok("credential", "import", "new.jsonl")
    assert (answer["imported"], answer["unchanged"]) == (count - changed, changed)
    host.is_whole()
