"""The stand-alone verifier: every rule of the pages, and packs by somebody who wishes it ill."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.forged_pack import (
    BEGUN_AT,
    LEDGER,
    Forged,
    Row,
    key_of,
    note,
    plain,
    public,
    stream,
    tell,
)
from tools.packing import verifier

SOURCE = Path(verifier.__file__)
PACKED_S = 1_600_000_000
"""When the packs' heads were cosigned, if nothing else is said."""
MEMORY_BYTES_MAX = 400 * 1024**2
_LIMITED = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES_MAX}, {MEMORY_BYTES_MAX}))
sys.argv = ["verify.py", *sys.argv[1:]]
runpy.run_path({str(SOURCE)!r}, run_name="__main__")
"""


def failing(folder: Path, **how) -> list[tuple[str, str, int | None]]:
    """The checks that fail; the program says the same."""
    report = verifier.verify(folder, **how)
    json.dumps(report.as_document())
    verifier.printed(report)
    return [
        (one["name"], one["detail"], one.get("position")) for one in report.checks if not one["ok"]
    ]


def run(*arguments: object, script: Path = SOURCE, **how) -> subprocess.CompletedProcess:
    words = [sys.executable, "-I", str(script), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **how)


@pytest.fixture
def pack(tmp_path):
    return plain().write(tmp_path / "pack")


def test_it_imports_nothing_but_the_standard_library_and_one_other():
    found = set()
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(node.module.partition(".")[0])
    assert found - set(sys.stdlib_module_names) == {"cryptography"}


def test_a_copy_of_it_checks_the_pack_that_it_lies_in(pack):
    shutil.copy(SOURCE, pack / "verify.py")
    tell(pack)
    done = run(script=pack / "verify.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("This pack holds.\n")
    told = json.loads(run("--json", "--ledger-id", LEDGER.hex(), script=pack / "verify.py").stdout)
    assert told["ok"]
    assert (told["size"], told["epochs"], told["heads"], told["pinned"]) == (6, 2, 4, True)
    assert told["topics"]["epoch.started"] == 2
    assert [(one["class"], one["from"], one["heads"]) for one in told["signers"]] == [
        ("operator", 1, 2),
        ("auditor", 3, 1),
        ("auditor", 3, 0),
        ("operator", 3, 1),
    ]


@pytest.mark.parametrize("name", ["json.py", "argparse.py", "cryptography/__init__.py"])
def test_it_runs_nothing_that_lies_beside_it(pack, name):
    """A pack may bring whatever it likes: what is not named is found, not imported."""
    shutil.copy(SOURCE, pack / "verify.py")
    tell(pack)
    (pack / name).parent.mkdir(exist_ok=True)
    (pack / name).write_text("print('This pack holds.')\nraise SystemExit\n")
    words = [sys.executable, str(pack / "verify.py")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 8, done
    assert f"{name.partition('/')[0]!r} is none of the pack's files" in done.stdout


SEARCHED = {
    "an empty part before another, in the pack": lambda pack: (":/opt/x", pack, "."),
    "an empty part behind another, in the pack": lambda pack: ("/opt/x:", pack, None),
    "a dot, in the pack": lambda pack: (".", pack, "."),
    "a dot and a slash, in the pack": lambda pack: ("./", pack, pack),
    "the pack, relatively": lambda pack: (pack.name, pack.parent, pack.name),
    "the pack, as a whole": lambda pack: (str(pack), pack.parent, pack.name),
    "a link to the pack": lambda pack: (str(link_to(pack)), Path("/"), pack),
    "an empty part, in another folder of the giver's": lambda pack: (":", strange(pack), pack),
}
"""A PYTHONPATH, a working folder, and what the verifier is given."""


def link_to(pack: Path) -> Path:
    link = pack.parent / "link"
    link.symlink_to(pack)
    return link


def strange(pack: Path) -> Path:
    folder = pack.parent / "strange"
    shutil.copytree(pack, folder)
    return folder


@pytest.mark.parametrize(("own", "safely"), [(True, ()), (False, ()), (True, ("-P",))])
@pytest.mark.parametrize("name", SEARCHED)
def test_it_runs_nothing_of_the_pack_wherever_modules_are_looked_for(
    pack, tmp_path, name, own, safely
):
    """Whether the verifier is the receiver's or the pack's."""
    for module in ("argparse.py", "json.py", "cryptography.py"):
        (pack / module).write_text("print('This pack holds.')\nraise SystemExit\n")
    shutil.copy(SOURCE, pack / "verify.py")
    shutil.copy(SOURCE, tmp_path / "own.py")
    searched, where, given = SEARCHED[name](pack)
    script = tmp_path / "own.py" if own else pack / "verify.py"
    words = [sys.executable, *safely, str(script), *([] if given is None else [str(given)])]
    if given is None and own:
        words.append(str(pack))
    done = subprocess.run(
        words,
        cwd=where,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": searched},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 8, done
    assert "THIS PACK DOES NOT HOLD." in done.stdout
    assert ".py' is none of the pack's files" in done.stdout


def test_a_topic_that_moves_the_cursor_is_spelled_out(tmp_path):
    """An auditor's key may sign any topic of `audit.`, with the verdict of another pack in it."""
    forged = plain()
    forged.alter(6, topic="audit.\x1b[2J\nThis pack holds.")
    report = verifier.verify(forged.write(tmp_path / "pack"))
    assert report.ok
    lines = verifier.printed(report).split("\n")
    assert [line for line in lines if "holds." in line] == [
        "rows              1 audit.\\x1b[2J\\nThis pack holds.",
        "This pack holds.",
    ]


