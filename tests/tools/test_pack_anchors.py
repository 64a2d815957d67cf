"""Kept heads in a pack: cosigned, stamped, told of, and refused where `log verify` refuses them."""

from __future__ import annotations

import base64
import json
import shlex
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ledger.anchors.cosignature import WitnessKey, cosign
from ledger.anchors.signed_note import NoteSignature, SignedNote, read_notes
from ledger.log.marks import Mark
from ledger.log.rows import LogRow
from ledger.tree import Frontier
from tests.authority import Authority
from tests.tools.forged_pack import tell
from tests.tools.test_backups import work
from tests.tools.test_verifier import failing, run
from tools.evidence import time_stamps
from tools.packing.anchored import Watch
from tools.packing.verifier import verify

OPENSSL = shutil.which("openssl")
SIZE = 4
in_a_file = pytest.mark.parametrize("begun", ["sqlite"], indirect=True)
"""What has no store in it, but for the pack that it begins with."""


class Watched:
    """A ledger whose newest head a witness cosigned, and an authority for time stamps."""

    def __init__(self, cli):
        self.cli, self.home = cli, cli.home
        self.anchors = self.home / "anchors"
        self.witness_key = cli.ok("log", "witness", "show", str(self.home / "w"))["witness_key"]
        self.authority = Authority(name="tsa")
        self.root = self.authority.root_file(self.home / "root.pem")
        (self.note,) = read_notes(self.anchors.read_bytes())

    def keep(self, *lines: NoteSignature, text: bytes | None = None) -> None:
        """The head with these signatures, or another text with them."""
        note = SignedNote(self.note.text if text is None else text, lines)
        self.anchors.write_text(note.to_text())

    def stamp(self, moment: datetime | None = None, of: bytes | None = None) -> NoteSignature:
        request = time_stamps.stamp_request(self.note.text if of is None else of)
        return time_stamps.stamp_line("tsa.example", self.authority.answer(request, moment))

    def pack(self, name: str, *options: str):
        folder = self.home / "packs" / name
        words = ("audit", "pack", str(folder), "--anchors", str(self.anchors), *options)
        return self.cli(*words), folder

    @property
    def trusting(self) -> tuple[str, ...]:
        return ("--witness-key", self.witness_key, "--tsa-root", str(self.root))


def be_watched(cli):
    ledger_id, witness = cli.ok("status")["ledger_id"], str(cli.home / "w")
    cli.ok("log", "witness", "init", witness, "--ledger-id", ledger_id, "--name", "w.example")
    out = str(cli.home / "anchors")
    assert cli.ok("log", "witness", "sign", witness, "--out", out)["size"] == SIZE + 1


@pytest.fixture
def watched(begun):
    return Watched(begun(work, be_watched))


def stamps_check(folder: Path, *words: object) -> dict:
    done = run(folder, "--json", *words) if words else None
    told = verify(folder).as_document() if done is None else json.loads(done.stdout)
    assert told["ok"], told
    (check,) = [one for one in told["checks"] if one["name"] == "time-stamps"]
    return {**told, "check": check["detail"]}


def test_a_time_stamp_goes_into_the_pack_and_report_and_manifest_tell_of_it(watched):
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    watched.keep(*watched.note.signatures, watched.stamp(moment))
    made, folder = watched.pack("one", *watched.trusting)
    size, at = SIZE + 1, moment.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    assert made.code == 0, made.err
    reached = [made.json[name] for name in ("anchored_to", "witnessed_to", "stamped_to")]
    assert (reached, made.json["unchecked"]) == ([size] * 3, [])
    assert (folder / "anchors.txt").read_bytes() == watched.anchors.read_bytes()
    assert (folder / "tsa-roots.pem").read_bytes() == watched.root.read_bytes()
    told = json.loads((folder / "manifest.json").read_bytes())["time_stamps"]
    assert told == {"authority": "tsa.example", "checked": 1, "size": size, "stamped_at": at}
    report = " ".join((folder / "report.txt").read_text().split())
    assert f"time stamps were checked of tsa.example the newest at size {size}, {at}" in report
    assert "not checked of" not in report
    found = stamps_check(folder)
    assert found["time_stamps"] == 1
    assert "which this program does not check" in found["check"]
    assert f"of size {size} by 'tsa.example' at {at}" in found["check"]


