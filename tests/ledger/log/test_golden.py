"""Golden vectors of the log's formats: what is written once must be read for ever.

`tests/golden/log.json` holds headers, associated data, leaves, trees and one small complete log:
two operators of whom one goes, an auditor who asks, two epochs, two months, transactions of one
and of many rows. The ledger must make and accept exactly these bytes, and so must a verifier that
was written from the format page alone. The vectors were made once by::

    python -m tests.ledger.log.test_golden > tests/golden/log.json
"""

from __future__ import annotations

import copy
import hashlib
import json
import sqlite3
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.codec.header import decode_header, encode_associated_data, encode_header
from ledger.identifiers import ledger_id_of
from ledger.log.checkpoint import head_text, note
from ledger.log.rows import (
    AUDITOR,
    BEGIN,
    END,
    OPERATOR,
    CommitRow,
    LedgerRow,
    LogRow,
    SignerRow,
    signers_digest,
)
from ledger.log.signers import HeadSigner
from ledger.log.sqlite import SqliteStore
from ledger.log.verification import verify_log
from ledger.sealing.epochs import period_of
from ledger.tree import Frontier, leaf_hash
from tests.ledger.log import from_the_page

FILE = Path(__file__).parents[2] / "golden" / "log.json"
NOVEMBER_END = 1_796_083_199_000_000  # 2026-11-30T23:59:59Z
COLUMNS = {
    "ledger": LedgerRow.__struct_fields__,
    "signers": ("public_key", "class", "change", "from_size", "introduced_by", "signature"),
    "log": LogRow._fields,
    "commits": CommitRow._fields,
}


def vectors():
    return json.loads(FILE.read_text()) if FILE.exists() else {"headers": [], "trees": []}


