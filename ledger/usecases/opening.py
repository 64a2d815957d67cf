"""Opening a ledger: keyring, log and this host's memory are checked against each other first.

    keyring   is of this ledger, not behind its log, and fits what the log commits to
    memory    is continued by the log, of which every row since then is checked
    head      is signed by a key that is live, even where the memory knows it already
    server    may be written to, loses nothing in a failover, has this host's time of day

Nothing is written before all of that holds. Two ways in are for the day when memory and store do
not agree, and are recorded: an older store was put back on purpose, or the memory is unreadable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Required, TypedDict, Unpack

from ledger.aggregates.event import Event
from ledger.aggregates.keys import (
    KeyHistory,
    MemoryAccepted,
    RollbackAccepted,
)
from ledger.aggregates.retention import HistoryErased
from ledger.codec.mapper import EventMapper
from ledger.errors import NEEDS_OPERATOR, KeyUnavailable, NotFound, Refused, Tampered, Unavailable
from ledger.log.following import CheckedHead, Follower, forked, require_continued, rolled_back
from ledger.log.host_file import this_host
from ledger.log.memory import HostMemory
from ledger.log.proving import Prover
from ledger.log.rows import END, LedgerRow
from ledger.log.signers import HeadSigner, names_itself
from ledger.log.store import Maintainer, ServerState, Store
from ledger.log.subtrees import Tiles
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer, being_restored
from ledger.replacing import replace
from ledger.sealing.keyring import UnlockedKeyring
from ledger.usecases.acceptances import RecordAsync, RecordClock
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.fitting import require_fit, slot_removed
from ledger.usecases.founding import unnamed
from ledger.usecases.held_keys import HeldKeys
from ledger.usecases.hosts import Herald
from ledger.usecases.key_backups import NEEDS_EXPORT, require_not_behind
from ledger.usecases.ledger import Ledger
from ledger.usecases.outcomes import RollbackOutcome
from ledger.usecases.slots import KeyringEvent

CLOCKS_APART_MAX_US = 5 * 60 * 1_000_000


class OpeningSettings(TypedDict, total=False):
    """What an opening is told besides store and keyring."""

    account: Required[str]
    """Of the operating system, as NAME@HOST."""
    clock: Required[Callable[[], int]]
    """Microseconds UTC."""
    random: Required[Callable[[int], bytes]]
    mapper: Required[EventMapper]
    maintainers: Sequence[Maintainer]
    """Views that are kept at the head."""
    tiles: Tiles
    """Roots of subtrees that are kept, for proofs."""
    accept_clock: bool
    """Write although the clock is far ahead of the log, or apart from the server's; recorded."""
    accept_async: bool
    """Write although a commit waits for no standby; recorded."""
    accept_restoring: bool
    """The store may be one that is being restored: for whoever restores."""
    of_key_backup: bool
    """The keys are those of a key backup that is to be put in the keyring's place: what lies there
    is left alone."""
    only_asks: bool
    """A store where nothing can be recorded serves, too, and an auditor's file that is behind: for
    whoever releases nothing."""


class _Opened(NamedTuple):
    """An open ledger, and the parts of it that a record is written with."""

    ledger: Ledger
    desk: Desk
    writer: Writer

    def record(self, acting: Acting, event: Event) -> int:
        """Append an event to the keyring's stream; its position."""
        return self.writer.run(KeyringEvent(self.desk, acting, event))


def open_ledger(
    store: Store,
    keyring_path: Path,
    unlocked: UnlockedKeyring,
    *,
    memory: HostMemory | None = None,
    accept_ahead: bool = False,
    **settings: Unpack[OpeningSettings],
) -> Ledger:
    """Check keyring, memory and log against each other, before anything is written.

    With `accept_ahead` the keyring may be any number of epochs ahead of the log; that is for
    whoever records a `RollbackAccepted` next. The newest head's signature is checked even where
    the memory knows that head already.

    Raises `keyring-foreign`, `keyring-behind`, `slot-removed` (key unavailable);
    `altered-ledger`, `rolled-back`, `forked` and every finding of the row checks (tampered);
    and of a server `role-too-narrow`, `store-async`, `clocks-apart` (unavailable).
    """
    return _opened(
        store, keyring_path, unlocked, memory=memory, accept_ahead=accept_ahead, **settings
    ).ledger