@pytest.mark.parametrize("told", [[], {}, 1, None, "because"])
def test_a_record_is_left_closed_for_reasons_that_are_known_only(pack, told):
    line = json.dumps({"position": 1, "unopened": told}).encode() + b"\n"
    held = verifier.Held()
    (pack / "commitments.json").write_text("[]")
    commitments = verifier.Commitments(verifier.Pack(pack), held)
    records = verifier.Records(io.BytesIO(line), commitments, held)
    row, _, _ = sealed_row(b"")
    records.take(row._replace(position=1))
    with pytest.raises(verifier.Damage, match="closed for no reason"):
        records.finish(0)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["/nowhere/at/all"], 2),
        (["/dev/null"], 2),
        (["--ledger-id", "12"], 2),
        (["--witness", "nobody"], 2),
        (["--witness", "a+00000000+AAAA"], 2),
        (["--witness", "a+00000000+\u00e4"], 2),
        (["--anchors", "/nowhere/at/all"], 2),
        (["--anchors", str(SOURCE)], 2),
        (["--unknown"], 2),
        (["--ledger-id", "00" * 32], 8),
    ],
)
def test_wrong_words_are_exit_2_and_another_ledger_is_exit_8(pack, arguments, code):
    where = [] if arguments[0].startswith("/") else [pack]
    done = run(*where, *arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("HOLD" in done.stdout) == (code == 8)


@pytest.mark.parametrize("beside", [(), ("verify.py", "notes.txt")])
def test_a_folder_without_any_file_of_a_pack_is_no_pack(tmp_path, beside):
    """That is another answer than of a pack that does not hold."""
    for name in beside:
        (tmp_path / name).write_text("")
    done = run(tmp_path, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no pack in that folder" in done.stderr


@pytest.mark.parametrize("left", ["rows.bin", "heads.bin", "access.jsonl", "anchors.txt"])
def test_whatever_is_left_of_a_pack_without_its_manifest_is_a_pack_that_does_not_hold(
    tmp_path, left
):
    (tmp_path / left).write_text("")
    done = run(tmp_path)
    assert done.returncode == 8
    assert "manifest.json is missing" in done.stdout


def test_a_pack_that_cannot_be_read_is_exit_2(tmp_path, monkeypatch, capsys):
    """Whoever may not read it learns nothing of it; a superuser may, so the answer is made here."""
    (tmp_path / "manifest.json").write_text("{}")

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(verifier.os, "open", refused)
    assert verifier.main([str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "The pack cannot be read.\n")


def test_anchors_that_cannot_be_read_are_told_from_the_pack(pack):
    done = run(pack, "--anchors", str(pack / "nowhere"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "The file of anchors cannot be read.\n"


def altered(**changes):
    position = changes.pop("at")
    return lambda forged: forged.alter(position, **changes)


def signers_are(*rows):
    return lambda forged: setattr(forged, "signers", list(rows))


ANN = ("ann", "operator", "begin", 0, "ann")
BEN = ("ben", "operator", "begin", 2, "ann")
CLEO = ("cleo", "auditor", "begin", 2, "ann")
RULES = {
    "position": (altered(at=4, position=5), "a row stands at another's position", 4),
    "first position": (altered(at=1, position=0), "a row stands at another's position", 1),
    "time": (altered(at=4, recorded_at=BEGUN_AT), "a row's time does not grow", 4),
    "same time": (altered(at=4, recorded_at=BEGUN_AT + 3), "a row's time does not grow", 4),
    "negative time": (altered(at=1, recorded_at=-5), "a row's time does not grow", 1),
    "period": (altered(at=3, period=202612), "a row's period is not its month", 3),
    "time of no calendar": (
        altered(at=6, recorded_at=2**63 - 1),
        "a row's period is not its month",
        6,
    ),
    "epoch too early": (altered(at=4, epoch=2), "a row is sealed under a wrong epoch", 4),
    "epoch too late": (altered(at=5, epoch=1), "a row is sealed under a wrong epoch", 5),
    "first epoch": (altered(at=1, epoch=0), "a row is sealed under a wrong epoch", 1),
    "version left out": (altered(at=5, version=3), "a stream lacks a row", 5),
    "version twice": (altered(at=5, version=1), "a stream lacks a row", 5),
    "version 0": (altered(at=3, version=0), "a stream lacks a row", 3),
    "another ledger's": (
        altered(at=3, ledger=bytes(32)),
        "a header is of another format or ledger",
        3,
    ),
    "auditor's topic": (
        altered(at=6, topic="access.granted"),
        "an auditor signed what only an operator may",
        6,
    ),
    "auditor's two streams": (
        lambda forged: setattr(forged, "heads", [(2, "ann"), (4, "ben"), (6, "cleo")]),
        "an auditor signed what only an operator may",
        6,
    ),
    "rows beyond": (
        lambda forged: setattr(forged, "heads", [(2, "ann"), (3, "ben")]),
        "a row lies beyond the last head",
        4,
    ),
    "heads shrink": (
        lambda forged: setattr(forged, "heads", [(3, "ann"), (2, "ann"), (6, "ann")]),
        "heads.bin does not grow in size",
        2,
    ),
    "same head twice": (
        lambda forged: setattr(forged, "heads", [(2, "ann"), (2, "ann"), (6, "ann")]),
        "heads.bin does not grow in size",
        2,
    ),
    "a stranger signs": (
        lambda forged: setattr(forged, "heads", [(2, "ann"), (6, "eve")]),
        "a head is not signed by one who may",
        6,
    ),
    "another root": (
        lambda forged: forged.told_roots.update({5: bytes(32)}),
        "a head's root is not that of its rows",
        5,
    ),
    "signed before its beginning": (
        lambda forged: setattr(forged, "heads", [(2, "ben"), (6, "ann")]),
        "a head is not signed by one who may",
        2,
    ),
    "signed after its end": (
        signers_are(ANN, BEN, CLEO, ("ben", "operator", "end", 2, "ann")),
        "a head is not signed by one who may",
        3,
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_each_rule_of_the_log_is_kept_by_a_check(tmp_path, name):
    change, detail, position = RULES[name]
    forged = plain()
    change(forged)
    found = failing(forged.write(tmp_path / "pack"))
    named = "log"
    if detail.startswith("heads.bin"):  # met where signers are looked at, before the rows
        named = "signers"
    assert (named, detail, position) in found, found


SIGNERS = {
    "none": (signers_are(), "nobody may sign"),
    "first an auditor": (
        signers_are(("ann", "auditor", "begin", 0, "ann")),
        "a signer was not introduced by an operator",
    ),
    "another key first": (
        signers_are(("ben", "operator", "begin", 0, "ben")),
        "a signer was not introduced by an operator",
    ),
    "first introduced by another": (
        signers_are(("ann", "operator", "begin", 0, "ben")),
        "a signer was not introduced by an operator",
    ),
    "by a stranger": (
        signers_are(ANN, ("ben", "operator", "begin", 2, "eve"), CLEO),
        "a signer was not introduced by an operator",
    ),
    "by an auditor": (
        signers_are(ANN, CLEO, ("ben", "operator", "begin", 3, "cleo")),
        "a signer was not introduced by an operator",
    ),
    "by one who has ended": (
        signers_are(
            ANN,
            BEN,
            CLEO,
            ("ben", "operator", "end", 3, "ann"),
            ("dora", "auditor", "begin", 3, "ben"),
        ),
        "a signer was not introduced by an operator",
    ),
    "begun twice": (signers_are(ANN, BEN, CLEO, BEN), "a signer was not introduced by an operator"),
    "ended twice": (
        signers_are(ANN, BEN, CLEO, *[("ben", "operator", "end", 3, "ann")] * 2),
        "a signer was not introduced by an operator",
    ),
    "ended as another class": (
        signers_are(ANN, BEN, CLEO, ("ben", "auditor", "end", 3, "ann")),
        "a signer was not introduced by an operator",
    ),
    "ended without having begun": (
        signers_are(ANN, BEN, CLEO, ("dora", "auditor", "end", 3, "ann")),
        "a signer was not introduced by an operator",
    ),
    "at a size without a head": (
        signers_are(ANN, BEN, CLEO, ("dora", "auditor", "begin", 4, "ann")),
        "a signer's row is not signed by whom it names",
    ),
}


@pytest.mark.parametrize("name", SIGNERS)
def test_each_rule_of_signers_is_kept_by_a_check(tmp_path, name):
    change, detail = SIGNERS[name]
    forged = plain()
    change(forged)
    assert [one[:2] for one in failing(forged.write(tmp_path / "pack"))] == [("signers", detail)]


def test_auditors_do_not_share_a_stream(tmp_path):
    forged = plain()
    forged.rows.append(Row(7, stream(3), 2, "audit.queried", epoch=2))
    forged.heads.append((7, "dora"))
    found = failing(forged.write(tmp_path / "pack"))
    assert found == [("log", "an auditor signed what only an operator may", 7)]


def test_an_auditor_keeps_to_one_stream(tmp_path):
    forged = plain()
    forged.rows.append(Row(7, stream(4), 1, "audit.queried", epoch=2))
    forged.heads.append((7, "cleo"))
    found = failing(forged.write(tmp_path / "pack"))
    assert found == [("log", "an auditor signed what only an operator may", 7)]


@pytest.mark.parametrize("topics", [(), (7,), (8,), (9,)])
def test_each_row_under_an_auditors_head_is_a_question(tmp_path, topics):
    forged = plain()
    for position in (7, 8, 9):
        topic = "role.granted" if position in topics else "audit.queried"
        forged.rows.append(Row(position, stream(3), position - 5, topic, epoch=2))
    forged.heads.append((9, "cleo"))
    wrong = [("log", "an auditor signed what only an operator may", 9)] if topics else []
    assert failing(forged.write(tmp_path / "pack")) == wrong


def test_a_head_between_others_may_be_missing(tmp_path):
    forged = plain()
    forged.heads.pop(2)
    forged.heads[-1] = (6, "ann")
    assert failing(forged.write(tmp_path / "pack")) == []


@pytest.mark.parametrize("name", ["rows.bin", "heads.bin", "ledger.json", "checkpoint.txt"])
def test_no_bit_of_the_evidence_can_be_turned(pack, name):
    """Not even by whoever makes the manifest fit."""
    path = pack / name
    content = path.read_bytes()
    for at in range(0, len(content), 5):
        turned = bytearray(content)
        turned[at] ^= 1 << at % 8
        path.write_bytes(turned)
        tell(pack)
        assert failing(pack) != [], at
    path.write_bytes(content)
    tell(pack)
    assert failing(pack) == []


@pytest.mark.parametrize("name", ["rows.bin", "heads.bin", "ledger.json", "checkpoint.txt"])
def test_a_file_cut_off_anywhere_does_not_hold(pack, name):
    path = pack / name
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        tell(pack)
        assert failing(pack) != [], length


@pytest.mark.parametrize("name", ["report.txt", "verify.py", "manifest.json"])
def test_a_file_that_proves_nothing_is_held_to_the_manifest(pack, name):
    path = pack / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1", b"2", 1) if name == "manifest.json" else content + b"x")
    assert "files" in {one[0] for one in failing(pack)}
    if name != "manifest.json":
        tell(pack)
        assert failing(pack) == []


def manifest(**changes):
    def change(folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def entry(name="rows.bin", length=1, digest="00" * 32):
    return {"bytes": length, "name": name, "sha256": digest}


def instead(name, make):
    def change(folder):
        (folder / name).unlink()
        make(folder / name)

    return change


def ledger(**changes):
    def change(folder):
        path = folder / "ledger.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        tell(folder)

    return change


def signer(**changes):
    def change(folder):
        rows = json.loads((folder / "ledger.json").read_text())["signers"]
        ledger(signers=[{**rows[0], **changes}, *rows[1:]])(folder)

    return change


def bytes_at(name, *turned):
    """Bytes of a file put in another's place, and the manifest made to fit."""

    def change(folder):
        content = bytearray((folder / name).read_bytes())
        for at, value in turned:
            content[at] = value
        (folder / name).write_bytes(content)
        tell(folder)

    return change


def cut(name, length):
    def change(folder):
        (folder / name).write_bytes((folder / name).read_bytes()[:length])
        tell(folder)

    return change


def nothing_recorded(folder):
    cut("rows.bin", 0)(folder)
    cut("heads.bin", 0)(folder)
    signers = json.loads((folder / "ledger.json").read_text())["signers"]
    ledger(signers=signers[:1])(folder)


def with_file(name, content=b"[]"):
    def change(folder):
        (folder / name).write_bytes(content)
        tell(folder)

    return change


def in_ledger(old, new):
    """One place of the ledger's text, and the manifest made to fit."""

    def change(folder):
        path = folder / "ledger.json"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        tell(folder)

    return change


def in_manifest(old, new):
    def change(folder):
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace(old, new, 1), encoding="utf-8")

    return change


def beside(name):
    return lambda folder: (folder / name).write_text("x")


def swapped(name, one, other):
    """Two stretches of a file exchanged."""

    def change(folder):
        content = (folder / name).read_bytes()
        (begin, end), (later, last) = one, other
        parts = content[:begin], content[later:last], content[end:later], content[begin:end]
        (folder / name).write_bytes(b"".join(parts) + content[last:])
        tell(folder)

    return change


def grown(name, begin, end):
    """A stretch of a file once more at its end."""

    def change(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + content[begin:end])
        tell(folder)

    return change


_MUCH_BYTES = 64 * 1024**2
_BEYOND_ASCII = b'"\xf0\x9f\x94\x91' + b"x" * (_MUCH_BYTES - 16) + b'"'
"""One letter makes all of it four times as long in memory."""


def much(name, one, values=_MUCH_BYTES):
    """As many of these as a file may have bytes, or values; they are a list in a JSON document."""

    def change(folder):
        joint = b"," if name.endswith(".json") else b""
        # An object in an object: two signs, and one that parts it from the next.
        signs = one.count(b"{") + one.count(b"[") + 1
        many = min(values // signs, (_MUCH_BYTES - 2) // len(one + joint))
        content = joint.join([one] * many)
        (folder / name).write_bytes(b"[" + content + b"]" if joint else content)
        tell(folder)

    return change


def with_access(change):
    """The same in a pack that has access records, of which there are none."""

    def changed(folder):
        (folder / "access.jsonl").write_bytes(b"")
        change(folder)

    return changed


_ROW_BYTES = 2 + 84 + len("audit.queried") + 32
ILL = {
    "a newer ledger": ledger(format=2),
    "a signer of another class": signer(**{"class": "king"}),
    "a signer that changes nothing": signer(change="stay"),
    "a signer whose class is a list": signer(**{"class": []}),
    "a signer whose change is an object": signer(change={}),
    "a topic longer than its header": bytes_at("rows.bin", (2 + 67, 14)),
    "a topic that is not ASCII": bytes_at("rows.bin", (2 + 68, 0xFF)),
    "the last row left out": cut("rows.bin", -_ROW_BYTES),
    "nothing recorded": nothing_recorded,
    "access without commitments": with_file("access.jsonl"),
    "commitments without access": with_file("commitments.json"),
    "anchors that are no text": with_file("anchors.txt", b"\xff\xff"),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "no rows": lambda folder: (folder / "rows.bin").unlink(),
    "a file more": lambda folder: (folder / "more").write_text("x"),
    "a folder more": lambda folder: (folder / "more").mkdir(),
    "rows are a link": instead("rows.bin", lambda path: path.symlink_to("/dev/zero")),
    "rows are a link to rows": lambda folder: (
        (folder / "rows.bin").rename(folder.parent / "rows"),
        (folder / "rows.bin").symlink_to(folder.parent / "rows"),
    ),
    "a manifest that is a link": instead(
        "manifest.json", lambda path: path.symlink_to("/etc/passwd")
    ),
    "rows are a pipe": instead("rows.bin", os.mkfifo),
    "rows are a folder": instead("rows.bin", Path.mkdir),
    "a path out of the folder": manifest(files=[entry("../rows.bin")]),
    "an absolute path": manifest(files=[entry("/etc/passwd")]),
    "a name that is no text": manifest(files=[entry(7)]),
    "a file named twice": manifest(files=[entry(), entry()]),
    "files that are no list": manifest(files={"rows.bin": 1}),
    "a negative length": manifest(files=[entry(length=-1)]),
    "a length that is true": manifest(files=[entry(length=True)]),
    "a newer format": manifest(format=2),
    "a head of another root": manifest(root="11" * 32),
    "a head of another size": manifest(size=5),
    "a size that is huge": manifest(size=10**30),
    "another ledger": manifest(ledger_id="22" * 32),
    "a key more": manifest(more=1),
    "nested too deep": lambda folder: (folder / "manifest.json").write_text("[" * 30_000),
    "a number without end": lambda folder: (folder / "manifest.json").write_text("9" * 9_000),
    "a float": lambda folder: (folder / "manifest.json").write_text('{"format": 1e400}'),
    "not a number": lambda folder: (folder / "manifest.json").write_text("NaN"),
    "a key twice": lambda folder: (folder / "manifest.json").write_text('{"format":1,"format":1}'),
    "no text": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe"),
    "an empty manifest": lambda folder: (folder / "manifest.json").write_bytes(b""),
    "a manifest without end": lambda folder: os.truncate(folder / "manifest.json", 2**40),
    "a ledger without end": lambda folder: os.truncate(folder / "ledger.json", 2**40),
    "a checkpoint without end": lambda folder: os.truncate(folder / "checkpoint.txt", 2**40),
    "rows without end": lambda folder: os.truncate(folder / "rows.bin", 2**40),
    "heads without end": lambda folder: os.truncate(folder / "heads.bin", 2**40),
    "a ledger of empty lists": much("ledger.json", b"[]"),
    "a ledger of small objects": much("ledger.json", b'{"a":{"a":0}}'),
    "a ledger of small objects, just short of too many": much(
        "ledger.json", b'{"a":{"a":0}}', values=999_000
    ),
    "a ledger that is a long text beyond ASCII": much("ledger.json", _BEYOND_ASCII),
    "commitments of empty objects": with_access(much("commitments.json", b"{}")),
    "a checkpoint that is long": much("checkpoint.txt", b"x"),
    "anchors of empty signatures": much("anchors.txt", "\n\u2014 x eA==".encode()),
    "anchors that only begin": much("anchors.txt", b"\ncredledger/"),
    "signers that are none": lambda folder: (folder / "ledger.json").write_text(
        json.dumps({"format": 1, "id": "00" * 32, "salt": "00" * 16, "signers": [7]})
    ),
}


@pytest.mark.parametrize("name", ILL)
def test_an_ill_pack_gets_a_verdict_within_little_memory(pack, name):
    ILL[name](pack)
    done = subprocess.run(
        [sys.executable, "-I", "-c", _LIMITED, str(pack), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 8, done
    assert done.stderr == ""
    assert not json.loads(done.stdout)["ok"]


BY_HAND = {
    "a format that is true": ledger(format=True),
    "a ledger with a key twice": in_ledger('"salt"', '"id": "", "salt"'),
    "a signer with a key twice": in_ledger('"class"', '"class": "auditor", "class"'),
    "a size that is no number": in_ledger('"from_size": 2', '"from_size": NaN'),
    "a size that is a fraction": in_ledger('"from_size": 2', '"from_size": 2.0'),
    "a size of four thousand digits": in_ledger('"from_size": 2', f'"from_size": 2{"0" * 4000}'),
    "a size of five thousand digits": in_ledger('"from_size": 2', f'"from_size": 2{"0" * 5000}'),
    "a ledger nested too deep": in_ledger(
        '"format"', f'"x": {"[" * 90_000}{"]" * 90_000}, "format"'
    ),
    "a ledger in capitals": in_ledger(LEDGER.hex(), LEDGER.hex().upper()),
    "a ledger with a mark before it": in_ledger("{", "\ufeff{"),
    "a class that only looks like one": in_ledger('"operator"', '"op\u0435rator"'),
    "a class with half a letter": in_ledger('"operator"', '"operator\\ud800"'),
    "a name that only looks like one": in_manifest("rows.bin", "rows.b\u0456n"),
    "a name in capitals beside": beside("ROWS.BIN"),
    "a name that is turned around": beside("\u202erows.bin"),
    "a name with a line in it": beside("x\nThis pack holds."),
    "a name that is half a letter": beside("rows.bin\udcff"),
    "heads in another order": swapped("heads.bin", (0, 136), (136, 272)),
    "two heads' signatures exchanged": swapped("heads.bin", (72, 136), (208, 272)),
    "two heads' signers exchanged": swapped("heads.bin", (40, 72), (176, 208)),
    "a row twice": grown("rows.bin", 0, 2 + 84 + len("epoch.started") + 32),
    "a byte behind the rows": grown("rows.bin", 0, 1),
    "a byte behind the heads": grown("heads.bin", 0, 1),
    "a checkpoint twice": grown("checkpoint.txt", 0, None),
    "a report that is a device": instead("report.txt", lambda path: path.symlink_to("/dev/tty")),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_pack_that_was_altered_by_hand_does_not_hold(pack, name):
    """Whoever did it made the manifest fit."""
    BY_HAND[name](pack)
    assert failing(pack) != []


def test_many_rows_take_no_more_memory_than_their_streams(tmp_path):
    forged = Forged([Row(n, stream(1), n) for n in range(1, 3001)], [(3000, "ann")])
    folder = forged.write(tmp_path / "pack")
    found = told(folder)
    assert found["size"] == 3000
    ends = found["first_at"], found["last_at"]
    assert ends == tuple(verifier.as_time(BEGUN_AT + position) for position in (1, 3000))


def test_a_rows_length_is_not_believed(pack):
    for length in (b"\xff\xff", b"\x00\x00", b"\x00\x53"):
        content = (pack / "rows.bin").read_bytes()
        (pack / "rows.bin").write_bytes(length + content[2:])
        tell(pack)
        assert [one[0] for one in failing(pack)] == ["log"]


# Records


NO_RECORDS = {
    "nothing": b"",
    "something behind": b"\xc0\xc0",
    "too deep": b"\x91" * 40 + b"\xc0",
    "a float": b"\xcb" + bytes(8),
    "an extension": b"\xd4\x01\x00",
    "a kind that is none": b"\xc1",
    "a number as key": b"\x81\x01\x01",
    "a key twice": b"\x82\xa1a\x01\xa1a\x02",
    "text cut off": b"\xa5abc",
    "text that is none": b"\xa1\xff",
    "bytes cut off": b"\xc4\x09abc",
    "an array that ends": b"\x93\x01\x02",
    "an array of too many": b"\xdd\xff\xff\xff\xff",
    "a map of too many": b"\xdf\xff\xff\xff\xff",
    "a number cut off": b"\xcf\x01",
}


@pytest.mark.parametrize("name", NO_RECORDS)
def test_what_is_no_record_is_not_read_as_one(name):
    with pytest.raises(verifier.Damage):
        verifier.unpacked(NO_RECORDS[name])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
        lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
        max_leaves=60,
    )
)
def test_records_are_read_as_the_library_writes_them(value):
    try:
        assert verifier.unpacked(msgpack.packb(value)) == value
    except verifier.Damage as damage:
        assert "deeply" in damage.detail


@pytest.mark.parametrize("size", [1, 40, 300, 70_000])
def test_long_records_are_read_as_the_library_writes_them(size):
    for value in ("x" * size, list(range(size)), {str(n): n for n in range(size)}):
        assert verifier.unpacked(msgpack.packb(value)) == value
    told = {"base64": base64.b64encode(bytes(size)).decode()}
    assert verifier.unpacked(msgpack.packb(bytes(size))) == told


def sealed_row(text: bytes) -> tuple[verifier.Row, bytes, bytes]:
    """A row, its key, and what is sealed in it."""
    row, key = Row(1, stream(1), 1, "access.granted"), bytes(range(32))
    header = row.header()
    sealed = bytes(12) + AESGCM(key).encrypt(bytes(12), text, header[:34] + header[42:-8])
    (read,) = verifier.rows_of(
        io.BytesIO(len(header).to_bytes(2, "big") + header + hashlib.sha256(sealed).digest()),
        LEDGER,
    )
    return read, key, sealed


def test_padding_is_held_to_the_page():
    row, key, sealed = sealed_row(b"\x00\x00\x00\x01\xc0" + bytes(59))
    assert verifier.unsealed(row, key, sealed) == b"\xc0"
    for wrong in (
        b"\x00\x00\x00\x01\xc0" + bytes(58),
        b"\x00\x00\x00\x01\xc0" + bytes(58) + b"\x01",
        b"\x00\x00\x00\x3d" + bytes(60),
        b"\xff\xff\xff\xff" + bytes(60),
    ):
        with pytest.raises(verifier.Damage):
            verifier.unsealed(*sealed_row(wrong))


def test_one_text_stands_for_some_bytes_in_base64():
    assert verifier._base64("AAA=") == bytes(2)
    for wrong in ("AAB=", "AAA", "AA A=", "AAA=\n", 7, None):
        with pytest.raises(verifier.Damage):
            verifier._base64(wrong)


def test_what_json_cannot_tell_is_no_record():
    with pytest.raises(verifier.Damage):
        verifier.canonical({"a": b""})
    assert verifier.canonical(True) != verifier.canonical(1)


# Anchors


def cosigned(text: str, name: str, at: int, key=None) -> str:
    message = f"cosignature/v1\ntime {at}\n{text}".encode()
    signature = (key or key_of(name)).sign(message)
    key_hash = hashlib.sha256(name.encode() + b"\n\x04" + public(name)).digest()[:4]
    content = key_hash + at.to_bytes(8, "big") + signature
    return f"\u2014 {name} {base64.b64encode(content).decode()}\n"


def verifier_key(name: str) -> str:
    content = b"\x04" + public(name)
    key_hash = hashlib.sha256(name.encode() + b"\n" + content).digest()[:4]
    return f"{name}+{key_hash.hex()}+{base64.b64encode(content).decode()}"


def told(folder: Path, *arguments: object) -> dict:
    done = run(folder, "--json", *arguments)
    assert done.returncode in {0, 8}, done
    return json.loads(done.stdout)


def test_kept_heads_and_cosignatures_say_up_to_where_the_log_is_anchored(pack, tmp_path):
    forged, kept = plain(), tmp_path / "kept"
    kept.write_text(
        forged.note(3, "ben")
        + forged.note(5, "ann")
        + cosigned(forged.text(5).decode(), "wren", PACKED_S)
    )
    found = told(pack, "--anchors", kept)
    assert (found["ok"], found["anchored_to"], found["witnessed_to"]) == (True, 3, None)
    assert "1 not counted" in found["checks"][-1]["detail"]
    found = told(pack, "--anchors", kept, "--witness", verifier_key("wren"))
    assert (found["ok"], found["anchored_to"], found["witnessed_to"]) == (True, 5, 5)
    assert "2020-09-13T12:26:40.000000Z" in found["checks"][-1]["detail"]
    shutil.copy(kept, pack / "anchors.txt")
    tell(pack)
    assert told(pack)["anchored_to"] == 3


def test_what_a_pack_has_in_place_of_anchors_is_counted(pack):
    (pack / "anchors.txt").write_text("timestamp\nabc\n")
    tell(pack)
    (check,) = [one for one in told(pack)["checks"] if one["name"] == "anchors"]
    assert check["ok"]
    assert check["detail"].endswith("; 1 of a kind not known here")


def test_a_named_witness_vouches_for_a_head_without_the_logs_own_signature(pack):
    """Nobody else does, and it does not count then; where the log's is there, it must hold."""
    forged = plain()
    text = forged.text(5).decode()
    cosignature = cosigned(text, "wren", PACKED_S)
    own = forged.note(5, "ann").rstrip("\n")
    wren, crow = (verifier.witness(verifier_key(name)) for name in ("wren", "crow"))

    def found(content: str, *witnesses: verifier.Witness) -> list:
        return failing(pack, anchors=content.encode(), witnesses=witnesses)

    alone = f"{text}\n{cosignature}"
    assert found(alone, wren) == []
    for witnesses in ((), (crow,)):
        assert found(alone, *witnesses) == []
        report = verifier.verify(pack, anchors=alone.encode(), witnesses=witnesses)
        assert report.facts["anchored_to"] is None
    (unsigned,) = found(f"{own[:-8]}AAAAAA==\n{cosignature}", wren)
    assert unsigned[1] == "an anchor is not signed by one who may"


@pytest.mark.parametrize("at", [PACKED_S + 301, 8_584_444_800, 253_402_300_800, 2**62, 2**64 - 1])
@pytest.mark.parametrize("beyond", [False, True])
def test_a_cosignature_of_the_future_does_not_hold(tmp_path, pack, at, beyond):
    """The witness is trusted, its clock is not more than this machine's; as `log verify` has it."""
    forged = plain()
    if beyond:
        forged.rows.append(Row(7, stream(5), 1, epoch=2))
    size = len(forged.rows)
    kept = forged.note(size, "ann") + cosigned(forged.text(size).decode(), "wren", at)
    how = {"anchors": kept.encode(), "witnesses": [verifier.witness(verifier_key("wren"))]}
    ((name, detail, position),) = failing(pack, now_us=PACKED_S * 1_000_000, **how)
    assert (name, position) == ("anchors", size)
    assert "a cosignature of 'wren' is dated in the future: " in detail
    assert detail.endswith("a time beyond all calendars") == (at >= 253_402_300_800)
    (tmp_path / "kept").write_text(kept)
    words = (pack, "--anchors", tmp_path / "kept", "--witness", verifier_key("wren"))
    assert run(*words).returncode == (0 if at == PACKED_S + 301 else 8)


def test_hosts_are_never_quite_together(pack):
    """A cosignature may lie five minutes ahead."""
    kept = plain().note(5, "ann") + cosigned(plain().text(5).decode(), "wren", PACKED_S + 300)
    how = {"anchors": kept.encode(), "witnesses": [verifier.witness(verifier_key("wren"))]}
    assert failing(pack, now_us=PACKED_S * 1_000_000, **how) == []


ANCHORS = {
    "of another root": (lambda forged: note(other_root(forged), "ann"), "another log"),
    "of another ledger": (
        lambda forged: note(
            forged.text(5).decode().replace("credledger/", "credledger/00", 1), "ann"
        ),
        "another ledger",
    ),
    "by a stranger": (lambda forged: note(forged.text(5).decode(), "eve"), "one who may"),
    "by one who might not yet": (lambda forged: forged.note(2, "ben"), "one who may"),
    "with a forged cosignature": (
        lambda forged: (
            forged.note(5, "ann")
            + cosigned(forged.text(5).decode(), "wren", PACKED_S, key_of("eve"))
        ),
        "cosignature",
    ),
    "with other ends of lines": (
        lambda forged: forged.note(5, "ann").replace("\n", "\r\n"),
        "not well formed",
    ),
    "with a size of other digits": (
        lambda forged: forged.note(5, "ann").replace("\n5\n", "\n\u0665\n"),
        "not well formed",
    ),
    "cut off": (lambda forged: forged.note(5, "ann").split("\u2014")[0], "not well formed"),
    "beyond the pack, with a line less": (
        lambda forged: note("\n".join(later(forged)[:3]) + "\n", "eve"),
        "not well formed",
    ),
    "beyond the pack, with a line more": (
        lambda forged: note("\n".join([*later(forged)[:3], "more", *later(forged)[3:]]), "eve"),
        "not well formed",
    ),
    "another root before a line of something else": (
        lambda forged: note(other_root(forged), "ann") + "more\n",
        "another log",
    ),
    "with no base64": (lambda forged: forged.note(5, "ann").replace("=", "*"), "base64"),
}


def other_root(forged: Forged) -> str:
    lines = forged.text(5).decode().split("\n")
    lines[2] = base64.b64encode(bytes(32)).decode()
    return "\n".join(lines)


def later(forged: Forged) -> list[str]:
    """The lines of a head's text, as if it were of a larger size."""
    return forged.text(5).decode().replace("\n5\n", "\n7\n").split("\n")


@pytest.mark.parametrize("name", ANCHORS)
def test_an_anchor_that_is_not_this_logs_does_not_hold(pack, tmp_path, name):
    make, word = ANCHORS[name]
    kept = tmp_path / "kept"
    kept.write_text(make(plain()))
    found = told(pack, "--anchors", kept, "--witness", verifier_key("wren"))
    (check,) = [one for one in found["checks"] if not one["ok"]]
    assert check["name"] == "anchors"
    assert word in check["detail"]


def test_an_anchor_beyond_the_pack_or_of_an_unknown_kind_proves_nothing_and_harms_nothing(
    pack, tmp_path
):
    longer = plain()
    longer.rows.append(Row(7, stream(5), 1, epoch=2))
    kept = tmp_path / "kept"
    kept.write_text("timestamp\nabc\n" + longer.note(7, "eve"))
    found = told(pack, "--anchors", kept)
    assert (found["ok"], found["anchored_to"], found["goes_on_to"]) == (True, None, None)
    assert found["checks"][-1]["detail"].startswith("0 of 1 ")
    assert found["checks"][-1]["detail"].endswith("1 of a kind not known here")


def test_a_head_beyond_the_pack_by_a_key_that_is_known_shows_that_something_is_cut_off(
    pack, tmp_path
):
    """The giver may have left it out with reason; the receiver is told that it is there."""
    longer = plain()
    longer.rows.append(Row(7, stream(5), 1, epoch=2))
    kept, wren = tmp_path / "kept", ("--witness", verifier_key("wren"))
    text = longer.text(7).decode()
    for content, words in (
        (longer.note(7, "ann"), ()),
        (f"{text}\n{cosigned(text, 'wren', PACKED_S)}", wren),
    ):
        kept.write_text(content)
        found = told(pack, "--anchors", kept, *words)
        assert (found["ok"], found["anchored_to"], found["goes_on_to"]) == (True, None, 7)
        people = run(pack, "--anchors", kept, *words).stdout
        assert "\nThe log goes on behind it, to size 7 at least.\nThis pack holds.\n" in people
    assert told(pack, "--anchors", kept)["goes_on_to"] is None


def test_a_head_beyond_the_pack_that_a_known_key_did_not_sign_does_not_hold(pack, tmp_path):
    longer = plain()
    longer.rows.append(Row(7, stream(5), 1, epoch=2))
    kept = tmp_path / "kept"
    kept.write_text(f"{longer.note(7, 'ann').rstrip()[:-8]}AAAAAA==\n")
    found = failing(pack, anchors=kept.read_bytes())
    assert found == [("anchors", "an anchor is not signed by one who may", 7)]
