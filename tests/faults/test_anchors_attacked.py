"""Attacks on a log that no host remembers, by somebody with full rights on the database.

The one who checks has no keyring, no host's memory and no pinned id: only a file of anchors that
lay elsewhere, and the public key of the witness that signed them. The attacker has no key that is
live, but in some cases one that was ended. Each attack is told by `log verify --anchors`, with exit
8 and the place; what comes after the newest anchor is not, which is shown as well.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.anchors.signed_note import NoteSignature, read_notes
from ledger.log.checkpoint import key_hash
from ledger.log.rows import OPERATOR, CommitRow, LogRow, signers_digest
from ledger.log.signers import HeadSigner
from ledger.log.snapshot import LOG_COLUMNS
from ledger.log.verification import verify_log
from ledger.sealing.epochs import period_of
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import passphrase
from ledger.tree import Frontier
from ledger.usecases.acting import Acting
from tests.conftest import new_house
from tests.faults import whole_copies
from tests.faults.hosts import SECOND, copied, with_second_slot
from tests.faults.test_hosts_memory import create, put_back, size_of
from tests.faults.test_tampering import attack, recompute_leaves
from tests.ledger.archive.conftest import archived
from tests.tools.conftest import Cli

ANCHORS_SAY = {"anchor-signature", "anchor-signer-unknown", "bad-signer", "forked", "rolled-back"}


@dataclass
class Kept:
    """What the one who checks has, and what the attacker found."""

    house: object
    cli: Cli
    anchors: Path
    key: str
    sizes: list[int]
    stolen: object = None
    """The keyring of an operator's slot that was removed since."""

    def sign(self) -> None:
        self.cli.ok("log", "witness", "sign", "witness", "--out", str(self.anchors))
        self.sizes.append(size_of(self.house))

    def verify(self, *arguments, key: bool = True):
        trusted = ("--witness-key", self.key) if key else ()
        return self.cli("log", "verify", "--anchors", str(self.anchors), *trusted, *arguments)

    def found(self, *arguments) -> list[tuple[str, int]]:
        """The checks that fail, with the position they name; exit 8 if there is one."""
        answer = self.verify(*arguments)
        bad = [one for one in answer.json["checks"] if not one["ok"]]
        assert answer.code == (8 if bad else 0), answer
        if bad and bad[0]["name"] in ANCHORS_SAY:
            self.is_not_packed(bad[0]["name"], *arguments)
        return [(one["name"], int(one["detail"].rsplit(" ", 1)[1].rstrip(")"))) for one in bad]

    def is_not_packed(self, code: str, *arguments: str) -> None:
        """`audit pack` ends with the code of the first check that fails, and leaves nothing."""
        anchored = ("--anchors", str(self.anchors), "--witness-key", self.key)
        self.cli.fails(8, code, "audit", "pack", "packs/one", *anchored, *arguments)
        assert list(Path("packs").iterdir()) == []


def elsewhere(house, tmp_path, monkeypatch) -> Cli:
    """The commands on a machine that has nothing but a way to the database."""
    place = tmp_path / "auditor"
    place.mkdir()
    monkeypatch.chdir(place)
    cli = Cli(place)
    del cli.environment["CREDLEDGER_KEY_FILE"]
    cli.environment["CREDLEDGER_STORE"] = house.store_url or f"sqlite://{house.store_path}"
    return cli


def filled(house) -> None:
    with_second_slot(house)
    ledger = house.open()
    create(ledger, "CRM")
    ledger.close()


