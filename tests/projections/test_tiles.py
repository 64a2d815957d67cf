"""Proofs in a log of several hundred rows: from tiles, without them, and with wrong ones."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field

import pytest

from ledger.errors import Tampered
from ledger.log.postgresql.store import PostgresqlStore
from ledger.log.proving import Prover
from ledger.log.subtrees import TILE_HASHES, TILE_LEVELS
from ledger.proofs import SubtreesOfLeaves
from ledger.usecases.acting import Acting
from projections.tiles import StoredTiles
from tests.faults.test_tampering import attack, command_line
from tests.projections.conftest import record_of

ROWS, TOGETHER = 700, 23


@dataclass
class Recording:
    """Access records as only somebody with the keys could write them, many in one commit."""

    desk: object
    rows: int

    def decide(self, transaction):
        for _ in range(self.rows):
            transaction.append_access(record_of(), self.desk.actor(transaction, Acting()), "")


def fill(house):
    ledger = house.open()
    while ledger.head().size < ROWS:
        ledger._writer.run(Recording(ledger._desk, TOGETHER))
    ledger.close()


@pytest.fixture
def long(prepared):
    return prepared(fill)


@dataclass
class Counting:
    """A store that counts the leaves that are read of it, and the writings."""

    store: object
    leaves: int = 0
    asked: list[int] = field(default_factory=list)
    """How many in each look."""
    writings: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    """What was asked of the log, by name, and hashes of it and of tiles by how many came."""

    def __getattr__(self, name):
        return getattr(self.store, name)

    @contextlib.contextmanager
    def reading(self):
        with self.store.reading() as reading:
            yield CountingReading(reading, self)

    @contextlib.contextmanager
    def writing(self, **said):
        self.writings.append("writing")
        with self.store.writing(**said) as writing:
            yield writing


@dataclass
class CountingReading:
    reading: object
    counter: Counting

    def __getattr__(self, name):
        return getattr(self.reading, name)

    @property
    def connection(self):
        return self

    def execute(self, statement, parameters=()):
        found = self.reading.connection.execute(statement, parameters)
        self.counter.looks.append(f"{len(found)} hashes")
        return found

    def proven(self, *asked):
        self.counter.looks.append("row and head")
        return self.reading.proven(*asked)

    def signers(self):
        self.counter.looks.append("signers")
        return self.reading.signers()

    def leaves_after(self, position, limit):
        self.counter.leaves += limit
        self.counter.asked.append(limit)
        return self.reading.leaves_after(position, limit)


def prover_of(house, store=None, tiles=None):
    store = store or house.store()
    with store.reading() as reading:
        ledger = reading.ledger()
    return Prover(store, ledger, StoredTiles(store) if tiles is None else tiles)


def subtrees_of(house):
    with house.store().reading() as reading:
        return SubtreesOfLeaves(reading.leaves_after(0, 10 * ROWS)), reading.last_position()


def kept(house):
    return {
        (level, number): bytes(root)
        for level, number, root in house.sql("SELECT level, number, root FROM tiles")
    }


def full_tiles(size):
    return {
        (level, number)
        for level in range(TILE_LEVELS, size.bit_length(), TILE_LEVELS)
        for number in range(size >> level)
    }


def signed_sizes(house):
    return [size for (size,) in house.sql("SELECT size FROM commits ORDER BY size")]


def positions(size):
    return {1, 2, 255, 256, 257, 511, 512, size // 2, size - 1, size} & set(range(1, size + 1))


def test_rows_are_proven_at_every_size_that_was_signed(long):
    """At each one the first, the last and those at the edges of tiles."""
    prover = prover_of(long)
    sizes = signed_sizes(long)
    assert len(sizes) > ROWS / TOGETHER
    for size in (*sizes[:3], *sizes[-6:]):
        for position in positions(size):
            proof = prover.inclusion(position, size)
            assert (proof.fields.position, proof.head.size) == (position, size)
            assert proof.check() == "operator"


def test_every_size_is_proven_to_begin_with_every_earlier_one(long):
    """Growth between any two of some signed sizes."""
    prover = prover_of(long)
    sizes = signed_sizes(long)[::5]
    for number, second in enumerate(sizes):
        for first in sizes[: number + 1]:
            assert prover.consistency(first, second).check() == "operator"


def test_tiles_are_the_roots_of_full_subtrees(long):
    """Once a proof needed them, they are kept, and nothing that grows still is among them."""
    prover = prover_of(long)
    assert kept(long) == {}
    for position in (1, 600):
        prover.inclusion(position)
    subtrees, size = subtrees_of(long)
    stored = kept(long)
    assert {(TILE_LEVELS, 0), (2 * TILE_LEVELS, 0)} <= set(stored) <= full_tiles(size)
    assert stored == {place: subtrees.root(*place) for place in stored}


def test_with_tiles_a_proof_reads_a_handful_of_leaves(long):
    """The first proof of a log reads it all; any later one what lies under one tile."""
    counting = Counting(long.store())
    prover = prover_of(long, counting)
    assert prover.inclusion(3, signed_sizes(long)[-1]).check() == "operator"
    assert counting.leaves >= 512  # all under the perfect subtree that the row is in
    counting.leaves, counting.writings = 0, []
    for position in (1, 100, 300, 512):
        prover.inclusion(position)
        assert counting.leaves <= TILE_HASHES, position
        counting.leaves = 0
    assert counting.writings == []


def test_a_prover_that_is_kept_asks_the_store_twice(long):
    """For the row with its head, and for the hashes: a few leaves and a few tiles, in one look."""
    counting = Counting(long.store())
    prover = prover_of(long, counting)
    for position in (3, 600):
        prover.inclusion(position)
    for position in (1, 100, 300, 512):
        counting.looks.clear()
        counting.leaves = 0
        prover.inclusion(position)
        row, hashes = counting.looks
        assert row == "row and head"
        assert int(hashes.removesuffix(" hashes")) <= 3 * TILE_HASHES
        assert counting.leaves == 0


def test_a_prover_that_is_kept_looks_at_signers_that_were_added_since(long):
    """One that no operator introduced is found, as by a new prover."""
    prover = prover_of(long)
    prover.inclusion(3)
    long.sql(
        "INSERT INTO signers (ordinal, public_key, class, change, from_size, introduced_by,"
        " signature) SELECT 2, ?, class, change, 5, introduced_by, signature FROM signers",
        bytes(32),
    )
    with pytest.raises(Tampered) as caught:
        prover.inclusion(3)
    assert caught.value.code == "bad-signer"


def test_many_tiles_are_made_in_pages(long, monkeypatch):
    """Each page is read in a snapshot of its own and kept under a lock of its own."""
    monkeypatch.setattr("ledger.log.subtrees.PAGE_TILES", 8)
    counting = Counting(long.store())
    prover_of(long, counting).inclusion(1)
    assert set(counting.asked) == {8 * TILE_HASHES}
    # Of the 512 leaves that row 1 is among: twice 16 tiles, and the two above those.
    assert len(counting.writings) == 2 + 2 + 1
    subtrees, _ = subtrees_of(long)
    assert kept(long) == {place: subtrees.root(*place) for place in kept(long)}


def test_appending_leaves_tiles_alone(long):
    """No tile is made by whoever records; so the append path is as fast as before."""
    ledger = long.open()
    ledger._writer.run(Recording(ledger._desk, 3 * TILE_HASHES))
    ledger.close()
    assert kept(long) == {}


def test_the_newest_record_is_proven_without_the_rest_of_the_log(long):
    """A receipt costs a few hashes, whether or not there are tiles."""
    ledger = long.open()
    ledger._writer.run(Recording(ledger._desk, 1))
    size = ledger.head().size
    ledger.close()
    counting = Counting(long.store())
    prover_of(long, counting).inclusion(size)
    assert counting.leaves <= max(TILE_HASHES, size & -size)


WRONG = {
    "altered": "UPDATE tiles SET root = {zeros}",
    "exchanged": (
        "UPDATE tiles SET root = (SELECT other.root FROM tiles AS other WHERE other.level ="
        " tiles.level AND other.number = 18) WHERE number = 17 AND level = 4"
    ),
    "some gone": "DELETE FROM tiles WHERE number > 3 AND number < 9",
    "all gone": "DELETE FROM tiles",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_tiles_are_made_anew(long, name):
    """Nobody is handed a proof that does not hold, and the next one finds tiles that do."""
    prover_of(long).inclusion(300)
    attack(long, WRONG[name].format(zeros="zeroblob(32)"))
    assert prover_of(long).inclusion(300).check() == "operator"
    subtrees, _ = subtrees_of(long)
    stored = kept(long)
    assert stored == {place: subtrees.root(*place) for place in stored}
    assert len(stored) > 20


def test_tiles_that_are_no_hashes_do_not_count(sqlite_long):
    """A database that is not strict may hold anything there."""
    prover_of(sqlite_long).inclusion(300)
    attack(
        sqlite_long,
        "CREATE TABLE bare AS SELECT level, number, 'text' AS root FROM tiles",
        "DROP TABLE tiles",
        "ALTER TABLE bare RENAME TO tiles",
    )
    assert prover_of(sqlite_long).inclusion(300).check() == "operator"


@pytest.fixture
def sqlite_long(prepared_file):
    return prepared_file(fill)


def test_a_store_of_before_has_no_tiles_and_proofs_all_the_same(long):
    """They come from the leaves."""
    long.sql("DROP TABLE tiles")
    prover = prover_of(long)
    for position in (1, 300, ROWS):
        assert prover.inclusion(position).check() == "operator"


def test_a_file_that_refuses_writes_has_proofs_all_the_same(sqlite_long):
    """Tiles that are there are used, and others done without."""
    before = "TRIGGER no_more BEFORE {} ON tiles BEGIN SELECT RAISE(ABORT, 'no'); END"
    prover_of(sqlite_long).inclusion(40)
    for change in ("INSERT", "DELETE"):
        name = before.format(change).replace("no_more", f"no_{change.lower()}")
        sqlite_long.sql(f"CREATE {name}")
    sqlite_long.sql("UPDATE tiles SET root = zeroblob(32) WHERE number = 2")
    stored = kept(sqlite_long)
    prover = prover_of(sqlite_long)
    for position in (1, 40, 300, 600):
        assert prover.inclusion(position).check() == "operator"
    assert kept(sqlite_long) == stored


@pytest.fixture
def reader(prepared, postgres_server):
    """A role that may read the ledger's tables, or all but the one of tiles."""
    name = f"reader_{os.urandom(6).hex()}"
    postgres_server.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    postgres_server.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize("prepared", ["postgresql"], indirect=True)
