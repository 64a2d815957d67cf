"""Whether the keys at hand are those that the log has started its epochs with.

A host may hold other keys for an epoch than the log: another host's rotation was first, or lost
keys were replaced. Nothing may be sealed with them, for nobody could ever open it. Most often they
are dropped when a keyring is opened, before their epoch comes; a process that runs, or a copy from
before, still has them when it does. It is behind then, and nothing was tampered with: rows under
keys that it does not have are only what they look like to it.
"""

from __future__ import annotations

from collections.abc import Callable

from ledger.aggregates.keys import KeyHistory, fold_keys
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable, Tampered
from ledger.log.store import Reading

_PAGE_ROWS = 500


def started_history(
    told: Callable[[], KeyHistory | None],
    reading: Reading,
    stream: bytes,
    mapper: EventMapper,
    epoch: int,
) -> KeyHistory | None:
    """What is told of epochs up to this one; `keyring-behind` where other keys are held."""
    history: KeyHistory | None
    try:
        history = told()
    except Tampered as error:
        if error.code != "sealed-unreadable":
            raise
        _require_started(_readable(reading, stream, mapper), mapper, epoch)
        raise
    _require_started(history, mapper, epoch)
    return history


def _readable(reading: Reading, stream: bytes, mapper: EventMapper) -> KeyHistory | None:
    """What the keyring's stream tells as far as the keys at hand open it."""
    state: KeyHistory | None = None
    version = 0
    while rows := reading.stream_rows(stream, version, _PAGE_ROWS):
        for row in rows:
            version = row.version
            try:
                state = fold_keys(state, mapper.open(row))
            except (KeyUnavailable, Tampered):
                return state
    return state


def first_held_otherwise(
    reading: Reading, stream: bytes, mapper: EventMapper, epoch: int
) -> int | None:
    """The first epoch up to this one of which other keys are held, as far as these open it."""
    return _first_otherwise(_readable(reading, stream, mapper), mapper, epoch)


def _require_started(history: KeyHistory | None, mapper: EventMapper, epoch: int) -> None:
    number = _first_otherwise(history, mapper, epoch)
    if number is not None:
        raise KeyUnavailable(
            "keyring-behind",
            f"The keyring's keys of epoch {number} are not those that the log has started.",
            hint="Copy the newer keyring from the host that rotated, or restore it.",
        )


def _first_otherwise(history: KeyHistory | None, mapper: EventMapper, epoch: int) -> int | None:
    committed = {} if history is None else history.committed
    return next(
        (
            number
            for number, commitments in sorted(committed.items())
            if number <= epoch and not mapper.fits(commitments)
        ),
        None,
    )