@pytest.fixture
def kept(prepared, tmp_path, monkeypatch):
    """A log that was anchored twice; between the two a slot was removed, whose key was stolen."""
    house = prepared(filled)
    cli = elsewhere(house, tmp_path, monkeypatch)
    ledger_id = read_keyring(house.keyring_path).ledger_id.hex()
    key = cli.ok("log", "witness", "init", "witness", "--ledger-id", ledger_id, "--name", "w")
    made = Kept(house, cli, tmp_path / "anchors", key["witness_key"], [])
    made.sign()
    made.stolen = read_keyring(house.keyring_path).unlock(passphrase(SECOND))
    ledger = house.open()
    ledger.remove_slot(Acting(), made.stolen.slot.id, mislaid=True)
    create(ledger, "Desk")
    ledger.close()
    made.sign()
    return made


def stored_rows(house) -> list[LogRow]:
    said = f"SELECT {LOG_COLUMNS} FROM log ORDER BY position"
    return [LogRow(*map(_plain, columns)) for columns in house.sql(said)]


def _plain(value):
    return bytes(value) if isinstance(value, memoryview) else value


def rewrite(kept: Kept, size: int, count: int) -> None:
    """From this size on another log of so many rows, signed by the key that was ended later.

    The rows open nowhere, and no keyless check can say so; the end of the key is taken out.
    """
    house = kept.house
    put_back(house, size)
    attack(house, f"DELETE FROM signers WHERE change = 'end' OR from_size >= {size}")
    rows = stored_rows(house)
    with house.store().reading() as reading:
        ledger, signers = reading.ledger(), reading.signers()
    signer = HeadSigner(ledger, kept.stolen.signing_key, OPERATOR)
    frontier = Frontier().extend(row.leaf for row in rows)
    stream, last = os.urandom(16), rows[-1]
    for number in range(1, count + 1):
        moment = last.recorded_at + number
        row = LogRow(
            position=size + number,
            stream=stream,
            version=number,
            topic="access.granted",
            epoch=last.following_epoch,
            period=period_of(moment),
            recorded_at=moment,
            sealed=os.urandom(200),
            leaf=b"",
        )
        row = row._replace(leaf=row.computed_leaf(ledger.id))
        frontier = frontier.extend([row.leaf])
        commit = signer.commit(frontier, signers_digest(ledger.id, signers, frontier.size))
        _insert(house, row, commit)


