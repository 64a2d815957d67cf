"""The floor under what goes through a whole log: the same driver, cipher and msgpack.

For works that stand for themselves in the tables, so that a figure can be held against what this
machine could do at most, in one thread:

- *check*: every row read in order, and the two hashes of its leaf; no tree, no signature;
- *rebuild*: every row read, opened, unpacked, and a row with three digests put into a history;
- *restore*: every row at hand hashed, put into the log, opened, unpacked, and put into the history;
- *reseal*: every row read, opened, its secret opened and sealed anew, the row sealed anew, hashed
  and put into the log.

All that is written is a thousand rows to a durable commit. The log lies in the same tables as that
of `tools.bench.floor`, which have fewer columns than a ledger's, and its rows are about as large.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing

import msgpack

from tools.bench.figures import Fact, Figure
from tools.bench.floor import Driver, Floor, Row
from tools.bench.places import Place
from tools.bench.recovery import RESEALED, RESTORED
from tools.bench.sizes import REBUILT
from tools.bench.verification import CHECKED

_ROWS = 20_000
_ROUNDS = 3
_TIMES_MAX = {CHECKED: 460 / 300}
"""What was asked for, by the floor of the machine on which it was asked."""


def walking_facts(place: Place, facts: Sequence[Fact]) -> Iterator[Fact]:
    """The floor of each such work on this engine, and how many times as long ours takes.

    Ours are among these facts; where there are several, the last one counts, of the longest log.
    """
    ours = {fact.name: fact for fact in facts if fact.engine == place.name}
    for name, floor in _figures(Floor(place)).items():
        yield Fact(place.name, f"floor of {name}", floor.median, "/s")
        times = floor.median / ours[name].value
        what = f"{name}, time by the floor's"
        yield Fact(place.name, what, times, "x", ours[name].size, _TIMES_MAX.get(name))


def _figures(floor: Floor) -> dict[str, Figure]:
    """Each work done in turn, several times over."""
    check, rebuild, restore, reseal = Figure(), Figure(), Figure(), Figure()
    log, _ = floor.replay(_ROWS)
    with closing(log):
        for done in range(_ROUNDS):
            log.empty_history()
            check.measure(lambda: _checked(log))
            rebuild.measure(lambda: _rebuilt(floor, log))
            with closing(floor.driver()) as empty:
                archive = list(_pages(log))
                restore.measure(lambda: _restored(floor, empty, archive))  # noqa: B023 # called now
            reseal.measure(lambda: _resealed(floor, log, done + 1))  # noqa: B023 # called now
    return {CHECKED: check, REBUILT: rebuild, RESTORED: restore, RESEALED: reseal}


def _pages(log: Driver) -> Iterator[list[Row]]:
    for after in range(0, _ROWS, 1000):
        yield log.whole_page(after)


def _leaf(row: Row) -> bytes:
    return hashlib.sha256(b"\x00" + row[1] + hashlib.sha256(row[3]).digest()).digest()


def _history_row(floor: Floor, row: Row) -> Row:
    name = floor.opened(row[3])["b"][0]
    return (row[0], row[1], row[1], name.encode())


def _checked(log: Driver) -> int:
    return sum(len([_leaf(row) for row in page]) for page in _pages(log))


def _rebuilt(floor: Floor, log: Driver) -> int:
    for page in _pages(log):
        history = [_history_row(floor, row) for row in page]
        log.begin()
        log.put("history", history)
        log.commit()
    return _ROWS


def _restored(floor: Floor, empty: Driver, archive: Sequence[Sequence[Row]]) -> int:
    for page in archive:
        for row in page:
            _leaf(row)
        empty.begin()
        empty.put("log", page)
        empty.put("history", [_history_row(floor, row) for row in page])
        empty.commit()
    return _ROWS


def _resealed(floor: Floor, log: Driver, time: int) -> int:
    position = time * _ROWS
    for page in _pages(log):
        anew: list[Row] = []
        for _, stream, version, sealed in page:
            position += 1
            opened = floor.opened(sealed)
            opened["s"] = floor.sealed(floor.plain(opened["s"]))
            row = (position, stream, version + time, floor.sealed(msgpack.packb(opened)))
            _leaf(row)
            anew.append(row)
        log.begin()
        log.put("log", anew)
        log.commit()
    return _ROWS