def accept_rollback(
    store: Store,
    keyring_path: Path,
    unlocked: UnlockedKeyring,
    *,
    acting: Acting,
    memory: HostMemory,
    **settings: Unpack[OpeningSettings],
) -> RollbackOutcome:
    """Go on from the store as it is, although this host remembers another head.

    The whole log is checked from its beginning; fork and abandoned head are recorded.
    """
    if not unlocked.is_operator:
        raise Refused(
            "operator-needed", "Only an operator's unlock may do this.", hint=NEEDS_OPERATOR
        )
    with memory.anew() as fresh:
        abandoned = memory.recall()
        fresh.follow_acceptance(memory, settings["clock"]())
        opened = _opened(store, keyring_path, unlocked, memory=fresh, accept_ahead=True, **settings)
        try:
            if abandoned is None:
                abandoned = opened.writer.head
            fork = min(abandoned.size, opened.writer.head.size)
            event = RollbackAccepted(
                fork, abandoned.size, abandoned.frontier.root(), opened.ledger.epoch_ahead()
            )
            position = opened.record(acting, event)
            revived = opened.ledger.revived()
        finally:
            opened.ledger.close()
        memory.replace_by(fresh)
    return RollbackOutcome(position, fork, abandoned.size, revived)


def accept_new_memory(
    store: Store,
    keyring_path: Path,
    unlocked: UnlockedKeyring,
    *,
    acting: Acting,
    memory: HostMemory,
    **settings: Unpack[OpeningSettings],
) -> int:
    """Give this host a new memory in place of an unreadable one; the position of the record.

    The whole log is checked from its beginning, and the new memory is its head. What can be read of
    the old one still counts: `rolled-back` or `forked` where the log does not go on from its head.
    """
    if not unlocked.is_operator:
        raise Refused(
            "operator-needed", "Only an operator's unlock may do this.", hint=NEEDS_OPERATOR
        )
    with memory.anew() as fresh:
        remembered = None
        with contextlib.suppress(Tampered):
            remembered = memory.recall()
        fresh.follow_acceptance(memory, settings["clock"]())
        opened = _opened(store, keyring_path, unlocked, memory=fresh, **settings)
        try:
            if remembered is not None:
                _require_gone_on(store, opened, remembered)
            event = MemoryAccepted(opened.writer.head.size)
            position = opened.record(acting, event)
        finally:
            opened.ledger.close()
        memory.replace_by(fresh)
    return position


def _opened(
    store: Store,
    keyring_path: Path,
    unlocked: UnlockedKeyring,
    *,
    account: str,
    clock: Callable[[], int],
    random: Callable[[int], bytes],
    mapper: EventMapper,
    maintainers: Sequence[Maintainer] = (),
    tiles: Tiles | None = None,
    memory: HostMemory | None = None,
    accept_clock: bool = False,
    accept_async: bool = False,
    accept_ahead: bool = False,
    accept_restoring: bool = False,
    of_key_backup: bool = False,
    only_asks: bool = False,
) -> _Opened:
    row = _ledger_row(store, unlocked, memory, accept_restoring=accept_restoring)
    unlocked = unlocked.preferring(_live_signing_keys(store))
    streams = unlocked.stream_names()
    box = unlocked.secret_box()
    desk = Desk(unlocked.without_keys(), streams, box, mapper, account, random)
    held = HeldKeys(keyring_path, unlocked, mapper, desk.box, apart=of_key_backup)
    host = None
    if unlocked.is_operator:
        host = this_host(keyring_path, unlocked.ledger_id, random)
    writer = Writer(
        store,
        mapper,
        HeadSigner(row, unlocked.signing_key, unlocked.slot.opens),
        clock=clock,
        random=random,
        access_stream_name=streams.access,
        audit_stream_of=streams.audit,
        keyring_stream=streams.keyring(),
        keys=held,
        herald=None if host is None else Herald(desk, held, host),
        maintainers=maintainers,
        memory=memory,
        accept_clock=accept_clock,
        accept_restoring=accept_restoring,
    )
    if writer.head.size == 0 and unlocked.is_operator:  # an auditor's file can be exported anew
        held.spare_file()
    mapper.learn_by(lambda: writer.look(_nothing))
    server = store.server()
    unwritable = only_asks and server is not None and bool(server.lacking)
    if server is not None and not unwritable:
        _refuse_server(server, clock(), accept_clock=accept_clock, accept_async=accept_async)
    _refuse_rollback(store, writer.head)
    ledger = Ledger(desk, writer, held, host, clock, Prover(store, row, tiles))
    writer.catch_up()
    writer.check_signers()
    _check_keyring(desk, writer, held, ahead=accept_ahead, only_asks=only_asks)
    if accept_clock and unlocked.is_operator:
        writer.record_along(RecordClock(desk))
    at_risk = server is not None and not server.outlives_failover
    if at_risk and unlocked.is_operator:
        writer.record_along(RecordAsync(desk))
    return _Opened(ledger, desk, writer)


def _nothing(_: Transaction) -> None:
    """A look at the log for what is learned on the way."""


