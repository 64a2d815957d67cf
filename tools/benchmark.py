"""How fast the ledger is, beside the stock library and the bare floor, in one run.

    make bench

The *stock* column is the `eventsourcing` library with its own SQLite recorder and no encryption,
doing the same number of saves. The *floor* is sqlite3, one cached AES-GCM cipher and msgpack,
and nothing else: no decision, no tree, no signature. Ratios hold on a noisy machine where
absolute figures do not; each figure is the median of several runs, with the spread beside it.
The method and its limits: docs/explanation/benchmark.md.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import click
import msgpack
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

from ledger.claims import parse_claim
from ledger.codec.mapper import EventMapper
from ledger.log.sqlite import SqliteStore
from ledger.policy import Caller
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import Argon2Cost, new_passphrase, passphrase
from ledger.usecases.acting import Acting
from ledger.usecases.credentials import ImportItem
from ledger.usecases.founding import found_ledger
from ledger.usecases.ledger import Ledger
from ledger.values import FieldValue
from projections.views import Views
from tools.stores import MIGRATIONS
from tools.wiring import clock

_PASSPHRASE = "benchmarks only, never real"
_CALLERS = 64
_EVENT = os.urandom(190)


@dataclass(frozen=True, slots=True)
class Figure:
    """Rates of several runs, per second."""

    rates: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.rates)

    @property
    def spread(self) -> str:
        """Smallest and largest."""
        return f"{min(self.rates):,.0f}-{max(self.rates):,.0f}"


class Bench:
    """One ledger with a thousand mappings, and the measurements."""

    folders: ClassVar[list[Path]] = []

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.folder = self._folder()
        self.store = SqliteStore(self.folder / "store" / "ledger.db", migration_packages=MIGRATIONS)
        self.ledger, self.views = self._ledger()
        acting = Acting()
        self.ledger.create_application(acting, "bench", kind="individual")
        values = {
            "Windows User Name": FieldValue("CONTOSO\\someone"),
            "Windows Password": FieldValue("a password of usual length"),
        }
        self.owners = [parse_claim(f"user:u{number}") for number in range(1000)]
        items = [ImportItem("bench", owner, values) for owner in self.owners]
        for start in range(0, len(items), 500):
            self.ledger.import_batch(acting, items[start : start + 500])

    def measured(self, work: Callable[[], int]) -> Figure:
        """The rate of each run; `work` returns how much it did."""
        rates = []
        for _ in range(self.runs):
            started = time.perf_counter()
            done = work()
            rates.append(done / (time.perf_counter() - started))
        return Figure(tuple(rates))

    def reads(self) -> int:
        """Audited reads from 64 callers, each decided, recorded durably, and opened."""
        callers = [Caller(owner) for owner in self.owners] * 4
        with ThreadPoolExecutor(_CALLERS) as pool:
            list(pool.map(lambda caller: self.ledger.retrieve(caller, "bench"), callers))
        return len(callers)

    def single_appends(self) -> int:
        """One recorded question at a time from 64 callers: a durable append and little else."""
        with ThreadPoolExecutor(_CALLERS) as pool:
            list(pool.map(lambda n: self.ledger.record_query(Acting(), "bench", n), range(4000)))
        return 4000

    def stock_appends(self) -> int:
        """The same with the stock recorder: one save an event."""
        datastore = SQLiteDatastore(str(self._folder() / "stock.db"))
        recorder = SQLiteApplicationRecorder(datastore)
        recorder.create_table()

        def save(_: int) -> None:
            recorder.insert_events([StoredEvent(uuid4(), 1, "topic", _EVENT)])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(save, range(1500)))
        datastore.close()
        return 1500

    def floor_appends(self) -> int:
        """The bare floor: one thread, one sealed row a commit."""
        connection = self._bare()
        cipher = AESGCM(os.urandom(32))
        for number in range(3000):
            _insert(connection, cipher, [number])
        connection.close()
        return 3000

    def floor_batches(self) -> int:
        """The bare floor: 64 sealed rows a commit."""
        connection = self._bare()
        cipher = AESGCM(os.urandom(32))
        for start in range(0, 64 * 200, 64):
            _insert(connection, cipher, list(range(start, start + 64)))
        connection.close()
        return 64 * 200

    def rebuild(self) -> int:
        """All four views folded anew from the log."""
        size = self.ledger.head().size
        self.views.rebuild()
        return size

    def close(self) -> None:
        """Let go of everything."""
        self.ledger.close()
        self.store.close()
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="credledger-bench-"))
        self.folders.append(folder)
        return folder

    def _bare(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._folder() / "floor.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE log (position INTEGER PRIMARY KEY, sealed BLOB)")
        return connection

    def _ledger(self) -> tuple[Ledger, Views]:
        keyring = self.folder / "keys" / "keyring"
        found_ledger(
            self.store,
            keyring,
            label="bench",
            account="bench",
            holding=new_passphrase(_PASSPHRASE),
            clock=clock,
            random=os.urandom,
            cost=Argon2Cost(19 * 1024, 2, 1),
            following=lambda mapper, streams: (Views(self.store, mapper, streams),),
        )
        unlocked = read_keyring(keyring).unlock(passphrase(_PASSPHRASE))
        mapper = EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom)
        views = Views(self.store, mapper, unlocked.stream_names())
        ledger = Ledger.open(
            self.store,
            keyring,
            unlocked,
            account="bench",
            clock=clock,
            random=os.urandom,
            mapper=mapper,
            maintainers=(views,),
        )
        return ledger, views


def _insert(connection: sqlite3.Connection, cipher: AESGCM, numbers: list[int]) -> None:
    rows = []
    for number in numbers:
        nonce = os.urandom(12)
        rows.append((number, nonce + cipher.encrypt(nonce, msgpack.packb({"e": _EVENT}), None)))
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO log VALUES (?, ?)", rows)
    connection.execute("COMMIT")


@click.command()
@click.option("--runs", default=3, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("bench-latest.json"))
def main(runs: int, out: Path) -> None:
    """Measure, print one table, write JSON."""
    bench = Bench(runs)
    try:
        floor_single = bench.measured(bench.floor_appends)
        floor_batch = bench.measured(bench.floor_batches)
        stock = bench.measured(bench.stock_appends)
        rows: list[tuple[str, Figure, Figure | None, Figure | None]] = [
            ("durable appends, 64 callers", bench.measured(bench.single_appends), stock,
             floor_single),
            ("audited reads, 64 callers", bench.measured(bench.reads), None, floor_batch),
            ("rebuild of all views, events", bench.measured(bench.rebuild), None, None),
        ]  # fmt: skip
    finally:
        bench.close()
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    versions = {name: version(name) for name in ("cryptography", "eventsourcing", "msgpack")}
    click.echo(f"{machine}, SQLite {sqlite3.sqlite_version}, {versions}, median of {runs}\n")
    click.echo(f"{'work':32}{'ours/s':>10}{'spread':>18}{'stock/s':>10}{'floor/s':>10}"
               f"{'/stock':>8}{'/floor':>8}")  # fmt: skip
    documents = []
    for name, ours, beside, floor in rows:
        click.echo(
            f"{name:32}{ours.median:>10,.0f}{ours.spread:>18}"
            f"{_rate(beside):>10}{_rate(floor):>10}{_ratio(ours, beside):>8}{_ratio(ours, floor):>8}"
        )
        documents.append(
            {
                "work": name,
                "ours": ours.rates,
                "stock": beside.rates if beside else None,
                "floor": floor.rates if floor else None,
            }
        )
    out.write_text(
        json.dumps({"machine": machine, "versions": versions, "rows": documents}, indent=2),
        encoding="utf-8",
    )


def _rate(figure: Figure | None) -> str:
    return f"{figure.median:,.0f}" if figure else "-"


def _ratio(ours: Figure, other: Figure | None) -> str:
    return f"{ours.median / other.median:.2f}" if other else "-"


if __name__ == "__main__":
    main()
