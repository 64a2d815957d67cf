"""Packs with access records, whose maker leaves closed or makes up whatever a test wants.

A log is told in steps of one row each, in their order: `start` of an epoch, `read`, `erase` (which
are two rows, as an erasure is), `replace` of the next epoch's keys, `other`; each with its month.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgpack
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.tools.forged_pack import Forged, Row, stream, tell

OPEN, DESTROYED, MISSING = "open", "key-destroyed", "key-missing"
RECORD = {"e": {"caller": "user:ann"}, "r": "quarter end"}
_TOPICS = {"read": "access.granted", "replace": "epoch.replaced", "other": "application.updated"}
_KEYRING = stream(1)


def start_of(month: int) -> int:
    """Microseconds UTC."""
    return int(datetime(month // 100, month % 100, 1, tzinfo=UTC).timestamp()) * 1_000_000


def key_of_stream(name: bytes) -> bytes:
    return hashlib.sha256(b"key of " + name).digest()


@dataclass
class Recorded:
    """A log with access records, and what its maker tells of them."""

    forged: Forged = field(default_factory=Forged)
    keys: dict[int, bytes] = field(default_factory=dict)
    """Of each access record, by position."""
    committed: list[dict] = field(default_factory=list)
    """What an honest maker who holds all keys would tell."""

    def lines(self, told: Sequence[str]) -> list[dict]:
        """The lines of `access.jsonl`: of each record whether it is opened, or why not."""
        lines = []
        for (position, key), how in zip(self.keys.items(), told, strict=True):
            sealed = b64encode(self.forged.rows[position - 1].sealed).decode()
            opened = {"key": key.hex(), "record": RECORD, "sealed": sealed}
            lines.append({"position": position, **(opened if how == OPEN else {"unopened": how})})
        return lines

    def write(self, folder: Path, told: Sequence[str], committed: list[dict] | None = None) -> Path:
        """The pack, its manifest made to fit."""
        self.forged.heads = [(len(self.forged.rows), "ann")]
        self.forged.write(folder)
        lines = "".join(json.dumps(line) + "\n" for line in self.lines(told))
        (folder / "access.jsonl").write_text(lines)
        listed = self.committed if committed is None else committed
        (folder / "commitments.json").write_text(json.dumps(listed))
        tell(folder, size=len(self.forged.rows), root=self.forged.roots()[-1].hex())
        return folder

    def add(self, step: str, month: int) -> None:
        """The rows of one step."""
        if step == "erase":
            self._row(_KEYRING, "keys.destroying", month)
            self._row(_KEYRING, "history.erased", month)
        elif step == "read":
            self._read(month)
        elif step == "start":
            epoch = self._epoch()
            self._row(_KEYRING, "epoch.started", month)
            following = 1 if len(self.forged.rows) == 1 else epoch + 1
            self._commit(following, following + 1)
        else:
            self._row(_KEYRING if step == "replace" else stream(2), _TOPICS[step], month)
            if step == "replace":
                self._commit(self._epoch() + 1, replaced=True)

    def _read(self, month: int, key: bytes | None = None) -> None:
        name = hashlib.sha256(f"{self._epoch()} {month}".encode()).digest()[:16]
        key = key_of_stream(name) if key is None else key
        row = self._row(name, _TOPICS["read"], month)
        text = msgpack.packb(RECORD)
        padded = len(text).to_bytes(4, "big") + text
        padded += bytes(-len(padded) % 64)
        header = row.header()
        sealed = bytes(12) + AESGCM(key).encrypt(bytes(12), padded, header[:34] + header[42:-8])
        self.forged.alter(row.position, sealed=sealed)
        self.keys[row.position] = key

    def read_with(self, month: int, key: bytes) -> None:
        """A record that whoever wrote it sealed with another key than its stream's."""
        self._read(month, key)

    def _epoch(self) -> int:
        starts = sum(row.topic == "epoch.started" for row in self.forged.rows)
        return max(1, starts)

    def _row(self, name: bytes, topic: str, month: int) -> Row:
        position = len(self.forged.rows) + 1
        version = 1 + sum(row.stream == name for row in self.forged.rows)
        at = start_of(month) + position
        row = Row(position, name, version, topic, self._epoch(), month, at)
        self.forged.rows.append(row)
        return row

    def _commit(self, *epochs: int, replaced: bool = False) -> None:
        for epoch in epochs:
            what = f"{epoch} {replaced}" if replaced else self._known(epoch)
            digest = hashlib.sha256(what.encode()).hexdigest()
            self.committed.append({
                "access": [digest] * 120, "epoch": epoch, "position": len(self.forged.rows),
                "secret": digest, "state": digest,
            })  # fmt: skip

    def _known(self, epoch: int) -> str:
        replaced = {row.epoch + 1 for row in self.forged.rows if row.topic == "epoch.replaced"}
        return f"{epoch} {epoch in replaced}" if epoch in replaced else f"{epoch}"


def recorded(*steps: tuple[str, int]) -> Recorded:
    """The log of these steps."""
    made = Recorded()
    for step, month in steps:
        made.add(step, month)
    return made
