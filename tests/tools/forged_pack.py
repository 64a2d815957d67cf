"""A pack by somebody who owns a ledger's keys and follows its rules as far as a test wants.

It is made from the pages alone, with `tests.ledger.log.from_the_page`; whatever a test changes of a
row or head is signed all the same, so that only the rule in question stands against it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.ledger.log import from_the_page as page

SALT = bytes(range(16))
FILES = {"report.txt": b"told\n", "verify.py": b"pass\n"}
BEGUN_AT = 1_795_910_400_000_000  # 2026-11-29
MONTH = 202611


def key_of(name: str) -> Ed25519PrivateKey:
    """Always the same key of a name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def public(name: str) -> bytes:
    return key_of(name).public_key().public_bytes_raw()


LEDGER = page.ledger_id(public("ann"), SALT)


@dataclass(frozen=True)
class Row:
    position: int
    stream: bytes = bytes(16)
    version: int = 1
    topic: str = "application.created"
    epoch: int = 1
    period: int = MONTH
    recorded_at: int = 0
    sealed: bytes = b"sealed"
    ledger: bytes = LEDGER

    def header(self) -> bytes:
        return page.header(
            self.ledger, self.position, self.stream, self.version, self.topic, self.epoch,
            self.period, self.recorded_at or BEGUN_AT + self.position,
        )  # fmt: skip


def stream(number: int) -> bytes:
    return bytes([number]) * 16


@dataclass
class Forged:
    """Rows, heads as (size, who signs), and signers as (who, class, change, size, by)."""

    rows: list[Row] = field(default_factory=list)
    heads: list[tuple[int, str]] = field(default_factory=list)
    signers: list[tuple[str, str, str, int, str]] = field(
        default_factory=lambda: [("ann", "operator", "begin", 0, "ann")]
    )
    told_roots: dict[int, bytes] = field(default_factory=dict)
    """Instead of the true ones, and signed."""

    def alter(self, at: int, /, **changes: object) -> None:
        self.rows[at - 1] = replace(self.rows[at - 1], **changes)

    def roots(self) -> list[bytes]:
        """The root at each size."""
        nodes, roots = [], [page.EMPTY]
        for size, row in enumerate(self.rows):
            nodes = page.appended(size, nodes, page.leaf(row.header(), row.sealed))
            roots.append(page.root_of(nodes))
        return [self.told_roots.get(size, root) for size, root in enumerate(roots)]

    def signer_rows(self) -> list[dict]:
        roots, rows = self.roots(), []
        for who, signer_class, change, size, by in self.signers:
            row = {
                "public_key": public(who), "class": signer_class, "change": change,
                "from_size": size, "introduced_by": public(by),
            }  # fmt: skip
            content = page.signer_content(LEDGER, row)
            rows.append({**row, "signature": key_of(by).sign(content + roots[size])})
        return rows

    def text(self, size: int) -> bytes:
        digest = page.signers_digest(LEDGER, self.signer_rows(), size)
        return page.head_text(LEDGER, size, self.roots()[size], digest)

    def note(self, size: int, who: str) -> str:
        return note(self.text(size).decode(), who)

    def write(self, folder: Path) -> Path:
        folder.mkdir()
        roots = self.roots()
        rows = b""
        for row in self.rows:
            header = row.header()
            rows += len(header).to_bytes(2, "big") + header + hashlib.sha256(row.sealed).digest()
        heads = b""
        for size, who in self.heads:
            signature = key_of(who).sign(self.text(size))
            heads += size.to_bytes(8, "big") + roots[size] + public(who) + signature
        signers = [
            {
                name: value.hex() if isinstance(value, bytes) else value
                for name, value in row.items()
            }
            for row in self.signer_rows()
        ]
        ledger = {"format": 1, "id": LEDGER.hex(), "salt": SALT.hex(), "signers": signers}
        size, who = self.heads[-1]
        for name, content in {
            **FILES,
            "rows.bin": rows,
            "heads.bin": heads,
            "ledger.json": json.dumps(ledger).encode(),
            "checkpoint.txt": self.note(size, who).encode(),
        }.items():
            (folder / name).write_bytes(content)
        tell(folder, size=size, root=roots[size].hex())
        return folder


def note(text: str, who: str) -> str:
    name = text.partition("\n")[0]
    key_hash = hashlib.sha256(name.encode() + b"\n\x01" + public(who)).digest()[:4]
    signature = key_of(who).sign(text.encode())
    return f"{text}\n\u2014 {name} {base64.b64encode(key_hash + signature).decode()}\n"


def tell(folder: Path, **changes: object) -> None:
    """Let the manifest tell of the files as they are now."""
    path = folder / "manifest.json"
    told = {"format": 1, "ledger_id": LEDGER.hex()}
    if path.exists():
        told = json.loads(path.read_bytes())
    files = [
        {
            "bytes": len(content := entry.read_bytes()),
            "name": entry.name,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for entry in sorted(folder.iterdir())
        if entry.name != path.name
    ]
    path.write_text(json.dumps({**told, "files": files, **changes}))


def plain() -> Forged:
    """Six rows in two epochs under four heads, the last of them by an auditor."""
    rows = [
        Row(1, stream(1), 1, "epoch.started"),
        Row(2, stream(1), 2, "slot.added"),
        Row(3, stream(2), 1),
        Row(4, stream(1), 3, "epoch.started"),
        Row(5, stream(2), 2, epoch=2),
        Row(6, stream(3), 1, "audit.queried", epoch=2),
    ]
    signers = [
        ("ann", "operator", "begin", 0, "ann"),
        ("cleo", "auditor", "begin", 2, "ann"),
        ("dora", "auditor", "begin", 2, "ann"),
        ("ben", "operator", "begin", 2, "ann"),
    ]
    return Forged(rows, [(2, "ann"), (3, "ben"), (5, "ann"), (6, "cleo")], signers)
