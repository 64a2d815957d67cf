"""How far a PostgreSQL server's word that something is durable can be trusted.

Recorded means: on disk here and, on a replicated database, on the disk of a synchronous standby
too. `fsync` and `full_page_writes` must be on, or an acknowledged commit may not outlive a crash;
nor may a table of the log be unlogged: a crash empties it, and no standby has it. Writings are
refused otherwise. Whether standbys follow, and whether commits wait for one, is for people to
judge: without a synchronous one, a failover may lose what was acknowledged last.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ledger.errors import Unavailable
from ledger.log.rows import TABLES
from ledger.log.store import Connection

_SETTINGS = ["fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names"]
_UNLOGGED = (
    "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    " AND relname = ANY(?) AND relpersistence <> ? ORDER BY relname"
)


class Durability(msgspec.Struct, frozen=True):
    """What the server says of itself."""

    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    """The server's default; writings set `on` for themselves."""
    synchronous_standby_names: str
    """Whom commits wait for; empty for nobody."""
    standbys: int
    """How many standbys follow at the moment."""
    synchronous_standbys: int | None
    """How many of them commits wait for; None where the role may not see it."""
    unlogged: tuple[str, ...] = ()
    """The log's tables that the server keeps out of its write-ahead log."""

    @property
    def outlives_crash(self) -> bool:
        """Whether what was acknowledged is on disk here."""
        return self.fsync and self.full_page_writes and not self.unlogged

    @property
    def outlives_failover(self) -> bool:
        """Whether no acknowledged commit can be missing on a standby that takes over."""
        return not self.standbys or bool(self.synchronous_standby_names)


def durability_of(connection: Connection) -> Durability:
    """Ask the server, in a transaction whose schema is the ledger's."""
    told = dict(
        connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(?)", [_SETTINGS])
    )
    # Without the right to see more, a standby's row is there but its state is empty.
    standbys = connection.execute("SELECT sync_state FROM pg_stat_replication")
    states = [state for (state,) in standbys]
    return Durability(
        fsync=told["fsync"] == "on",
        full_page_writes=told["full_page_writes"] == "on",
        synchronous_commit=told["synchronous_commit"],
        synchronous_standby_names=told["synchronous_standby_names"],
        standbys=len(states),
        synchronous_standbys=(
            None if None in states else sum(state in {"sync", "quorum"} for state in states)
        ),
        unlogged=tuple(name for (name,) in connection.execute(_UNLOGGED, (list(TABLES), "p"))),
    )


def require_durable(fsync: str, full_page_writes: str, unlogged: Sequence[str]) -> None:
    """`store-not-durable` where the server may lose what it acknowledges."""
    if fsync != "on" or full_page_writes != "on":
        raise Unavailable(
            "store-not-durable",
            "The store's server runs with fsync or full_page_writes off.",
            hint="Set both to on: without them a crash loses what was acknowledged.",
        )
    if unlogged:
        raise Unavailable(
            "store-not-durable",
            f"The store's table {unlogged[0]} is unlogged: a crash of the server empties it.",
            hint=f"As its owner: ALTER TABLE {unlogged[0]} SET LOGGED, in the ledger's schema.",
        )