def test_what_nobody_was_named_for_is_packed_unchecked_and_that_is_told(watched):
    watched.keep(*watched.note.signatures, watched.stamp())
    for name, options, kinds in (
        ("none", (), ["cosignatures", "time stamps"]),
        ("witness", watched.trusting[:2], ["time stamps"]),
        ("root", watched.trusting[2:], ["cosignatures"]),
    ):
        made, folder = watched.pack(name, *options)
        assert made.code == 0, made.err
        assert len(made.json["unchecked"]) == len(kinds)
        report, manifest = ((folder / one).read_text() for one in ("report.txt", "manifest.json"))
        for kind in kinds:
            assert f"so {kind} were not checked." in made.err
            assert f"so {kind} were not checked" in report
        assert (
            ("time_stamps" in manifest) == (folder / "tsa-roots.pem").exists() == (name == "root")
        )
        assert stamps_check(folder)["time_stamps"] == 1


@in_a_file
def test_a_head_that_a_witness_alone_signed_makes_an_honest_pack(watched):
    """Without the witness's key the receiver has not checked it, and it does not look forged."""
    watched.keep(watched.note.signatures[1])
    made, folder = watched.pack("one", *watched.trusting[:2])
    assert (made.code, made.json["anchored_to"]) == (0, SIZE + 1), made.err
    assert made.json["witness_keys"] == [watched.witness_key]
    assert f"--witness {watched.witness_key}." in made.err
    assert f"--witness {watched.witness_key}\n" in (folder / "report.txt").read_text()
    bare, knowing = (
        json.loads(run(folder, "--json", *words).stdout)
        for words in ((), ("--witness", watched.witness_key))
    )
    assert (bare["ok"], bare["anchored_to"]) == (True, None)
    assert "1 not counted" in bare["checks"][-1]["detail"]
    assert (knowing["ok"], knowing["anchored_to"]) == (True, SIZE + 1)


@in_a_file
def test_of_two_witnesses_the_one_who_is_not_named_is_told_of(watched):
    """One who is named and signed nothing is a mistake, and there is no pack."""
    other = Ed25519PrivateKey.generate()
    line = cosign("v.example", other, watched.note.text, int(time.time()))
    key = WitnessKey("v.example", other.public_key().public_bytes_raw()).to_text()
    missing, folder = watched.pack("none", *watched.trusting, "--witness-key", key)
    assert (missing.code, missing.error["code"]) == (2, "witness-without-cosignature")
    assert not folder.exists()
    watched.keep(*watched.note.signatures, line)
    made, folder = watched.pack("one", *watched.trusting[:2])
    told = "of 2 lines of witnesses 1 are of nobody named, and were not checked"
    assert made.json["unchecked"] == [told]
    assert told in (folder / "report.txt").read_text()
    assert made.json["anchored_to"] == SIZE + 1
    both, _ = watched.pack("both", *watched.trusting[:2], "--witness-key", key)
    assert both.json["unchecked"] == []


@in_a_file
def test_a_pack_counts_what_the_check_of_the_log_counts(watched):
    """And its verifier no more than that: a head that somebody else should stand for waits."""
    own, cosigned_line = watched.note.signatures
    for number, (lines, options) in enumerate((
        ((own,), ()),
        ((own, cosigned_line), ()),
        ((own, cosigned_line), watched.trusting[:2]),
        ((own, watched.stamp()), ()),
        ((own, watched.stamp()), watched.trusting[2:]),
    )):  # fmt: skip
        watched.keep(*lines)
        words = ("log", "verify", "--anchors", str(watched.anchors), *options)
        proven = watched.cli.ok(*words)["proven_to"] or None
        made, folder = watched.pack(str(number), *options)
        assert made.json["anchored_to"] == proven == (None if number in {1, 3} else SIZE + 1)
        found = verify(folder).as_document()
        assert (found["ok"], found["anchored_to"]) == (True, None if number else SIZE + 1)


def test_anchors_of_several_files_go_into_one(watched):
    watched.keep(*watched.note.signatures, watched.stamp())
    plain = watched.home / "plain"
    watched.cli.ok("credential", "get", "payroll", "--as", "user:ann")
    newest = watched.cli.ok("log", "checkpoint", "--out", str(plain))["size"]
    made, folder = watched.pack("one", "--anchors", str(plain), *watched.trusting)
    assert (made.json["anchored_to"], made.json["stamped_to"]) == (newest, SIZE + 1)
    both = watched.anchors.read_bytes() + plain.read_bytes()
    assert (folder / "anchors.txt").read_bytes() == both


