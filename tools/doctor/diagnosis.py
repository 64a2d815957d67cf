"""What `status` shows and what `doctor` finds: each finding with a stable code and its mending.

A finding is an `error` (the ledger does not serve; its exit code is that of the error's family),
or a `warning` (it serves, but something is risky; exit 0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ledger.errors import LedgerError, Unavailable
from ledger.sealing.epochs import period_of
from tools.asking.reviewing import last_review, newest
from tools.doctor.file_findings import file_findings, recorded_file_findings
from tools.doctor.findings import ERROR, WARNING, Finding
from tools.doctor.recovery_findings import recovery_findings
from tools.exits import DONE, EXIT_CODES, exit_code
from tools.recovering.key_backups import last_key_backup
from tools.when import span_text, to_text

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tools.settings import Settings
    from tools.wiring import Session

REVIEW_DAYS_MAX = 90
_DAY_US = 86_400_000_000
MONTH_US = 30 * _DAY_US
EPOCH_MONTHS_MAX = 12
_COPY_NEWER = "Copy the newer keyring from the host that rotated last, not this one to that host."


def status_document(session: Session) -> dict[str, Any]:
    """Where the ledger stands, as `status` tells it."""
    status = session.ledger.status()
    return {
        "ledger_id": status.ledger_id.hex(),
        "position": status.position,
        "root": status.root.hex(),
        "epoch": status.epoch,
        "unlocked_by": status.unlocked_by,
        "views": session.views.status(),
        "last_database_backup": _last_backup(session),
        "last_key_backup": last_key_backup(session),
        "last_access_review": last_review(session),
        "warnings": [finding.code for finding in session_findings(session)],
    }


def _last_backup(session: Session) -> dict[str, object] | None:
    newest = session.ledger.backups.known().newest
    if newest is None:
        return None
    return {
        "position": newest.position,
        "recorded_at": to_text(newest.recorded_at),
        "kind": newest.kind,
        "directory": newest.directory,
    }


def examine(
    settings_told: Callable[[], Settings], opened: Callable[[], AbstractContextManager[Session]]
) -> tuple[list[Finding], bool]:
    """Everything that is wrong or risky, the gravest first; also that either cannot be had.

    And whether everything was looked at: for an auditor slots, keys and backups are not.
    """
    findings: list[Finding] = []
    is_whole = True
    try:
        findings.extend(file_findings(settings_told()))
        with opened() as session:
            is_whole = session.unlocked.is_operator
            findings.extend(session_findings(session))
            findings.extend(recovery_findings(session))
            findings.extend(recorded_file_findings(session))
        findings.extend(memory_findings(session))
    except LedgerError as error:
        findings.append(
            Finding(error.code, ERROR, error.message, error.hint, exit_code(error.family))
        )
    return sorted(findings, key=lambda finding: -finding.exit), is_whole


def gravest(findings: list[Finding]) -> int:
    """The exit code of the gravest finding; 0 when there are warnings only."""
    return max((finding.exit for finding in findings), default=DONE)


def session_findings(session: Session) -> Iterator[Finding]:
    """What an open ledger shows."""
    status = session.ledger.status()
    in_file = {slot.id for slot in session.unlocked.keyring.slots}
    operators = [slot for slot in status.slots if slot[3] == "operator" and slot[0] in in_file]
    if session.unlocked.is_operator and len(operators) < 2:
        yield Finding(
            "single-slot",
            WARNING,
            "Only one slot opens the keyring: if its passphrase is lost, all is lost.",
            "credledger key slot add key-file --new-key-file /media/safe/spare.key --label spare",
        )
    if session.unlocked.is_operator:
        yield from _slot_findings(session)
    for view in session.views.status():
        behind = status.position - int(str(view["position"]))
        if behind > 0:
            yield Finding(
                "view-behind",
                WARNING,
                f"The view {view['name']} is {behind} events behind the log.",
                f"credledger replay rebuild --view {view['name']}",
            )
    yield from _clock_findings(session)
    yield from _table_findings(session)
    yield from _epoch_findings(session)
    yield from _review_findings(session)
    if session.settings.sqlite_path is None:
        yield from _server_findings(session)


def _clock_findings(session: Session) -> Iterator[Finding]:
    """A clock behind the log stops nothing; one too far ahead of it, all that is recorded."""
    behind_us = session.ledger.status().clock_behind_us
    if behind_us > 0:
        yield Finding(
            "clock-behind",
            WARNING,
            f"The clock is {span_text(behind_us)} behind the last recorded event.",
            "Set the system's clock; recorded times go on from the last one until then.",
        )
    try:
        session.ledger.require_clock()
    except Unavailable as error:
        yield Finding(
            error.code,
            ERROR,
            f"{error.message.removesuffix('.')}: nothing is handed out, for nothing is recorded.",
            "Check the clock; if it is right: credledger audit access --limit 1 --accept-clock",
            exit_code(error.family),
        )


def _slot_findings(session: Session) -> Iterator[Finding]:
    """Where the keyring's file and the log differ; the log decides.

    A keyring that holds the next epoch is never to be replaced by one that lacks it, so there only
    the removal is advised, and in any other only the copy.
    """
    history = session.ledger.key_history()
    slots = session.unlocked.keyring.slots
    following = history.current + 1
    newest = any(epoch == following for epoch, *_ in session.ledger.status().epochs)
    for slot in slots:
        if slot.id in history.removed:
            yield Finding(
                "slot-still-in-file",
                WARNING,
                f"Slot {slot.id} ({slot.label}) was removed, but this keyring still holds it.",
                f"credledger key slot remove {slot.id} --mislaid" if newest else _COPY_NEWER,
            )
        elif slot.id not in history.slots:
            yield Finding(
                "slot-unfinished",
                WARNING,
                f"Slot {slot.id} ({slot.label}) was being added and never recorded: it opens"
                " nothing.",
                f"Add it again, or `credledger key slot remove {slot.id} --mislaid`."
                if newest
                else _COPY_NEWER,
            )
    for live in history.live():
        if all(slot.id != live.slot for slot in slots):
            yield Finding(
                "slot-not-in-file",
                WARNING,
                f"Slot {live.slot} ({live.label}) is recorded, but this keyring lacks it: its"
                " removal was cut off, or the file is an older one.",
                f"Copy the keyring that has it, if `credledger key status` there shows epoch"
                f" {following} as next; else `credledger key slot remove {live.slot} --mislaid`, and"
                " add it again."
                if newest
                else _COPY_NEWER,
            )


def memory_findings(session: Session) -> Iterator[Finding]:
    """What a closed ledger shows: a memory that stayed behind it."""
    missed = session.ledger.unremembered
    if missed is not None:
        yield Finding(missed.code, WARNING, missed.message, missed.hint)


def _review_findings(session: Session) -> Iterator[Finding]:
    """`review-old` where there once was a review and none for long; the rest is nobody's fault."""
    found = newest(session)
    if found is None:
        return
    reviewed_at = found.recorded.recorded_at
    if session.now() - reviewed_at > REVIEW_DAYS_MAX * _DAY_US:
        yield Finding(
            "review-old",
            WARNING,
            f"The last access review was signed off at {to_text(reviewed_at)}, more than"
            f" {REVIEW_DAYS_MAX} days ago.",
            "credledger audit access --since TIME, then credledger audit review --until now"
            " --note TEXT",
        )


