"""`audit pack`: what is in it and what is not, that it is recorded, and what becomes of it."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

import tools.packing.packs
from ledger.claims import parse_claim
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from tests.conftest import unlocked_by_passphrase
from tests.faults.test_tampering import ATTACKS, attack, command_line, fill
from tests.ledger.test_retention import DAY_US, grow, move, opened
from tests.tools.forged_pack import tell
from tests.tools.test_backups import AUDITOR, work, worked  # noqa: F401 # a fixture
from tests.tools.test_verifier import failing, run
from tools.packing import verifier
from tools.packing.packs import Opener, create_pack
from tools.settings import Given, decide

PLAIN = {
    "manifest.json", "ledger.json", "rows.bin", "heads.bin", "checkpoint.txt", "report.txt",
    "verify.py",
}  # fmt: skip
OPENED = PLAIN | {"access.jsonl", "commitments.json"}
LOG = ("ledger.json", "rows.bin", "heads.bin", "checkpoint.txt")
NAMES = (b"payroll", b"user:ann", b"quarter end", b"Password")


def packed(cli, name: str, *options: str) -> tuple[dict, Path]:
    folder = cli.home / "packs" / name
    return cli.ok("audit", "pack", str(folder), *options), folder


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "access.jsonl").read_text().splitlines()]


def be_audited(cli):
    cli.ok("credential", "get", "payroll", "--as", "user:ann", "--reason", "quarter end")
    cli.fails(4, "access-denied", "credential", "get", "nothing", "--as", "user:mal")
    cli.ok("key", "rotate", "--without-backup", "--yes")
    cli.ok("credential", "get", "payroll", "--as", "user:ann")
    secret = cli.home / "auditor"
    secret.write_text(AUDITOR)
    secret.chmod(0o600)
    words = ("--auditor", "--label", "cleo", "--argon2-memory", "19")
    cli.ok("key", "slot", "add", "passphrase", *words, "--new-passphrase-file", str(secret))
    theirs = cli.home / "theirs" / "keyring"
    theirs.parent.mkdir()
    cli.ok("key", "slot", "export-auditor", "2", str(theirs))
    cli.theirs = ("--keyring", str(theirs), "--passphrase-file", str(secret))


@pytest.fixture
def audited(begun):
    """With reasons, a refusal, a second epoch, and an auditor."""
    return begun(work, be_audited)


def test_a_pack_needs_no_key_records_nothing_and_tells_no_name(audited):
    before = audited.ok("status")
    shutil.move(audited.home / "keys", audited.home / "away")
    made, folder = packed(audited, "plain")
    shutil.move(audited.home / "away", audited.home / "keys")
    assert {path.name for path in folder.iterdir()} == PLAIN
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert (made["position"], made["root"]) == (before["position"], before["root"])
    assert made["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert made["accesses"] is None
    assert audited.ok("status")["position"] == before["position"]
    assert not any(name in contents(folder) for name in NAMES)
    told = json.loads(run(folder, "--json", "--ledger-id", before["ledger_id"]).stdout)
    assert (told["ok"], told["size"], told["epochs"]) == (True, before["position"], 2)
    assert told["digest"] == made["digest"]
    assert [path.name for path in folder.parent.iterdir()] == ["plain"]


def test_nothing_that_is_sealed_lies_in_a_pack_without_access(audited):
    with_archive = audited.home / "archive"
    audited.ok("backup", "create", str(with_archive))
    _, folder = packed(audited, "plain")
    everything = contents(folder)
    from ledger.archive.reading import open_archive

    rows = open_archive(with_archive).rows_after(0, 1000)
    assert len(rows) > 10
    assert not any(row.sealed[:24] in everything for row in rows)


def test_opened_records_are_those_of_the_log_and_their_opening_is_one_itself(audited):
    made, folder = packed(audited, "opened", "--with-access", "--reason", "case 7")
    assert {path.name for path in folder.iterdir()} == OPENED
    found = records(folder)
    asked = audited.ok("audit", "access", "--limit", "0")[::-1]
    assert made["accesses"] == len(found) == len(asked) == 4
    for one, other in zip(found, asked, strict=True):
        event = one["record"]["e"]
        assert one["position"] == other["position"]
        assert (event["caller"], event["application"], one["record"]["r"]) == (
            other["caller"], other["application"], other["reason"],
        )  # fmt: skip
        assert str(other["position"]) in (folder / "report.txt").read_text()
    (record,) = [
        row for row in audited.ok("log", "events", "--limit", "0")
        if row["position"] == made["position"] + 1
    ]  # fmt: skip
    assert record["topic"] == "audit.queried"
    told = json.loads(run(folder, "--json").stdout)
    details = {check["name"]: check["detail"] for check in told["checks"]}
    assert details["access"] == "4 records opened from the log's own rows"
    assert details["commitments"].startswith("told for 3 epochs")


def test_an_auditors_keyring_opens_it_and_signs_for_that(audited):
    made, folder = packed(audited, "theirs", "--with-access", *audited.theirs)
    assert len(records(folder)) == made["accesses"] == 4
    again = json.loads(run(packed(audited, "later")[1], "--json").stdout)
    (auditor,) = [one for one in again["signers"] if one["class"] == "auditor"]
    assert auditor["heads"] == 1


def test_no_value_lies_in_a_pack_even_when_it_is_opened(audited):
    canaries = [f"canary-{number}-{'x' * number}" for number in range(3)]
    for number, canary in enumerate(canaries):
        audited.set("payroll", f"user:u{number}", User=canary, Password=canary)
        audited.ok("credential", "get", "payroll", "--as", f"user:u{number}")
    audited.ok("key", "rotate", "--without-backup", "--yes")
    _, folder = packed(audited, "opened", "--with-access")
    everything = contents(folder)
    assert b"user:u2" in everything
    for canary in canaries:
        for form in (canary.encode(), canary.encode().hex().encode()):
            assert form not in everything


def test_an_opened_record_cannot_be_told_otherwise(audited):
    _, folder = packed(audited, "opened", "--with-access")
    path = folder / "access.jsonl"
    lines = path.read_text().splitlines(keepends=True)

    def told(change) -> list[str]:
        entry = json.loads(lines[1])
        change(entry)
        path.write_text(lines[0] + json.dumps(entry) + "\n" + "".join(lines[2:]))
        tell(folder)
        found = failing(folder)
        assert [one[0] for one in found] == ["access"]
        return [one[1] for one in found]

    other = json.loads(lines[0])
    assert told(lambda one: one["record"]["e"].update(caller="user:eve")) == [
        "what is told of a record is not what is sealed in the log"
    ]
    told(lambda one: one["record"]["e"].update(restricted=0))  # false, but not the same
    told(lambda one: one.update(record={**one["record"], "x": 1}))
    assert told(lambda one: one.update(sealed=other["sealed"])) == [
        "sealed bytes are not those of the log's row"
    ]
    assert told(lambda one: one.update(key="00" * 32)) == ["a record does not open with its key"]
    told(lambda one: one.update(position=other["position"]))
    told(lambda one: (one.clear(), one.update(position=99, unopened="key-missing")))
    told(lambda one: one.update(unopened="because"))
    for text in (lines[1:], lines[:-1], [*lines, lines[-1]], [lines[0][:-1]], ["[1]\n"], ["\n"]):
        path.write_text("".join(text))
        tell(folder)
        assert [one[0] for one in failing(folder)] == ["access"]
    path.write_text("x" * 20_000_000)
    tell(folder)
    assert [one[0] for one in failing(folder)] == ["access"]
    path.write_text("".join(lines))
    tell(folder)
    assert failing(folder) == []


@pytest.mark.parametrize("begun", ["sqlite"], indirect=True)
def test_a_record_is_told_in_one_form_only(audited):
    """Whatever two readers of JSON could take for two things, or one could not take at all."""
    _, folder = packed(audited, "opened", "--with-access")
    path = folder / "access.jsonl"
    first, *others = path.read_text().splitlines(keepends=True)
    position = f'"position": {json.loads(first)["position"]}'
    for old, new in (
        (position, f'"position": 1, {position}'),
        (position, f"{position}.0"),
        (position, f'"position": {"9" * 5000}'),
        ('"record": {', '"record": {"x": NaN, '),
        ('"record": {', f'"record": {{"x": {"[" * 90_000}{"]" * 90_000}, '),
        ('"caller": "', '"caller": "user:eve", "caller": "'),
        ('"caller": "user:a', '"caller": "user:\u0430'),
        ('"sealed": "', '"sealed": " '),
        ('"key": "', '"key": "0x'),
        ("{", "\ufeff{"),
        ("\n", "\r\n{}\n"),
    ):
        altered = first.replace(old, new, 1)
        assert altered != first
        path.write_text("".join([altered, *others]), encoding="utf-8", newline="")
        tell(folder)
        assert [one[0] for one in failing(folder)] == ["access"], (old, new[:40])


def test_no_bit_of_an_opened_record_can_be_turned(audited):
    _, folder = packed(audited, "opened", "--with-access")
    path = folder / "access.jsonl"
    content = path.read_bytes()
    for at in range(0, len(content), 53):
        turned = bytearray(content)
        turned[at] ^= 1 << at % 8
        path.write_bytes(turned)
        tell(folder)
        assert failing(folder) != [], at


def test_commitments_of_another_form_are_seen_though_nothing_in_a_pack_proves_them(audited):
    _, folder = packed(audited, "opened", "--with-access")
    path = folder / "commitments.json"
    whole = json.loads(path.read_bytes())
    assert [one["epoch"] for one in whole] == [1, 2, 2, 3]
    assert whole[1]["state"] == whole[2]["state"]
    for wrong in ({}, [1], [{}], [{**whole[0], "epoch": 9}], [{**whole[0], "access": []}],
                  [{**whole[0], "state": "zz"}]):  # fmt: skip
        path.write_text(json.dumps(wrong))
        tell(folder)
        assert [one[0] for one in failing(folder)] == ["commitments"]


def test_a_pack_ends_at_the_last_head_up_to_a_position(audited):
    until = audited.ok("log", "events")[4]["position"]
    made, folder = packed(audited, "part", "--until", str(until))
    assert made["position"] <= until
    assert failing(folder) == []
    audited.fails(3, "beyond-the-log", "audit", "pack", str(folder) + "2", "--until", "999")
    audited.fails(2, "no-head-there", "audit", "pack", str(folder) + "2", "--until", "1")
    audited.fails(2, "usage", "audit", "pack", str(folder) + "2", "--reason", "x")
    assert [path.name for path in folder.parent.iterdir()] == ["part"]


def test_an_archive_packs_like_its_store(audited):
    archive = audited.home / "archive"
    position = audited.ok("backup", "create", str(archive))["position"]
    _, theirs = packed(audited, "archive", "--archive", str(archive))
    _, ours = packed(audited, "store", "--until", str(position))
    for name in LOG:
        assert (theirs / name).read_bytes() == (ours / name).read_bytes()
    _, opened_ours = packed(audited, "o1", "--until", str(position), "--with-access")
    before = audited.ok("status")["position"]
    folder = audited.home / "packs" / "o2"
    answer = audited(
        "audit", "pack", str(folder), "--archive", str(archive), "--with-access", *audited.theirs
    )
    assert answer.code == 0
    assert "not recorded" in answer.err
    assert audited.ok("status")["position"] == before
    assert records(folder) == records(opened_ours)


def test_a_slot_that_an_archives_log_has_ended_opens_none_of_it(audited):
    audited.ok("key", "slot", "remove", "2", "--mislaid", "--yes")
    archive, folder = audited.home / "archive", audited.home / "pack"
    audited.ok("backup", "create", str(archive))
    asked = ("audit", "pack", str(folder), "--archive", str(archive), "--with-access")
    audited.fails(6, "slot-removed", *asked, *audited.theirs)
    assert not folder.exists()


def test_another_ledgers_keyring_is_refused(audited, tmp_path):
    other = tmp_path / "other"
    store = ("--store", f"sqlite://{other}/store/ledger.db")
    audited.ok("init", "--label", "eve", *store, "--keyring", str(other / "keys" / "keyring"))
    foreign = ("--keyring", str(other / "keys" / "keyring"))
    folder = tmp_path / "pack"
    audited.fails(6, "keyring-foreign", "audit", "pack", str(folder), *foreign)
    archive = tmp_path / "archive"
    audited.ok("backup", "create", str(archive))
    for options in (["--archive", str(archive)], ["--archive", str(archive), "--with-access"]):
        audited.fails(6, "keyring-foreign", "audit", "pack", str(folder), *foreign, *options)
    assert not folder.exists()


def test_kept_heads_go_with_a_pack_if_they_are_of_its_log(audited):
    kept = audited.home / "kept"
    head = audited.ok("log", "checkpoint", "--out", str(kept))
    made, folder = packed(audited, "anchored", "--anchors", str(kept))
    assert made["anchored_to"] == head["size"]
    assert (folder / "anchors.txt").read_bytes() == kept.read_bytes()
    lines = kept.read_text().split("\n")
    kept.write_text("\n".join([lines[0], str(head["size"] - 1), *lines[2:]]))
    where = str(folder) + "2"
    error = audited.fails(8, "anchor-signature", "audit", "pack", where, "--anchors", str(kept))
    assert error["position"] == head["size"] - 1
    audited.fails(3, "no-such-file", "audit", "pack", where, "--anchors", str(folder / "none"))
    for content, code in ((b"\xff\xff\xff", "unknown-anchor"), (b"garbage\n", "unknown-anchor"),
                          (b"", "no-anchors")):  # fmt: skip
        kept.write_bytes(content)
        audited.fails(2, code, "audit", "pack", where, "--anchors", str(kept))
    assert not Path(where).exists()


def test_a_place_that_is_taken_or_cannot_be_is_refused_and_nothing_changes(audited):
    place = audited.home / "place"
    place.mkdir()
    (place / "mine").write_text("mine")
    audited.fails(5, "pack-folder-not-empty", "audit", "pack", str(place))
    audited.fails(5, "pack-folder-not-empty", "audit", "pack", str(place / "mine"))
    audited.fails(7, "pack-not-writable", "audit", "pack", str(place / "mine" / "below"))
    audited.fails(7, "pack-not-writable", "audit", "pack", "/proc/pack")
    (audited.home / "link").symlink_to(place)
    audited.fails(5, "pack-folder-not-empty", "audit", "pack", str(audited.home / "link"))
    assert [path.name for path in place.iterdir()] == ["mine"]
    (place / "mine").unlink()
    audited.ok("audit", "pack", str(audited.home / "link"))
    assert failing(place) == []


def test_what_a_kill_left_beside_the_place_gives_way(audited):
    place = audited.home / "packs" / "one"
    left = place.with_name(".one.new")
    left.mkdir(parents=True)
    (left / "rows.bin").write_text("half")
    packed(audited, "one")
    assert [path.name for path in place.parent.iterdir()] == ["one"]
    (audited.home / "packs" / ".two.new").symlink_to(place)
    packed(audited, "two")
    assert failing(place) == []


ON_DISK = [name for name in ATTACKS if "forged at the end" not in name]


@pytest.mark.parametrize("name", ON_DISK)
def test_a_log_that_was_changed_is_not_packed(prepared, tmp_path, name):
    house = prepared(fill)
    attack(house, ATTACKS[name][0])
    answer = command_line(house)("audit", "pack", str(tmp_path / "packs" / "one"))
    assert answer.code == 8, answer
    assert list((tmp_path / "packs").iterdir()) == []


class Growing:
    """A store in which somebody reads a credential before each look at the log."""

    def __init__(self, store, ledger):
        self._store = store
        self._ledger = ledger
        self.looks = 0

    @contextlib.contextmanager
    def reading(self):
        self.looks += 1
        self._ledger.retrieve(Caller(parse_claim("user:alice")), "CRM")
        with self._store.reading() as reading:
            yield reading


def settings_of(house):
    store = house.store_url or f"sqlite://{house.store_path}"
    return decide(Given(store=store, keyring=str(house.keyring_path)), {})


def test_a_pack_is_of_one_moment_while_others_append(prepared, tmp_path):
    house = prepared(fill)
    ledger = house.open()
    for _ in range(40):
        ledger.retrieve(Caller(parse_claim("user:alice")), "CRM")
    size = ledger.head().size
    source = Growing(house.store(), ledger)
    opener = Opener(ledger._desk.mapper, lambda rows: ledger.record_query(Acting(), "pack", rows))
    made = create_pack(
        settings_of(house), source, tmp_path / "pack", until=None, anchored=None, opener=opener
    )
    assert made["position"] == size + 1
    assert source.looks > 5
    assert ledger.head().size > size + source.looks
    ledger.close()
    assert failing(tmp_path / "pack") == []
    assert len(records(tmp_path / "pack")) == made["accesses"] == 42


def test_records_of_erased_months_are_told_of_as_closed(prepared_file, tmp_path):
    house = prepared_file(grow)
    ledger = opened(house)
    ledger.retention.set_policy(Acting(), 31)
    move(house, 4, 14 * DAY_US)
    erased = ledger.retention.apply(Acting())
    assert erased.records > 0
    opener = Opener(ledger._desk.mapper, lambda _: None)
    for name, until in (("pack", None), ("earlier", erased.position - 2)):
        create_pack(
            settings_of(house), house.store(), tmp_path / name,
            until=until, anchored=None, opener=opener,
        )  # fmt: skip
    ledger.close()
    closed = [one for one in records(tmp_path / "pack") if "unopened" in one]
    assert {one["unopened"] for one in closed} == {"key-destroyed"}
    assert len(records(tmp_path / "pack")) > len(closed) > 0
    report = verifier.verify(tmp_path / "pack")
    assert report.ok
    (access,) = [one for one in report.checks if one["name"] == "access"]
    word = f"; {len(closed)} closed on the word of whoever made the pack: {len(closed)} key-d"
    assert word in access["detail"]
    assert report.facts["closed"]["key-destroyed"] == len(closed)
    earlier = verifier.verify(tmp_path / "earlier")
    assert earlier.ok
    assert earlier.facts["closed"]["key-destroyed-later"] == len(closed)
    shown = (tmp_path / "pack" / "report.txt").read_text()
    assert shown.count("\tclosed: key-destroyed\n") == len(closed)


@pytest.mark.parametrize("begun", ["sqlite"], indirect=True)
def test_no_record_of_a_true_log_can_be_closed_by_itself(audited):
    """Nor can all be told of as lacking; without both files it is a pack that opens none."""
    _, folder = packed(audited, "opened", "--with-access")
    path = folder / "access.jsonl"
    lines = records(folder)
    for why in ("key-destroyed", "key-missing"):
        closed = [{"position": one["position"], "unopened": why} for one in lines]
        for told in (
            *([*lines[:at], one, *lines[at + 1 :]] for at, one in enumerate(closed)),
            closed,
        ):
            path.write_text("".join(json.dumps(one) + "\n" for one in told))
            tell(folder)
            assert "access" in {one[0] for one in failing(folder)}, (why, told)
    for name in ("access.jsonl", "commitments.json"):
        (folder / name).unlink()
    tell(folder)
    assert "None of its 4 access records is opened in it.\nThis pack holds." in run(folder).stdout


def test_nothing_is_opened_whose_opening_cannot_be_recorded(prepared_file, tmp_path):
    house = prepared_file(fill)
    cli = command_line(house)
    with contextlib.closing(sqlite3.connect(house.store_path)) as raw, raw:
        raw.execute("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'x'); END")
    seen = []
    before = tools.packing.packs.write_opened
    try:
        tools.packing.packs.write_opened = lambda *_: seen.append(1)
        assert cli("audit", "pack", str(tmp_path / "pack"), "--with-access").code != 0
    finally:
        tools.packing.packs.write_opened = before
    assert seen == []
    assert not (tmp_path / "pack").exists()


def test_a_second_run_for_the_same_place_is_refused(prepared_file, tmp_path):
    house = prepared_file(fill)
    going, go_on = threading.Event(), threading.Event()

    class Slow:
        def __init__(self, store):
            self._store = store

        @contextlib.contextmanager
        def reading(self):
            going.set()
            assert go_on.wait(20)
            with self._store.reading() as reading:
                yield reading

    def first():
        create_pack(
            settings_of(house), Slow(house.store()), tmp_path / "pack",
            until=None, anchored=None, opener=None,
        )  # fmt: skip

    thread = threading.Thread(target=first)
    thread.start()
    assert going.wait(20)
    command_line(house).fails(7, "pack-locked", "audit", "pack", str(tmp_path / "pack"))
    go_on.set()
    thread.join()
    assert failing(tmp_path / "pack") == []
    assert unlocked_by_passphrase(house.keyring_path)


def test_what_a_witness_cosigned_counts_for_whoever_checks_the_pack(worked):  # noqa: F811
    """Written by `log witness`, read by a verifier that shares nothing with it."""
    ledger_id, witness = worked.ok("status")["ledger_id"], str(worked.home / "w")
    made = worked.ok(
        "log", "witness", "init", witness, "--ledger-id", ledger_id, "--name", "w.example"
    )
    anchors = worked.home / "anchors"
    size = worked.ok("log", "witness", "sign", witness, "--out", str(anchors))["size"]
    worked.ok("credential", "get", "payroll", "--as", "user:ann")
    _, folder = packed(worked, "witnessed", "--anchors", str(anchors))
    told = run(folder, "--json", "--witness", made["witness_key"])
    assert json.loads(told.stdout)["witnessed_to"] == size
    made_with, folder = packed(
        worked, "checked", "--anchors", str(anchors), "--witness-key", made["witness_key"]
    )
    assert made_with["witnessed_to"] == size
    assert "checked of w.example" in (folder / "report.txt").read_text()
    text = anchors.read_text().rstrip("\n")
    altered = worked.home / "altered"
    altered.write_text(f"{text[:-8]}AAAAAA==\n")
    wrong = run(folder, "--json", "--anchors", str(altered), "--witness", made["witness_key"])
    assert wrong.returncode == 8
    where = str(folder) + "2"
    words = ("audit", "pack", where, "--anchors", str(altered))
    worked.fails(8, "anchor-signature", *words, "--witness-key", made["witness_key"])
    worked.fails(2, "invalid-witness-key", *words, "--witness-key", "w.example")
    worked.fails(2, "usage", "audit", "pack", where, "--witness-key", made["witness_key"])
    assert not Path(where).exists()
    unchecked = worked(*words)
    assert (unchecked.code, unchecked.json["witnessed_to"]) == (0, None)
    assert "not checked" in unchecked.err
    assert "were not checked" in (Path(where) / "report.txt").read_text()