def altered(line: NoteSignature) -> NoteSignature:
    content = bytearray(line.content)
    content[-1] ^= 1
    return NoteSignature(line.name, line.key_id, bytes(content))


def cosigned(watched, at: int, text: bytes) -> NoteSignature:
    key = load_pem_private_key((watched.home / "w" / "key").read_bytes(), None)
    return cosign("w.example", key, text, at)


def with_root(text: bytes) -> bytes:
    lines = text.split(b"\n")
    lines[2] = base64.b64encode(bytes(32))
    return b"\n".join(lines)


def ahead(watched) -> tuple[NoteSignature, ...]:
    return (
        watched.note.signatures[0],
        cosigned(watched, int(time.time()) + 9999, watched.note.text),
    )


def forked(watched) -> None:
    text = with_root(watched.note.text)
    watched.keep(cosigned(watched, int(time.time()), text), text=text)


REFUSED = {
    "a cosignature that was altered": (
        "anchor-signature",
        lambda w: w.keep(w.note.signatures[0], altered(w.note.signatures[1])),
    ),
    "a cosignature by another key": (
        "anchor-signature",
        lambda w: w.keep(
            w.note.signatures[0],
            NoteSignature(
                "w.example",
                w.note.signatures[1].key_id,
                cosign("w.example", Ed25519PrivateKey.generate(), w.note.text, 9).content,
            ),
        ),
    ),
    "the log's own signature altered": (
        "anchor-signature",
        lambda w: w.keep(altered(w.note.signatures[0]), w.note.signatures[1]),
    ),
    "a cosignature of the future": ("anchor-future-dated", lambda w: w.keep(*ahead(w))),
    "a cosignature of a time that no calendar has": (
        "anchor-future-dated",
        lambda w: w.keep(w.note.signatures[0], cosigned(w, 253_402_300_800, w.note.text)),
    ),
    "a time stamp of the future": (
        "anchor-future-dated",
        lambda w: w.keep(*w.note.signatures, w.stamp(datetime.now(UTC) + timedelta(days=1))),
    ),
    "a time stamp that was altered": (
        "anchor-time-stamp",
        lambda w: w.keep(*w.note.signatures, altered(w.stamp())),
    ),
    "a time stamp of another text": (
        "anchor-time-stamp",
        lambda w: w.keep(*w.note.signatures, w.stamp(of=b"another")),
    ),
    "a time stamp of another authority": (
        "anchor-time-stamp",
        lambda w: (setattr(w, "authority", Authority()), w.keep(*w.note.signatures, w.stamp())),
    ),
    "a time stamp alone": (
        "anchor-signer-unknown",
        lambda w: (
            w.keep(w.stamp()),
            w.anchors.write_text(w.anchors.read_text() + w.note.to_text()),
        ),
    ),
    "another root, cosigned": ("forked", forked),
}


@in_a_file
@pytest.mark.parametrize("name", REFUSED)
def test_an_anchor_that_log_verify_finds_false_is_refused_with_its_code(watched, name):
    """There is no pack then."""
    code, make = REFUSED[name]
    make(watched)
    report = watched.cli("log", "verify", "--anchors", str(watched.anchors), *watched.trusting)
    assert [one["name"] for one in report.json["checks"] if not one["ok"]] == [code]
    for until in ((), ("--until", str(SIZE - 1))):
        refused, folder = watched.pack("one", *watched.trusting, *until)
        assert (refused.code, refused.error["code"]) == (8, code), refused.err
        assert refused.error["position"] == SIZE + 1
        assert not list(folder.parent.iterdir())


@pytest.mark.parametrize("until", [(), ("--until", "3")])
def test_a_log_that_ends_before_an_anchor_is_refused(watched, until):
    """Rows are gone then, whether the pack would have held them or not."""
    text = watched.note.text.replace(b"\n5\n", b"\n95\n", 1)
    watched.keep(cosigned(watched, int(time.time()), text), text=text)
    refused, folder = watched.pack("part", *until, *watched.trusting)
    assert (refused.code, refused.error["code"]) == (8, "rolled-back"), refused.err
    assert "size 95" in refused.error["message"]
    assert refused.error["position"] == watched.cli.ok("status")["position"] + 1
    assert not list(folder.parent.iterdir())


def test_an_anchor_beyond_the_pack_that_the_log_bears_out_shows_nothing_of_the_pack(watched):
    """It was held against the rows behind the pack, and lies there for a later one."""
    watched.keep(*watched.note.signatures, watched.stamp())
    made, folder = watched.pack("part", "--until", "3", *watched.trusting)
    assert made.code == 0, made.err
    assert (made.json["anchored_to"], made.json["stamped_to"]) == (None, None)
    assert not (folder / "tsa-roots.pem").exists()
    assert failing(folder) == []