def _table_findings(session: Session) -> Iterator[Finding]:
    """Tables that are not as a ledger makes them: guards against accidents, or no tables at all."""
    with session.store.reading() as reading:
        odd = reading.oddities()
    between = [f"{what} is not the ledger's" for what in session.views.interposed()]
    told = dict.fromkeys([*(one.what for one in odd), *between])
    if not told:
        return
    damaged = any(one.is_damage for one in odd)
    yield Finding(
        "tables-changed",
        ERROR if damaged else WARNING,
        f"The store's tables are not as a ledger makes them: {'; '.join(told)}.",
        "Find out who changed them and run `credledger log verify`; `credledger backup restore DIR`"
        " into an empty store makes them as they were.",
        EXIT_CODES["tampered"] if damaged else DONE,
    )


def _server_findings(session: Session) -> Iterator[Finding]:
    from ledger.log.postgresql.store import PostgresqlStore

    store = session.store.itself
    assert isinstance(store, PostgresqlStore)
    rights, durability = store.rights_of_connection(), store.durability()
    if rights.beyond:
        yield Finding(
            "role-too-wide",
            WARNING,
            f"The database role {rights.role} may do more than append: {', '.join(rights.beyond)}.",
            "Connect as a role of its own; the owner runs"
            " `credledger store migrate --writer ROLE`.",
        )
    if rights.lacking:
        yield Finding(
            "role-too-narrow",
            WARNING,
            f"The database role {rights.role} lacks {', '.join(rights.lacking)}.",
            "The owner runs `credledger store migrate --writer ROLE` again.",
        )
    if durability.unlogged:
        yield Finding(
            "store-not-durable",
            ERROR,
            f"Unlogged in the store: {', '.join(durability.unlogged)}. A crash of the server empties"
            " such a table, no standby has it, and nothing is recorded until it is logged.",
            "As the owner: ALTER TABLE NAME SET LOGGED for each, in the ledger's schema.",
            EXIT_CODES["unavailable"],
        )
    elif not durability.outlives_crash:
        yield Finding(
            "store-not-durable",
            ERROR,
            "The database's server runs with fsync or full_page_writes off: a crash would lose what"
            " was acknowledged, and nothing is recorded until they are on.",
            "Set both on in the server's configuration, and reload it.",
            EXIT_CODES["unavailable"],
        )
    if not durability.standbys:
        yield Finding(
            "no-standby",
            WARNING,
            "No standby follows the database: what its disk loses is lost.",
            "Set up streaming replication with synchronous_standby_names, or keep backups.",
        )
    elif not durability.outlives_failover:
        yield Finding(
            "store-async",
            WARNING,
            "The database has standbys, and a commit waits for none of them.",
            "Set synchronous_standby_names.",
        )


def _epoch_findings(session: Session) -> Iterator[Finding]:
    """`access-key-missing` where no access can be recorded this month, so that none is served."""
    status = session.ledger.status()
    recorded_at = session.now() + status.clock_behind_us
    if not session.ledger.records_access(period_of(recorded_at)):
        yield Finding(
            "access-key-missing",
            ERROR,
            f"Epoch {status.epoch} holds no access key for this month: nothing is handed out,"
            " for no access can be recorded.",
            "Check the clock; if it is right: credledger key rotate",
            EXIT_CODES["key-unavailable"],
        )
        return
    for epoch, state, started_at, _ in status.epochs:
        if state == "current" and session.now() - started_at > EPOCH_MONTHS_MAX * MONTH_US:
            yield Finding(
                "epoch-old",
                WARNING,
                f"Epoch {epoch} is in use since {to_text(started_at)}.",
                "credledger key rotate",
            )
