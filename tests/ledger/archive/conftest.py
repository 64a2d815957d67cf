"""A ledger with a little of everything, archives of it, and empty stores to restore into."""

from __future__ import annotations

import hashlib
import os
import uuid
import zlib
from pathlib import Path

import msgpack
import pytest
from msgspec.structs import replace

from ledger.archive import segment
from ledger.archive.creating import Created, create_archive
from ledger.archive.folder import ArchiveFolder
from ledger.archive.manifest import Manifest
from ledger.archive.reading import open_archive
from ledger.archive.restoring import Restoration
from ledger.archive.writing import take
from ledger.claims import parse_claim
from ledger.codec.mapper import EventMapper
from ledger.log.postgresql.store import PostgresqlStore
from ledger.log.rows import LogRow
from ledger.log.sqlite import SqliteStore
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from projections.digests import Digests
from projections.folding import Folding, Refolding
from projections.views import Views
from tests.conftest import STORE_PACKAGES, unlocked_by_passphrase

PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}


def silent(done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def small(monkeypatch):
    """Segments of three rows, so that a small log has many."""
    monkeypatch.setattr(segment, "SEGMENT_ROWS", 3)


def fill(ledger, count: int = 6) -> None:
    """An application, credentials and reads."""
    ledger.create_application(Acting(), "Payroll", kind="individual")
    for number in range(count):
        owner = parse_claim(f"user:p{number}")
        ledger.set_credentials(Acting(), "Payroll", owner, PAIR)
        ledger.retrieve(Caller(owner), "Payroll")


def fill_house(house):
    """A house with events in it."""
    ledger = house.open()
    fill(ledger)
    ledger.close()


@pytest.fixture
def house(prepared):
    """With events in it."""
    return prepared(fill_house)


@pytest.fixture
def filled(house, ledger):
    """The house; its ledger is open."""
    return house


def keyrings(reading) -> bytes:
    """The keyring's stream, which every log begins with."""
    return reading.row_at(1).stream


def created(
    store, directory: Path, *, after: int = 0, previous: bytes | None = None, recorded=(), views=()
) -> Created:
    """What the making of an archive of everything gives, where the log knows these digests."""
    with store.reading() as reading:
        taken = take(reading, keyrings(reading), views=views, after=after, previous=previous)
    folder = ArchiveFolder(directory)
    with folder.being_written():
        return create_archive(store, folder, taken, recorded, silent)


def archived(house, directory: Path, **told) -> Manifest:
    """An archive of everything there is."""
    return created(house.store(), directory, **told).parts[-1]


def tables(store):
    """All rows of the log's four tables."""
    with store.reading() as reading:
        return (
            reading.ledger(),
            reading.signers(),
            reading.rows_after(0, 10_000),
            reading.commits_after(0, 10_000),
        )


def indexes(store) -> set[str]:
    """The names of the views' indexes that are there, but for those of keys."""
    of_engine = {
        "sqlite": ("SELECT name FROM sqlite_master WHERE type = ? AND sql IS NOT NULL", "index"),
        "postgresql": ("SELECT indexname::text FROM pg_indexes WHERE schemaname::text = ?", None),
    }
    with store.reading() as reading:
        statement, told = of_engine[reading.ENGINE]
        told = told or reading.connection.execute("SELECT current_schema()::text")[0][0]
        found = {name for (name,) in reading.connection.execute(statement, (told,))}
    return {name for name in found if not name.endswith(("_pkey", "_key"))}


def beginning(held, size: int):
    """The same tables as they were at this size."""
    ledger, signers, rows, commits = held
    return (
        ledger,
        tuple(row for row in signers if row.from_size < size),
        rows[:size],
        [commit for commit in commits if commit.size <= size],
    )


def restored(house, directory: Path, store, audit_stream_of=None, **told):
    """Restore into a store, with views; the views."""
    unlocked = unlocked_by_passphrase(house.keyring_path)
    store.create()
    mapper = EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom)
    views = Views(store, mapper, unlocked.stream_names())
    archive, streams = open_archive(directory), unlocked.stream_names()
    folding = Folding(mapper, Digests(streams.views_key()))
    refold = Refolding(archive, views, folding, audit_stream_of)
    restoration = Restoration(archive, store, refold, **told)
    restoration.run(silent)
    with restoration.finishing():
        return views


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request, tmp_path):
    """An empty store of each engine."""
    if request.param == "sqlite":
        made = SqliteStore(tmp_path / "target" / "ledger.db", migration_packages=STORE_PACKAGES)
        yield made
        made.close()
        return
    server = request.getfixturevalue("postgres_server")
    schema = f"target_{uuid.uuid4().hex[:12]}"
    made = PostgresqlStore(f"{server.dsn()}&ledger={schema}", migration_packages=STORE_PACKAGES)
    yield made
    made.close()
    server.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture
def writers_place(postgres_server):
    """An empty schema as its owner opens it, and as a role that may not make tables names it."""
    schema, role = f"owned_{uuid.uuid4().hex[:12]}", f"archive_writer_{uuid.uuid4().hex[:12]}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN")
    owner = PostgresqlStore(
        f"{postgres_server.dsn()}&ledger={schema}", migration_packages=STORE_PACKAGES
    )
    writer = PostgresqlStore(
        f"{postgres_server.dsn(role)}&ledger={schema}", migration_packages=STORE_PACKAGES
    )
    owner.create()
    owner.grant_writer(role)
    yield owner, writer
    writer.close()
    owner.close()
    postgres_server.execute(
        f"DROP SCHEMA {schema} CASCADE", f"DROP OWNED BY {role}", f"DROP ROLE {role}"
    )


@pytest.fixture
def file_target(tmp_path):
    """An empty store in a file."""
    made = SqliteStore(tmp_path / "target" / "ledger.db", migration_packages=STORE_PACKAGES)
    yield made
    made.close()


SEALED = LogRow._fields.index("sealed")


def is_row(item) -> bool:
    return isinstance(item, list) and len(item) > SEALED and isinstance(item[SEALED], bytes)


class Forger:
    """Changes an archive and writes hashes and manifest anew, as somebody without keys can."""

    def __init__(self, directory: Path) -> None:
        self.folder = ArchiveFolder(directory)
        (self.manifest,) = self.folder.manifests()

    def file(self, number: int) -> Path:
        return self.folder.path / self.manifest.segment_name(number)

    def content(self, number: int) -> list[list]:
        """Rows and commits; what is sealed in its row, as in the log."""
        told, stored = self.manifest.segments[number], self.file(number).read_bytes()
        unpacker = msgpack.Unpacker(use_list=True)
        unpacker.feed(zlib.decompress(stored[: told.packed_bytes]))
        items, at = list(unpacker), told.packed_bytes
        for item in items if at is not None else ():
            if len(item) == len(LogRow._fields):
                item[SEALED], at = stored[at : at + item[SEALED]], at + item[SEALED]
        return items

    def put(self, number: int, items: list, **told) -> None:
        """Other rows and commits in a segment, and whatever else the manifest is to say of it."""
        sealed = []
        if self.manifest.format > 1:
            items = [
                [*item[:SEALED], len(item[SEALED]), *item[SEALED + 1 :]] if is_row(item) else item
                for item in items
                if not is_row(item) or sealed.append(item[SEALED]) is None
            ]
        content = b"".join(msgpack.packb(item) for item in items)
        packed = zlib.compress(content)
        if self.manifest.format > 1:
            told = {"packed_bytes": len(packed), **told}
        self.put_bytes(number, packed + b"".join(sealed), content_bytes=len(content), **told)

    def put_in_first_format(self) -> None:
        """The same archive, as it was written before there was another format."""
        held = [self.content(number) for number in range(len(self.manifest.segments))]
        segments = [replace(one, packed_bytes=None) for one in self.manifest.segments]
        self.rewrite(keyring=None, segments=tuple(segments))
        for number, items in enumerate(held):
            self.put(number, items)

    def put_bytes(self, number: int, stored: bytes, **told) -> None:
        self.file(number).write_bytes(stored)
        segments = list(self.manifest.segments)
        hashed = {"stored_bytes": len(stored), "sha256": hashlib.sha256(stored).digest()}
        segments[number] = replace(segments[number], **{**hashed, **told})
        self.rewrite(segments=tuple(segments))

    def rewrite(self, **changes) -> None:
        (self.folder.path / f"{self.manifest.name}.manifest").unlink()
        self.manifest = replace(self.manifest, **changes)
        path = self.folder.path / f"{self.manifest.name}.manifest"
        path.write_bytes(self.manifest.to_bytes())