@in_a_file
def test_options_that_do_not_fit_are_refused_before_anything_is_written(watched):
    place = watched.home / "packs"
    asked = ("audit", "pack", str(place / "one"))
    for option, value in (("--tsa-root", str(watched.root)), ("--witness-key", "x")):
        watched.cli.fails(2, "usage", *asked, option, value)
    asked = (*asked, "--anchors", str(watched.anchors))
    watched.cli.fails(2, "invalid-certificate", *asked, "--tsa-root", str(watched.anchors))
    watched.cli.fails(3, "no-such-file", *asked, "--tsa-root", str(place / "gone"))
    text = watched.anchors.read_text()
    other = watched.cli.ok("status")["ledger_id"]
    for content in (text.replace(other, "ab" * 32), text + text.replace(other, "ab" * 32)):
        watched.anchors.write_text(content)
        watched.cli.fails(2, "anchor-of-another-ledger", *asked)
    assert not place.exists() or not list(place.iterdir())


@in_a_file
def test_a_root_without_any_time_stamp_has_no_use_and_is_refused(watched):
    refused, folder = watched.pack("one", *watched.trusting)
    assert (refused.code, refused.error["code"]) == (2, "option-not-used")
    assert "--tsa-root" in refused.error["hint"]
    assert not list(folder.parent.iterdir())
    watched.keep(*watched.note.signatures, watched.stamp())
    assert watched.pack("one", *watched.trusting)[0].code == 0


@in_a_file
def test_anchors_that_are_too_much_together_are_refused(watched, monkeypatch):
    long = watched.anchors.read_bytes().count(b"\n") + 1
    monkeypatch.setattr("tools.packing.anchored.FILE_LINES_MAX", long)
    assert watched.pack("one")[0].code == 0
    answer, folder = watched.pack("two", "--anchors", str(watched.anchors))
    assert (answer.code, answer.error["code"]) == (2, "too-large")
    assert not folder.exists()


def laid_out(watched):
    """The only stamp of a pack, laid out in a folder whose name a shell could take for more."""
    watched.keep(*watched.note.signatures, watched.stamp())
    _, folder = watched.pack("one", *watched.trusting)
    out = watched.home / "-B\u00fcr\u00f6 x"
    (laid,) = stamps_check(folder, "--time-stamps", out)["laid_out"]
    return folder, out, laid


@in_a_file
def test_stamps_are_laid_out_with_what_they_are_of(watched):
    _, out, laid = laid_out(watched)
    assert (laid["size"], laid["authority"]) == (SIZE + 1, "tsa.example")
    assert sorted(one.name for one in out.iterdir()) == ["1.tsr", "1.txt"]