def drawn(label: str, size: int = 32) -> bytes:
    """Bytes that only look random."""
    blocks = (hashlib.sha256(f"{label}/{n}".encode()).digest() for n in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def key(label: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(drawn(label))


PLACES = {
    "first row": (1, "epoch.started", 1, 1, 202611, NOVEMBER_END),
    "last position": (2**63 - 1, "access.granted", 2**63 - 1, 2**32 - 1, 202612, 2**63 - 1),
    "long topic": (7, "t" * 100, 3, 2, 197001, 0),
    "short topic": (8, "t", 1, 2, 197001, 1),
    "before 1970": (9, "credential.set", 1, 1, 196912, -1),
}


def made_headers() -> list[dict]:
    found = []
    for name, (position, topic, version, epoch, period, at) in PLACES.items():
        ledger, stream, sealed = drawn("ledger"), drawn(name, 16), drawn(name, 100)
        header = encode_header(ledger, position, stream, version, topic, epoch, period, at)
        aad = encode_associated_data(ledger, stream, version, topic, epoch, period)
        told = {
            "ledger": ledger, "position": position, "stream": stream, "version": version,
            "topic": topic, "epoch": epoch, "period": period, "recorded_at": at,
            "header": header, "associated_data": aad, "sealed": sealed,
            "leaf": leaf_hash(header, sealed),
        }  # fmt: skip
        found.append({"name": name, **{name: plain(value) for name, value in told.items()}})
    return found


def made_trees() -> list[dict]:
    found = []
    for size in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 64, 1000):
        tree = Frontier().extend(drawn(f"leaf {n}") for n in range(size))
        found.append({"size": size, "frontier": tree.packed().hex(), "root": tree.root().hex()})
    return found


class Maker:
    """Appends to a log with the ledger's own parts."""

    def __init__(self) -> None:
        public = key("ann").public_key().public_bytes_raw()
        self.ledger = LedgerRow(ledger_id_of(public, drawn("salt", 16)), 1, drawn("salt", 16))
        self.rows: list[LogRow] = []
        self.signers: list[SignerRow] = []
        self.commits: list[CommitRow] = []
        self.tree = Frontier()
        self.versions: dict[bytes, int] = {}
        self.epoch = 1

    def signer(self, who: str, signer_class: str = OPERATOR) -> HeadSigner:
        return HeadSigner(self.ledger, key(who), signer_class)

    def change(self, by: str, whom: str, signer_class: str, change: str) -> SignerRow:
        public = key(whom).public_key().public_bytes_raw()
        return self.signer(by).introduce(public, signer_class, change, self.tree)

    def commit(self, by: str, *topics: tuple[str, str], signers: tuple[SignerRow, ...] = ()):
        """One transaction; a topic comes with the name of its stream."""
        self.signers += signers
        for topic, name in topics:
            position, stream = len(self.rows) + 1, drawn(name, 16)
            version = self.versions[stream] = self.versions.get(stream, 0) + 1
            at = NOVEMBER_END + (position - 1) * 300_000
            place = (position, stream, version, topic, self.epoch, period_of(at), at)
            sealed = drawn(f"sealed {position}", 92 + position)
            leaf = leaf_hash(encode_header(self.ledger.id, *place), sealed)
            self.rows.append(LogRow(*place, sealed, leaf))
            self.epoch += topic == "epoch.started" and position > 1
            self.tree = self.tree.extend([leaf])
        digest = signers_digest(self.ledger.id, tuple(self.signers), self.tree.size)
        self.commits.append(self.signer(by).commit(self.tree, digest))


def made_log() -> Maker:
    log = Maker()
    log.commit("ann", ("epoch.started", "keyring"), ("slot.added", "keyring"),
               signers=(log.change("ann", "ann", OPERATOR, BEGIN),))  # fmt: skip
    log.commit("ann", ("slot.added", "keyring"),
               signers=(log.change("ann", "ben", OPERATOR, BEGIN),))  # fmt: skip
    log.commit("ben", ("application.created", "payroll"), ("credential.set", "mapping"))
    log.commit("ann", ("slot.added", "keyring"),
               signers=(log.change("ben", "cleo", AUDITOR, BEGIN),))  # fmt: skip
    log.commit("cleo", ("audit.queried", "cleo"), ("audit.queried", "cleo"))
    log.commit("ann", ("epoch.started", "keyring"), ("credential.resealed", "mapping"))
    log.commit("ann", ("slot.removed", "keyring"),
               signers=(log.change("ann", "ben", OPERATOR, END),))  # fmt: skip
    log.commit("ann", *[("access.granted", "access")] * 5)
    log.commit("ann", ("access.denied", "access"))
    return log


def plain(value):
    return value.hex() if isinstance(value, bytes) else value


def tables(log: Maker) -> dict[str, list[dict]]:
    ledger = [getattr(log.ledger, name) for name in COLUMNS["ledger"]]
    found = {"ledger": [ledger], "signers": log.signers, "log": log.rows, "commits": log.commits}
    return {
        name: [dict(zip(COLUMNS[name], row, strict=True)) for row in rows]
        for name, rows in found.items()
    }


def read_tables(stored: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """The tables of the file, with bytes where bytes belong."""
    texts = {"class", "change", "topic"}
    return {
        table: [
            {
                name: bytes.fromhex(value)
                if isinstance(value, str) and name not in texts
                else value
                for name, value in row.items()
            }
            for row in rows
        ]
        for table, rows in stored.items()
    }


@pytest.mark.parametrize("vector", vectors()["headers"], ids=lambda one: one["name"])
def test_headers_and_leaves(vector):
    """A row's place gives these bytes, by the ledger and by the page."""
    ledger, stream, sealed, header, aad, leaf = (
        bytes.fromhex(vector[name])
        for name in ("ledger", "stream", "sealed", "header", "associated_data", "leaf")
    )
    place = (ledger, vector["position"], stream, vector["version"], vector["topic"],
             vector["epoch"], vector["period"], vector["recorded_at"])  # fmt: skip
    assert encode_header(*place) == from_the_page.header(*place) == header
    assert decode_header(header) == place
    assert encode_associated_data(ledger, *place[2:7]) == aad
    assert aad == header[:34] + header[42:-8]
    assert leaf_hash(header, sealed) == from_the_page.leaf(header, sealed) == leaf


@pytest.mark.parametrize(
    "change",
    [
        lambda header: b"\x02" + header[1:],
        lambda header: header[:1] + b"\x02" + header[2:],
        lambda header: header + b"\0",
        lambda header: header[:-1],
        lambda header: header[:68] + b"\xff" + header[69:],
        lambda header: header[:40],
    ],
    ids=["format", "suite", "longer", "shorter", "topic", "cut off"],
)
def test_what_is_no_header_is_not_read_as_one(change):
    """Another format or suite, or a length that does not fit its topic."""
    header = bytes.fromhex(vectors()["headers"][0]["header"])
    with pytest.raises((ValueError, struct.error)):
        decode_header(change(header))


REFUSED = {
    "a topic that is not ASCII": {"topic": "caf\u00e9"},
    "a topic too long": {"topic": "t" * 2**16},
    "a negative position": {"position": -1},
    "a position too large": {"position": 2**64},
    "a negative version": {"version": -1},
    "an epoch too large": {"epoch": 2**32},
    "a negative period": {"period": -1},
    "a time too late": {"recorded_at": 2**63},
    "a time too early": {"recorded_at": -(2**63) - 1},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_place_that_no_header_can_hold_is_refused(name):
    place = {
        "position": 1, "stream": drawn(name, 16), "version": 1, "topic": "epoch.started",
        "epoch": 1, "period": 202611, "recorded_at": NOVEMBER_END,
    }  # fmt: skip
    encode_header(drawn("ledger"), **place)
    with pytest.raises((ValueError, OverflowError, struct.error)):
        encode_header(drawn("ledger"), **{**place, **REFUSED[name]})


@pytest.mark.parametrize("vector", vectors()["trees"], ids=lambda one: str(one["size"]))
def test_trees(vector):
    """So many leaves give this frontier and root."""
    leaves = [drawn(f"leaf {n}") for n in range(vector["size"])]
    tree = Frontier().extend(leaves)
    nodes: list[bytes] = []
    for size, leaf in enumerate(leaves):
        nodes = from_the_page.appended(size, nodes, leaf)
    assert tree.packed().hex() == b"".join(nodes).hex() == vector["frontier"]
    assert tree.root().hex() == from_the_page.root_of(nodes).hex() == vector["root"]


def test_what_the_ledger_writes_is_the_golden_log():
    stored = read_tables(vectors()["log"])
    assert tables(made_log()) == stored
    assert from_the_page.verify(stored)[0] == len(stored["log"])


def stored_in(folder: Path, log: dict[str, list[dict]]) -> SqliteStore:
    store = SqliteStore(folder / "ledger.db")
    store.create()
    with store.writing() as writing:
        writing.insert_ledger(LedgerRow(**log["ledger"][0]))
        writing.insert_signers([SignerRow(*row.values()) for row in log["signers"]])
        writing.insert_rows([LogRow(**row) for row in log["log"]])
        for row in log["commits"]:
            writing.insert_commit(CommitRow(**row))
    return store


def test_the_ledger_accepts_the_golden_log(tmp_path):
    stored = read_tables(vectors()["log"])
    found = verify_log(stored_in(tmp_path, stored), pinned=stored["ledger"][0]["id"])
    assert found.ok, found.checks
    assert (found.size, found.root) == from_the_page.verify(stored)


def test_heads_and_notes():
    stored, told = read_tables(vectors()["log"]), vectors()["note"]
    ledger, head = stored["ledger"][0]["id"], stored["commits"][-1]
    digest = from_the_page.signers_digest(ledger, stored["signers"], head["size"])
    text = head_text(ledger, head["size"], head["root"], digest)
    assert text == from_the_page.head_text(ledger, head["size"], head["root"], digest)
    assert note(ledger, text, head["signer"], head["signature"]) == told


def changed(table: str, row: int, column: str, value):
    def change(log):
        held = log[table][row][column]
        log[table][row][column] = value(held) if callable(value) else value

    return change


def taken(table: str, row: int):
    def change(log):
        del log[table][row]

    return change


def flipped(held: bytes) -> bytes:
    return bytes([held[0] ^ 1]) + held[1:]


CHANGES = {
    "a sealed byte": (changed("log", 4, "sealed", flipped), "leaf", "altered-row"),
    "a leaf": (changed("log", 4, "leaf", flipped), "leaf", "altered-row"),
    "a topic": (changed("log", 4, "topic", "credential.deleted"), "leaf", "altered-row"),
    "a version": (changed("log", 4, "version", 77), "leaf", "altered-row"),
    "a time": (changed("log", 4, "recorded_at", lambda at: at + 1), "leaf", "altered-row"),
    "a row taken": (taken("log", 4), "position", "missing-row"),
    "the last row taken": (taken("log", -1), "position", "missing-row"),
    "the last commit taken": (taken("commits", -1), "position", "unsigned-rows"),
    "a frontier": (changed("commits", 3, "frontier", flipped), "frontier", "wrong-frontier"),
    "a root": (changed("commits", 4, "root", flipped), "root", "wrong-root"),
    "a signature": (changed("commits", 4, "signature", flipped), "signature", "bad-signature"),
    "another signer": (changed("commits", 4, "signer", flipped), "signature", "bad-signature"),
    "a signer's class": (changed("signers", 2, "class", "operator"), "signer", "bad-signer"),
    "a signer's size": (changed("signers", 1, "from_size", 3), "signer", "bad-signer"),
    "a signer taken": (taken("signers", 2), "signature", "bad-signature"),
    "the first signer taken": (taken("signers", 0), "signer", "bad-signer"),
    "an end taken": (taken("signers", 3), "signature", "bad-signature"),
    "a longer stream": (
        changed("log", 3, "stream", lambda held: held + b"\0"),
        "leaf",
        "altered-row",
    ),
    "the salt": (changed("ledger", 0, "salt", flipped), "signer", "bad-signer"),
    "the ledger id": (changed("ledger", 0, "id", flipped), "signer", "bad-signer"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_refused_for_the_same_reason(tmp_path, name):
    """By the page's verifier and by the ledger's."""
    change, kind, code = CHANGES[name]
    log = copy.deepcopy(read_tables(vectors()["log"]))
    change(log)
    with pytest.raises(from_the_page.Damage) as caught:
        from_the_page.verify(log)
    assert caught.value.args[0] == kind
    store = SqliteStore(tmp_path / "ledger.db")
    store.create()
    put_as_found(tmp_path / "ledger.db", log)
    assert verified(store) == [code]


def verified(store) -> list[str]:
    """The codes of what is found, the same whether one checks the log or several in stretches."""
    alone = verify_log(store)
    told = {"jobs": 2, "reopen": lambda: store}
    for rows in (1, 2, 3, 4):
        in_stretches = verify_log(
            store,
            stretch_rows=rows,
            shared_rows=0,
            pool=lambda _, **how: ThreadPoolExecutor(1, **how),
            **told,
        )
        assert in_stretches == alone
    return [check.name for check in alone.checks if not check.ok]


def remade(log: dict[str, list[dict]]) -> None:
    """Leaves, frontiers, roots and signatures that fit the rows, as a holder of all keys would."""
    ledger = log["ledger"][0]["id"]
    holders = {key(who).public_key().public_bytes_raw(): key(who) for who in ("ann", "ben", "cleo")}
    size, nodes = 0, []
    for commit in log["commits"]:
        root = from_the_page.root_of(nodes)
        for signer in log["signers"]:
            if size <= signer["from_size"] < commit["size"]:
                text = from_the_page.signer_content(ledger, signer) + root
                signer["signature"] = holders[signer["introduced_by"]].sign(text)
        for row in log["log"][size : commit["size"]]:
            place = [row[name] for name in LogRow._fields[:7]]
            row["leaf"] = from_the_page.leaf(from_the_page.header(ledger, *place), row["sealed"])
            nodes = from_the_page.appended(size, nodes, row["leaf"])
            size += 1
        root = from_the_page.root_of(nodes)
        digest = from_the_page.signers_digest(ledger, log["signers"], size)
        text = from_the_page.head_text(ledger, size, root, digest)
        commit.update(
            root=root, frontier=b"".join(nodes), signature=holders[commit["signer"]].sign(text)
        )


def signed_by(commit: int, who: str):
    return changed("commits", commit, "signer", key(who).public_key().public_bytes_raw())


def introduced_by(signer: int, who: str):
    return changed("signers", signer, "introduced_by", key(who).public_key().public_bytes_raw())


# What nobody may record, whoever signs for it: the kind at the page, and the ledger's code.
SIGNED_CHANGES = {
    "nothing": (lambda log: None, None, None),
    "a time that stands still": (
        changed("log", 4, "recorded_at", NOVEMBER_END + 900_000), "time", "time-backwards",
    ),
    "a time of zero": (changed("log", 0, "recorded_at", 0), "time", "time-backwards"),
    "a time before 1970": (changed("log", 0, "recorded_at", -1), "time", "time-backwards"),
    "another month": (changed("log", 4, "period", 202610), "period", "wrong-period"),
    "an epoch too early": (changed("log", 4, "epoch", 2), "epoch", "wrong-epoch"),
    "an epoch too late": (changed("log", -1, "epoch", 1), "epoch", "wrong-epoch"),
    "a version left out": (changed("log", -1, "version", 99), "version", "stream-gap"),
    "a version left out within a commit": (
        lambda log: [row.update(version=row["version"] + 1) for row in log["log"][13:]],
        "version", "stream-gap",
    ),
    "a change by an auditor": (
        changed("log", 6, "topic", "credential.set"), "class", "out-of-class",
    ),
    "two streams of an auditor": (
        lambda log: log["log"][7].update(stream=drawn("elsewhere", 16), version=1),
        "class", "out-of-class",
    ),
    "a head by one who has ended": (signed_by(-1, "ben"), "signature", "bad-signature"),
    "a head by one who has not begun": (signed_by(0, "ben"), "signature", "bad-signature"),
    "a signer introduced by an auditor": (introduced_by(3, "cleo"), "signer", "bad-signer"),
    "a signer introduced by itself": (introduced_by(1, "ben"), "signer", "bad-signer"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNED_CHANGES)
def test_no_signature_makes_up_for_a_rule(tmp_path, name):
    """The page's verifier and the ledger's refuse what holders of the keys must not sign."""
    change, kind, code = SIGNED_CHANGES[name]
    log = copy.deepcopy(read_tables(vectors()["log"]))
    change(log)
    remade(log)
    if kind is None:
        assert log == read_tables(vectors()["log"])
        return
    with pytest.raises(from_the_page.Damage) as caught:
        from_the_page.verify(log)
    assert caught.value.args[0] == kind
    store = SqliteStore(tmp_path / "ledger.db")
    store.create()
    put_as_found(tmp_path / "ledger.db", log)
    found = verified(store)
    store.close()
    assert found == [code]


def put_as_found(file: Path, log: dict[str, list[dict]]) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for table, columns in COLUMNS.items():
            marks = ", ".join("?" for _ in columns)
            listed = ", ".join(columns)
            for number, row in enumerate(log[table]):
                more = {"ledger": ("one", 1), "signers": ("ordinal", number + 1)}.get(table)
                names = f"{listed}, {more[0]}" if more else listed
                put = [row[name] for name in columns] + ([more[1]] if more else [])
                extra = ", ?" if more else ""
                connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks}{extra})", put)
    connection.close()


if __name__ == "__main__":
    log = made_log()
    head = log.commits[-1]
    digest = signers_digest(log.ledger.id, tuple(log.signers), head.size)
    text = head_text(log.ledger.id, head.size, head.root, digest)
    document = {
        "headers": made_headers(),
        "trees": made_trees(),
        "log": {
            table: [{name: plain(value) for name, value in row.items()} for row in rows]
            for table, rows in tables(log).items()
        },
        "note": note(log.ledger.id, text, head.signer, head.signature),
    }
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")
