"""What PostgreSQL's failures mean to us, told by SQLSTATE alone.

Texts and names of constraints differ between versions and are missing behind a cluster's
coordinator, so they decide nothing; nor are they passed on, because some name users or hosts.

A failure without a state, of class 08, of the server's ending (57P01 to 57P03), or internal
(XX000, which a cluster shows when a node is gone) says nothing about what has happened: the
connection is *lost*. In the middle of a transaction nothing of it stays; in the middle of COMMIT
nobody knows, and `commit-unconfirmed` tells the caller to look under the lock.
"""

from __future__ import annotations

import psycopg

from ledger.errors import Conflict, InvalidInput, LedgerError, NotFound, Tampered, Unavailable

STANDBY_CANCELLED = "01000"
"""The state of the warning with which a commit gives up waiting for its standby."""
_LOST = {"57P01", "57P02", "57P03", "XX000", "25P03", "25P04"}
_DAMAGED = {"XX001", "XX002"}
_LOCKED = {"55P03", "40P01", "40001"}
_OTHER_TABLES = {"42804", "42883", "42703", "42809", "42P10", "55000"}
"""A column has another type or is not there, a table is a view or has lost its key."""
_NO_TABLE = {"42P01", "3F000"}
_NO_RIGHT = {"42501", "25006"}
_FULL = "53100"
_SLOW = "57014"


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection says nothing any more about what has happened."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    return state.startswith("08") or state in _LOST


def translated(error: psycopg.Error) -> LedgerError:
    """Our error for this one; `no-ledger` for a table that is missing, if all of them are."""
    state = error.sqlstate or ""
    if is_lost(error):
        return unreachable()
    if state in _DAMAGED:
        return Tampered("store-damaged", "The server calls the store's pages damaged.")
    if state in _OTHER_TABLES:
        return other_tables()
    if state in _LOCKED:
        return locked_too_long()
    if state == _FULL:
        return Unavailable("store-full", "The disk of the store is full; nothing was recorded.")
    if state == _SLOW:
        return Unavailable("store-timeout", "The store did not answer in time.")
    if state in _NO_RIGHT:
        return not_writable()
    if state in _NO_TABLE:
        return no_ledger()
    if state.startswith("23"):
        return Conflict("append-refused", "The store refused an append that was out of order.")
    if not state or state.startswith(("22", "42", "0A")):
        return InvalidInput("store-statement", "The store refused a statement as malformed.")
    return unreachable()


def lacks_table(error: psycopg.Error) -> bool:
    """Whether a table or the whole schema is not there; which of them, it does not tell."""
    return error.sqlstate in _NO_TABLE


def other_tables() -> Tampered:
    """Somebody changed the tables, or took one away."""
    return Tampered("store-damaged", "The store's tables are not as a ledger makes them.")


def unreachable() -> Unavailable:
    """The server does not answer, or broke off."""
    return Unavailable(
        "store-unreachable",
        "The store's server cannot be reached, or broke the connection off.",
        hint="See that the server runs and that --store names host, database and user rightly.",
    )


def unconfirmed() -> Unavailable:
    """Nobody knows whether the commit stands, here and on its standby."""
    return Unavailable(
        "commit-unconfirmed",
        "The connection or the standby was lost in the middle of a commit.",
        hint="Nothing was released; see `credledger doctor`, then run the command again.",
    )


def forked() -> Unavailable:
    """The transaction is the parent's."""
    return Unavailable(
        "store-forked",
        "The process was forked in the middle of a transaction.",
        hint="Open the ledger after the fork, or fork while nothing is being read.",
    )


def locked_too_long() -> Unavailable:
    """Somebody else holds the lock."""
    return Unavailable(
        "store-locked",
        "Another process held the store's lock too long.",
        hint="See which process writes there; run the command again.",
    )


def not_writable() -> Unavailable:
    """The role lacks a right, or the server only serves readings."""
    return Unavailable(
        "store-not-writable",
        "The store cannot be read or written by this role or on this server.",
        hint="Tables are made and brought up to date by the role that owns them.",
    )


def no_ledger() -> NotFound:
    """The schema or its tables are not there."""
    return NotFound(
        "no-ledger",
        "There is no ledger at this store.",
        hint="Check --store; `credledger init` makes a new one, and `credledger backup restore DIR`"
        " brings a lost one back.",
    )


def newer() -> Unavailable:
    """The tables were made by a later version."""
    return Unavailable(
        "store-newer",
        "The store was written by a newer version of credledger.",
        hint="Install that version or a later one; this one changes nothing.",
    )