# The program is a part of the system, and no package index has it. Where it is not, what is laid
# out is still looked at above, and the same stamps are checked by a library when they are packed.
@in_a_file
@pytest.mark.skipif(OPENSSL is None, reason="the program openssl is not installed")
def test_stamps_that_are_laid_out_are_checked_by_openssl_as_it_is_told(watched):
    folder, out, laid = laid_out(watched)

    def asked(root: Path) -> str:
        words = shlex.split(laid["command"].replace("ROOT.pem", shlex.quote(str(root))))
        done = subprocess.run(
            words, cwd=out, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout + done.stderr

    assert "Verification: OK" in asked(folder / "tsa-roots.pem")
    assert "Verification: FAILED" in asked(Authority().root_file(watched.home / "other.pem"))
    (out / "1.txt").write_bytes(with_root((out / "1.txt").read_bytes()))
    assert "Verification: FAILED" in asked(folder / "tsa-roots.pem")


@in_a_file
def test_stamps_are_laid_out_in_a_new_folder_and_of_a_pack_that_holds_only(watched):
    watched.keep(*watched.note.signatures, watched.stamp())
    _, folder = watched.pack("one", *watched.trusting)
    place = watched.home / "there"
    place.mkdir()
    for where in (place, watched.home / "no" / "folder"):
        done = run(folder, "--time-stamps", where)
        assert (done.returncode, done.stdout) == (2, "")
        assert "in a new folder" in done.stderr
    within = run(folder, "--time-stamps", folder / "stamps")
    assert (within.returncode, within.stdout) == (2, "")
    assert "outside of the pack" in within.stderr
    assert failing(folder) == []
    shown = run(folder, "--time-stamps", watched.home / "out")
    assert "openssl ts -verify -data " in shown.stdout
    assert shown.returncode == 0
    (folder / "report.txt").write_text("x")
    assert run(folder, "--time-stamps", watched.home / "out2").returncode == 8
    assert not (watched.home / "out2").exists()


@in_a_file
def test_without_time_stamps_no_folder_is_made(watched):
    _, folder = watched.pack("one")
    out = watched.home / "out"
    shown = run(folder, "--time-stamps", out)
    assert (shown.returncode, out.exists()) == (0, False)
    assert "There are no time stamps" in shown.stdout
    assert "OpenSSL" not in shown.stdout
    assert json.loads(run(folder, "--json", "--time-stamps", out).stdout)["laid_out"] == []


def told_of_stamps(folder: Path, **changes) -> None:
    path = folder / "manifest.json"
    told = json.loads(path.read_bytes())
    tell(folder, time_stamps={**told["time_stamps"], **changes})


@in_a_file
def test_a_manifest_tells_of_no_stamp_that_is_not_there(watched):
    """Its word on one that is there is the giver's, and is called so."""
    watched.keep(*watched.note.signatures, watched.stamp())
    _, folder = watched.pack("one", *watched.trusting)
    whole = (folder / "manifest.json").read_bytes()
    for changes in ({"authority": "other"}, {"size": SIZE}, {"checked": 2}):
        told_of_stamps(folder, **changes)
        assert [one[0] for one in failing(folder)] == ["time-stamps"], changes
        (folder / "manifest.json").write_bytes(whole)
    for changes in (
        {"checked": 0}, {"checked": True}, {"checked": "1"}, {"size": 10**30}, {"more": 1},
        {"authority": 7}, {"authority": None}, {"stamped_at": "soon"}, {"stamped_at": None},
        {"stamped_at": "2026-11-30T09:00:00Z\n\nThis pack holds."},
    ):  # fmt: skip
        told_of_stamps(folder, **changes)
        assert [one[0] for one in failing(folder)] == ["files"], changes
        (folder / "manifest.json").write_bytes(whole)
    told = json.loads(whole)["time_stamps"]["stamped_at"]
    for at, why in (
        (told.replace("2026", "2025"), "tells another time than the time stamp"),
        (told.replace("2026", "2926"), "tells of a time stamp of the future"),
    ):
        told_of_stamps(folder, stamped_at=at)
        assert failing(folder) == [("time-stamps", f"the manifest {why}", SIZE + 1)]
        (folder / "manifest.json").write_bytes(whole)
    anchors = (folder / "anchors.txt").read_bytes()
    (folder / "anchors.txt").write_text("")
    tell(folder)
    assert [one[0] for one in failing(folder)] == ["time-stamps"]
    (folder / "anchors.txt").unlink()
    tell(folder)
    assert [one[0] for one in failing(folder)] == ["files"]
    (folder / "anchors.txt").write_bytes(anchors)
    (folder / "tsa-roots.pem").unlink()
    tell(folder)
    assert [one[0] for one in failing(folder)] == ["files"]


@in_a_file
def test_roots_lie_there_only_where_the_manifest_tells_of_stamps(watched):
    _, folder = watched.pack("one", *watched.trusting[:2])
    shutil.copy(watched.root, folder / "tsa-roots.pem")
    tell(folder)
    assert [one[0] for one in failing(folder)] == ["files"]


@pytest.mark.parametrize("lengths", [[1] * 9, [4, 5], [9], [2, 7], [8, 1]])
def test_roots_are_those_of_the_rows_however_they_pass(lengths):
    """At each size that is wanted, and at no other."""
    rows = [row_of(position) for position in range(1, 10)]
    for wanted in ([3], [1, 2, 9], [5, 8, 99], list(range(1, 10)), []):
        watch, at = Watch(wanted), 0
        for length in lengths:
            watch.see(rows[at : at + length])
            at += length
        within = [size for size in wanted if size <= len(rows)]
        assert sorted(watch.marks) == within
        for size in within:
            root = Frontier().extend(row.leaf for row in rows[:size]).root()
            assert watch.marks[size] == Mark(size, root, rows[size - 1].recorded_at)


def row_of(position: int) -> LogRow:
    leaf = bytes([position]) * 32
    return LogRow(position, bytes(16), position, "access.granted", 1, 202611, position, b"", leaf)