def _ledger_row(
    store: Store, unlocked: UnlockedKeyring, memory: HostMemory | None, *, accept_restoring: bool
) -> LedgerRow:
    row, own = None, True
    with contextlib.suppress(NotFound), store.reading() as reading:
        row = reading.ledger()
        if reading.is_restoring() and not accept_restoring:
            raise being_restored()
        if row is None and any(reading.counts()):
            raise unnamed()
        own = row is None or row.id == unlocked.ledger_id or names_itself(row, reading.signers())
    if row is None:
        if memory is not None and memory.recall() is not None:
            raise rolled_back(0)
        raise NotFound(
            "no-ledger",
            "There is no ledger at this store.",
            hint="Check --store; `credledger backup restore DIR` brings a lost one back. Only where"
            " an `init` was cut off, run `credledger init` again with this keyring.",
        )
    if not row.is_sound:
        raise Tampered("altered-ledger", "The ledger's row is none that this version writes.")
    if not own:
        raise Tampered("altered-ledger", "The ledger's row is not that of its first signer.")
    if row.id != unlocked.ledger_id:
        raise KeyUnavailable(
            "keyring-foreign",
            "The keyring belongs to another ledger than this store's.",
            hint="Check --store and --keyring.",
        )
    return row


def _live_signing_keys(store: Store) -> set[bytes]:
    """Keys that began and did not end; unchecked, good for choosing what is checked then."""
    with store.reading() as reading:
        rows = reading.signers()
    ended = {row.public_key for row in rows if row.change == END}
    return {row.public_key for row in rows} - ended


def _check_keyring(
    desk: Desk, writer: Writer, held: HeldKeys, *, ahead: bool, only_asks: bool
) -> None:
    def history() -> KeyHistory:
        return writer.look(desk.key_history)

    behind = False
    try:
        require_not_behind(desk, writer, held.unlocked)
        told = history()
    except KeyUnavailable as error:
        if held.unlocked.is_operator or error.code != "keyring-behind":
            raise
        behind = True
        # Exported between a restore and a rotation, it may hold epochs that the log never chose.
        held.leave_out_from(writer.first_held_otherwise())
        lacking = KeyUnavailable(error.code, error.message, hint=NEEDS_EXPORT)
        if not only_asks:
            raise lacking from error
        _only_look(writer, history, lacking)
        told = history()
    if told.current == 0:
        raise Tampered("no-epoch", "The log does not begin with an epoch.", position=1)
    held.give_up(history)
    unlocked = replace(held.unlocked, slot=desk.unlocked.slot)
    require_fit(unlocked, history(), ahead=ahead, behind=behind)


def _only_look(writer: Writer, history: Callable[[], KeyHistory], error: KeyUnavailable) -> None:
    """Serve an auditor's file that is rotations behind, for questions about what it opens.

    Not one that was removed since, which the signers tell, nor one that may hold keys which were
    destroyed since: it would open what is erased, and cannot know which months these are.
    """
    if not writer.is_live():
        raise slot_removed()
    refusal = KeyUnavailable(
        "auditor-file-behind",
        f"{error.message[:-1]}: it serves to look at single rows only.",
        hint=error.hint,
    )
    writer.only_look(refusal, HistoryErased.TOPIC)
    try:
        history()
    except KeyUnavailable:
        raise error from None


def _refuse_server(
    server: ServerState, clock_us: int, *, accept_clock: bool, accept_async: bool
) -> None:
    if server.lacking:
        raise Unavailable(
            "role-too-narrow",
            f"The database role cannot record anything: it lacks {', '.join(server.lacking)}.",
            hint="The owner runs `credledger store migrate --writer ROLE`, or connect as a writer.",
        )
    if not (server.outlives_failover or accept_async):
        raise Unavailable(
            "store-async",
            "The database has standbys, and a commit waits for none of them.",
            hint="Set synchronous_standby_names, or give --accept-async, which is recorded.",
        )
    if abs(server.clock_us - clock_us) > CLOCKS_APART_MAX_US and not accept_clock:
        raise Unavailable(
            "clocks-apart",
            "The clocks of this host and of the database are more than 5 minutes apart.",
            hint="Set both; if this host's is right, run once with --accept-clock.",
        )


def _require_gone_on(store: Store, opened: _Opened, remembered: CheckedHead) -> None:
    """`rolled-back` or `forked` where an open ledger's log is not that of this head, longer."""
    _refuse_rollback(store, remembered)
    follower = Follower(opened.writer.signer.ledger, audit_stream_of=opened.desk.streams.audit)

    def page(head: CheckedHead) -> CheckedHead:
        with store.reading() as reading:
            return follower.follow(reading, head)

    follower.follow_to_end(page, remembered)


def _refuse_rollback(store: Store, remembered: CheckedHead) -> None:
    if remembered.size == 0:
        return
    with store.reading() as reading:
        require_continued(reading.extent(), remembered)
        same = reading.commit_at(remembered.size)
    if same is not None and same.root != remembered.frontier.root():
        raise forked(remembered)