@pytest.mark.parametrize("may_read_tiles", [True, False])
def test_a_role_that_may_only_read_has_proofs_all_the_same(reader, long, may_read_tiles):
    """Neither the right to write tiles nor the one to read them is needed."""
    prover_of(long).inclusion(40)
    schema = long.store_url.rsplit("ledger=", 1)[1]
    long.sql(f"GRANT USAGE ON SCHEMA {schema} TO {reader}")
    long.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}")
    if not may_read_tiles:
        long.sql(f"REVOKE ALL ON tiles FROM {reader}")
    stored = kept(long)
    store = PostgresqlStore(long.store_url.replace("postgres@", f"{reader}@"))
    with store.reading() as reading:
        assert reading.connection.execute("SELECT current_user::text") == [(reader,)]
    try:
        for position in (1, 300, 600):
            assert prover_of(long, store).inclusion(position).check() == "operator"
    finally:
        store.close()
        long.sql(f"DROP OWNED BY {reader}")
    assert kept(long) == stored


DAMAGE = {
    "a row altered": ("UPDATE log SET epoch = 2 WHERE position = 300", 300, 300, "altered-row"),
    "the proven row altered": (
        "UPDATE log SET recorded_at = recorded_at + 1 WHERE position = 10",
        10,
        10,
        "altered-row",
    ),
    "the proven row taken away": ("DELETE FROM log WHERE position = 10", 10, 10, "missing-row"),
    "a row beside it taken away": ("DELETE FROM log WHERE position = 9", 10, 9, "missing-row"),
    "a leaf altered": ("UPDATE log SET leaf = zeroblob(32) WHERE position = 9", 10, 9, None),
    "a leaf that is none": ("UPDATE log SET topic = '' WHERE position = 10", 10, 10, None),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_log_that_was_changed_gives_no_proof(long, name):
    """The command ends with 8 and names the position, as `log verify` does."""
    statement, position, damaged, code = DAMAGE[name]
    attack(long, statement)
    prover_of(long, tiles=None)
    answer = command_line(long)("log", "proof", str(position))
    if name == "a row altered":
        # Its stored leaf is what it was; rows elsewhere are not looked at.
        answer = command_line(long)("log", "proof", "300")
    assert answer.code == 8, answer
    assert answer.error["position"] == damaged
    assert code in {None, answer.error["code"]}
    assert answer.out == b""


HEADS = {
    "a frontier altered": ("frontier = zeroblob(length(frontier))", "wrong-frontier"),
    "a root altered": ("root = zeroblob(32)", "bad-signature"),
    "a signature altered": ("signature = zeroblob(64)", "bad-signature"),
    "another signer": ("signer = zeroblob(32)", "bad-signature"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_was_changed_gives_no_proof(long, name):
    """Neither that a row is in it, nor that it grew."""
    change, code = HEADS[name]
    size = signed_sizes(long)[-2]
    if name == "a frontier altered" and long.on_server:
        change = "frontier = decode(repeat('00', length(frontier)), 'hex')"
    attack(long, f"UPDATE commits SET {change} WHERE size = {size}")
    prover = prover_of(long)
    for ask in (
        lambda: prover.inclusion(10, size),
        lambda: prover.consistency(size),
        lambda: prover.consistency(signed_sizes(long)[3], size),
    ):
        with pytest.raises(Tampered) as caught:
            ask()
        assert (caught.value.code, caught.value.position) == (code, size)


def test_wrong_tiles_do_not_hide_what_was_done_to_the_log(long):
    """Tiles from before a change do not prove what the log holds no more."""
    prover_of(long).inclusion(300)
    attack(long, "UPDATE log SET leaf = zeroblob(32) WHERE position = 299")
    with pytest.raises(Tampered) as caught:
        prover_of(long).inclusion(300)
    assert (caught.value.code, caught.value.position) == ("altered-row", 299)
