"""A reader of archives, written from `docs/reference/archive-format.md` alone.

It imports nothing of the ledger. The answer is a log as `tests.ledger.log.from_the_page` takes it:
a dictionary of the four tables.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path

import msgpack

ROW = ("position", "stream", "version", "topic", "epoch", "period", "recorded_at", "sealed", "leaf")
COMMIT = ("size", "root", "frontier", "signer", "signature")


def manifest_in(path: Path) -> tuple[bytes, dict]:
    """The digest and what it says."""
    line, told, rest = path.read_bytes().split(b"\n")
    digest = hashlib.sha256(line).digest()
    assert told == digest.hex().encode()
    assert rest == b""
    said = json.loads(line)
    assert said["format"] in (1, 2)
    assert ("keyring" in said) == (said["format"] == 2)
    assert all(("packed_bytes" in one) == ("keyring" in said) for one in said["segments"])
    assert json.dumps(said, sort_keys=True, separators=(",", ":")).encode() == line
    return digest, said


def read(*folders: Path) -> dict[str, list[dict]]:
    """The log in the newest part of the folders, with all that it goes on from."""
    manifests = {}
    for folder in folders:
        for path in folder.glob("part-*.manifest"):
            digest, said = manifest_in(path)
            manifests[digest] = (path, said)
    path, said = max(manifests.values(), key=lambda one: one[1]["head"]["size"])
    parts = [(path, said)]
    while parts[0][1]["previous"] is not None:
        before = manifests[bytes.fromhex(parts[0][1]["previous"])]
        assert before[1]["head"]["size"] == parts[0][1]["after"]
        assert before[1]["ledger"] == parts[0][1]["ledger"]
        parts.insert(0, before)
    rows, commits = [], []
    for path, said in parts:
        for number, told in enumerate(said["segments"]):
            file = path.with_name(path.name.replace(".manifest", f".{number:06d}.segment"))
            read_segment(file.read_bytes(), told, rows, commits)
        assert commits[-1] == unhexed(said["head"])
    newest = parts[-1][1]
    return {
        "ledger": [unhexed(newest["ledger"])],
        "signers": [{name: row[name] for name in ORDER} for row in map(unhexed, newest["signers"])],
        "log": rows,
        "commits": commits,
    }


ORDER = ("public_key", "class", "change", "from_size", "introduced_by", "signature")


def unhexed(said: dict) -> dict:
    texts = {"class", "change"}
    return {
        name: bytes.fromhex(value) if isinstance(value, str) and name not in texts else value
        for name, value in said.items()
    }


def read_segment(stored: bytes, told: dict, rows: list, commits: list) -> None:
    assert len(stored) == told["stored_bytes"]
    assert hashlib.sha256(stored).hexdigest() == told["sha256"]
    packed = told.get("packed_bytes", len(stored))
    content, sealed = zlib.decompress(stored[:packed]), stored[packed:]
    assert len(content) == told["content_bytes"]
    unpacker = msgpack.Unpacker()
    unpacker.feed(content)
    items = list(unpacker)
    count = told["last"] - told["first"] + 1
    assert len(items) == count + told["commits"]
    for position, item in enumerate(items[:count], told["first"]):
        rows.append(dict(zip(ROW, item, strict=True)))
        if "packed_bytes" in told:
            length = rows[-1]["sealed"]
            rows[-1]["sealed"], sealed = sealed[:length], sealed[length:]
        assert rows[-1]["position"] == position
    assert sealed == b""
    for item in items[count:]:
        commits.append(dict(zip(COMMIT, item, strict=True)))
        assert told["first"] <= commits[-1]["size"] <= told["last"]