def _insert(house, row: LogRow, commit: CommitRow) -> None:
    house.sql(f"INSERT INTO log ({LOG_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *row)
    _insert_commit(house, commit)


def _insert_commit(house, commit: CommitRow) -> None:
    house.sql(
        "INSERT INTO commits (size, root, frontier, signer, signature) VALUES (?, ?, ?, ?, ?)",
        *commit,
    )


def test_what_was_anchored_is_proven_and_the_tail_is_told(kept):
    """Up to the newest anchor, with its time; the rows after it are told as such."""
    report = kept.verify().json
    first, last = kept.sizes
    assert (report["ok"], report["unanchored"]) == (True, False)
    assert (report["proven_to"], report["unanchored_rows"]) == (last, 0)
    assert [(one["size"], one["counted"]) for one in report["anchors"]] == [
        (first, True),
        (last, True),
    ]
    row = stored_rows(kept.house)[last - 1]
    assert report["proven_until"].endswith("Z")
    ledger = kept.house.open()
    create(ledger, "More")
    ledger.close()
    report = kept.verify().json
    assert (report["proven_to"], report["unanchored_rows"]) == (last, 1)
    (tail,) = (one["detail"] for one in report["checks"] if one["name"] == "unanchored-tail")
    assert f"rows after {last} that are in no anchor: 1" in tail
    assert row.position == last


def test_a_truncated_tail_is_found_up_to_the_newest_anchor(kept):
    _, last = kept.sizes
    put_back(kept.house, last - 1)
    attack(kept.house, f"DELETE FROM signers WHERE from_size >= {last - 1}")
    assert verify_log(kept.house.store()).ok
    assert kept.found() == [("rolled-back", last)]


def test_the_tail_without_its_heads_is_found(kept):
    """No anchor is needed for that, and none hides it."""
    _, last = kept.sizes
    attack(kept.house, f"DELETE FROM log WHERE position = {last}")
    assert kept.found() == [("missing-row", last)]


def test_a_whole_older_database_is_found(prepared, tmp_path, monkeypatch):
    """On each store, as it was; on a machine that remembers nothing only the anchor tells."""
    house = prepared(filled)
    cli = elsewhere(house, tmp_path, monkeypatch)
    whole_copies.copied(house)
    older = size_of(house)
    ledger = house.open()
    create(ledger, "Desk")
    ledger.close()
    ledger_id = read_keyring(house.keyring_path).ledger_id.hex()
    key = cli.ok("log", "witness", "init", "witness", "--ledger-id", ledger_id, "--name", "w")
    kept = Kept(house, cli, tmp_path / "anchors", key["witness_key"], [])
    kept.sign()
    whole_copies.put_back(house)
    assert cli.ok("log", "verify")["ok"] is True
    assert kept.found() == [("rolled-back", older + 1)]


@pytest.mark.parametrize("more", [-1, 0, 3])
def test_a_tree_rewritten_with_a_key_that_was_ended_is_found(kept, more):
    """Shorter than the newest anchor, as long, or longer; without anchors nothing is seen."""
    first, last = kept.sizes
    rewrite(kept, first, last - first + more)
    plain = kept.cli.ok("log", "verify")
    assert (plain["ok"], plain["size"]) == (True, last + more)
    expected = ("rolled-back", last) if more < 0 else ("forked", last)
    assert kept.found() == [expected]
    report = kept.verify().json
    assert report["proven_to"] == first


def test_a_tree_rewritten_below_the_first_anchor_is_found_at_each(kept):
    first, last = kept.sizes
    rewrite(kept, first - 1, last)
    assert kept.cli.ok("log", "verify")["ok"] is True
    # One check for each kind of damage: it names the earliest place.
    assert kept.found() == [("forked", first)]
    answer = kept.verify().json
    assert [one["failed"] for one in answer["anchors"]] == ["forked", "forked"]
    assert "and 1 more" in next(one["detail"] for one in answer["checks"] if not one["ok"])


def test_a_tree_whose_heads_lie_elsewhere_is_compared_at_the_anchors_size_all_the_same(kept):
    """One commit goes across it, so that no head has the size that was anchored."""
    first, last = kept.sizes
    rewrite(kept, first, last - first + 2)
    attack(kept.house, f"DELETE FROM commits WHERE size > {first} AND size < {last + 2}")
    assert kept.cli.ok("log", "verify")["ok"] is True
    assert kept.found() == [("forked", last)]


def test_a_true_log_whose_anchored_head_is_gone_agrees(kept):
    """The next head's tree holds the rows; the anchor is held against the leaves."""
    ledger = kept.house.open()
    create(ledger, "More")
    ledger.close()
    attack(kept.house, f"DELETE FROM commits WHERE size = {kept.sizes[-1]}")
    report = kept.verify().json
    assert (report["ok"], report["proven_to"]) == (True, kept.sizes[-1])


def test_the_end_of_a_key_taken_out_is_found_though_the_rows_are_the_same(kept):
    """Every later head names the digest of all signers."""
    attack(kept.house, "DELETE FROM signers WHERE change = 'end'")
    failed = kept.found()
    assert ("bad-signature", failed[0][1]) == failed[0]
    assert failed[0][1] > kept.sizes[0]


def test_a_removal_undone_over_the_same_rows_is_found(kept):
    """The ended key signs the true rows anew, as if it had never ended, to go on from there."""
    house, (first, last) = kept.house, kept.sizes
    attack(house, "DELETE FROM signers WHERE change = 'end'")
    attack(house, f"DELETE FROM commits WHERE size > {first}")
    with house.store().reading() as reading:
        ledger, signers = reading.ledger(), reading.signers()
    frontier = Frontier().extend(row.leaf for row in stored_rows(house))
    signer = HeadSigner(ledger, kept.stolen.signing_key, OPERATOR)
    _insert_commit(house, signer.commit(frontier, signers_digest(ledger.id, signers, last)))
    plain = kept.cli.ok("log", "verify")
    assert (plain["ok"], plain["size"]) == (True, last)
    assert kept.found() == [("bad-signer", last)]


def test_a_checkpoint_that_an_ended_key_signs_is_none(kept, tmp_path):
    """It tells the true root, and counts for nothing."""
    (*_, note) = read_notes(kept.anchors.read_bytes())
    key = kept.stolen.signing_key
    ledger_id = read_keyring(kept.house.keyring_path).ledger_id
    line = NoteSignature(
        note.signatures[0].name,
        key_hash(ledger_id, key.public_key().public_bytes_raw()),
        key.sign(note.text),
    )
    kept.anchors = tmp_path / "plain"
    kept.anchors.write_text(f"{note.text.decode()}\n{line.line()}")
    assert kept.found() == [("anchor-signature", kept.sizes[-1])]


def test_an_altered_row_below_an_anchor_is_found_with_a_leaf_that_fits(kept):
    attack(kept.house, "UPDATE log SET recorded_at = recorded_at + 1 WHERE position = 3")
    recompute_leaves(kept.house)
    (failed,) = kept.found()
    assert failed[1] in {3, 4, kept.sizes[0]}


DELETED = {
    "every row": tuple(f"DELETE FROM {name}" for name in ("ledger", "log", "commits", "signers")),
    "every table": tuple(f"DROP TABLE {name}" for name in ("ledger", "log", "commits", "signers")),
    "the ledger's row": ("DELETE FROM ledger",),
    "the ledger's id": ("UPDATE ledger SET id = zeroblob(32)",),
}


@pytest.mark.parametrize("name", DELETED)
def test_a_ledger_that_is_gone_or_renamed_is_found_by_its_anchors(kept, name):
    """Without them it is none at all, or one that was never made."""
    attack(kept.house, *DELETED[name])
    answer = kept.verify()
    assert answer.code == 8, answer
    failed = {one["name"] for one in answer.json["checks"] if not one["ok"]}
    assert failed & {"rolled-back", "altered-ledger", "ledger-id", "bad-signer"}


def test_another_ledger_in_its_place_is_told_and_with_a_pinned_id_is_damage(kept, tmp_path):
    other = new_house(tmp_path / "other")
    other.found()
    kept.cli.environment["CREDLEDGER_STORE"] = f"sqlite://{other.store_path}"
    answer = kept.verify()
    assert (answer.code, answer.error["code"]) == (2, "anchor-of-another-ledger")
    pinned = read_keyring(kept.house.keyring_path).ledger_id.hex()
    answer = kept.verify("--ledger-id", pinned)
    assert answer.code == 8
    assert "ledger-id" in {one["name"] for one in answer.json["checks"] if not one["ok"]}
    other.close()


def test_a_checkpoint_that_was_kept_does_as_an_anchor(kept, tmp_path):
    """It needs no witness: the log's own signature, kept elsewhere, is enough against all this."""
    note = kept.cli.ok("log", "checkpoint")["note"]
    kept.anchors = tmp_path / "plain"
    kept.anchors.write_text(note)
    report = kept.verify(key=False).json
    assert (report["ok"], report["proven_to"]) == (True, kept.sizes[-1])
    rewrite(kept, kept.sizes[0], 9)
    assert kept.found() == [("forked", kept.sizes[-1])]


def test_a_checkpoint_by_a_key_that_went_with_the_rows_is_no_longer_anybodys(kept, tmp_path):
    """A new slot signed it; with its beginning the log lost everything that it signed."""
    house = kept.house
    with_second_slot(house)
    other = copied(house, "second")
    ledger = other.open_with(read_keyring(other.keyring_path).unlock(passphrase(SECOND)))
    create(ledger, "New")
    ledger.close()
    kept.anchors = tmp_path / "plain"
    kept.anchors.write_text(kept.cli.ok("log", "checkpoint")["note"])
    size = size_of(house)
    assert kept.verify(key=False).json["proven_to"] == size
    put_back(house, kept.sizes[-1])
    attack(house, f"DELETE FROM signers WHERE from_size >= {kept.sizes[-1]}")
    assert kept.cli.ok("log", "verify")["ok"] is True
    assert kept.found() == [("anchor-signer-unknown", size)]


def test_a_witness_whose_key_was_not_named_counts_for_nothing_but_hides_nothing(kept):
    report = kept.verify(key=False).json
    assert (report["ok"], report["proven_to"], report["unanchored"]) == (True, 0, True)
    (told,) = (one for one in report["checks"] if one["name"] == "anchors-not-counted")
    assert told["detail"].endswith("not trusted: key not given")
    rewrite(kept, kept.sizes[0], kept.sizes[1])
    answer = kept.verify(key=False)
    # The log's own signature under the note is evidence against the log, whoever cosigned it.
    assert answer.code == 8


def test_what_comes_after_the_newest_anchor_is_not_found_and_that_is_told(kept):
    """The unanchored tail: here anchors end, and the threat model says so."""
    ledger = kept.house.open()
    for name in ("One", "Two"):
        create(ledger, name)
    ledger.close()
    put_back(kept.house, kept.sizes[-1])
    report = kept.verify().json
    assert (report["ok"], report["unanchored_rows"]) == (True, 0)


def test_the_witness_itself_signs_none_of_it(kept):
    """After each attack it refuses, and its memory still says what the true log was."""
    before = kept.cli.ok("log", "witness", "show", "witness")
    rewrite(kept, kept.sizes[0], 9)
    answer = kept.cli("log", "witness", "sign", "witness", "--out", str(kept.anchors))
    assert (answer.code, answer.error["code"]) == (8, "forked")
    put_back(kept.house, kept.sizes[0])
    answer = kept.cli("log", "witness", "sign", "witness", "--out", str(kept.anchors))
    assert (answer.code, answer.error["code"]) == (8, "rolled-back")
    assert kept.cli.ok("log", "witness", "show", "witness") == before


def test_an_archive_is_held_against_anchors_as_far_as_it_goes(kept, tmp_path):
    """An older archive is no damage; one that is another log is."""
    archived(kept.house, tmp_path / "archive")
    ledger = kept.house.open()
    create(ledger, "More")
    ledger.close()
    kept.sign()
    report = kept.verify("--archive", str(tmp_path / "archive")).json
    assert (report["ok"], report["proven_to"]) == (True, kept.sizes[1])
    assert [one["counted"] for one in report["anchors"]] == [True, True, False]
    assert "goes further" in report["anchors"][-1]["detail"]
    rewrite(kept, kept.sizes[0], 9)
    archived(kept.house, tmp_path / "forged")
    assert kept.found("--archive", str(tmp_path / "forged")) == [("forked", kept.sizes[1])]


def test_every_anchor_of_many_is_held_against_the_log(kept):
    """Each kind of damage is told once, at its first place, and how often it was met."""
    ledger = kept.house.open()
    for number in range(20):
        create(ledger, f"App {number}")
        kept.sign()
    ledger.close()
    report = kept.verify().json
    assert [one["size"] for one in report["anchors"]] == kept.sizes
    assert all(one["counted"] for one in report["anchors"])
    first = kept.sizes[0]
    rewrite(kept, first, 9)
    assert set(kept.found()) == {("forked", kept.sizes[1]), ("rolled-back", first + 10)}
    beyond = sum(size > first + 9 for size in kept.sizes)
    failed = [one["failed"] for one in kept.verify().json["anchors"]]
    assert (failed.count("rolled-back"), failed.count(None)) == (beyond, 1)
    assert beyond > 5
