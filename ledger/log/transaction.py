"""The log as one request sees it: everything committed, and what it appends itself.

A *request* reads what it needs through the transaction, decides, and appends; all of it happens
under the ledger's one lock, many requests to a transaction of the store. What a request appended
is seen by those after it. One that raises leaves nothing behind.

    load      the fold of a whole stream
    newest    a stream's newest event
    history   all events of a stream
    append    seal one event and place it at the next position
    append_ready   place bytes that somebody else sealed, once they open at their place
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from ledger.aggregates.actor import Actor
from ledger.aggregates.event import Event
from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper, Following
from ledger.errors import NEEDS_OPERATOR, Conflict, Refused, Tampered
from ledger.log.access_streams import AccessStreams
from ledger.log.folds import Folds
from ledger.log.following import CheckedHead
from ledger.log.rows import AUDITOR, EPOCH_STARTED, CommitRow, LogRow, SignerRow
from ledger.log.signed_rows import signed_position_at, signed_row
from ledger.log.signers import HeadSigner, SignerBook, roots_in
from ledger.log.store import Reading
from ledger.log.tips import Tip, is_remembered
from ledger.log.walk import Walk, require_remembered
from ledger.sealing.epochs import period_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S")
Fold = Callable[[S | None, Recorded], S | None]


EPOCH_EVENTS_MAX = 1 << 31
"""Half of what one key may seal with random nonces (NIST SP 800-38D, section 8.3)."""
_ROTATING = ("epoch.started", "epoch.replaced", "backup.waived")


class Place(NamedTuple):
    """What the associated data of a row binds."""

    stream: bytes
    version: int
    topic: str
    epoch: int
    period: int


class Equipment(msgspec.Struct, frozen=True):
    """What a transaction of this process works with."""

    mapper: EventMapper
    folds: Folds
    signer: HeadSigner
    access_streams: AccessStreams


class Request(Protocol[T_co]):
    """One unit of deciding: reads, decides and appends, all under the lock."""

    def decide(self, transaction: Transaction) -> T_co:
        """Append what follows, or raise one of our errors and leave nothing."""
        ...


class Transaction:
    """One transaction of the store, as its requests see it."""

    def __init__(
        self,
        reading: Reading,
        equipment: Equipment,
        head: CheckedHead,
        clock_reading: int,
        epoch_began: int = 0,
        requests: int = 1,
    ) -> None:
        """`epoch_began` is the position at which the current epoch was started.

        `requests` is how many are expected to append access records.
        """
        self._reading = reading
        self._equipment = equipment
        self._epoch = head.epoch
        self._last_recorded_at = head.recorded_at
        self.head = head
        """The committed head this transaction builds on."""
        self.clock_reading = clock_reading
        """Microseconds UTC, for deadlines; recorded times never fall behind the log's."""
        self._epoch_began = epoch_began
        self._requests = requests
        self._nonces: list[bytes] = []
        self.rows: list[LogRow] = []
        self.recorded: list[Recorded] = []
        """The events in `rows`, one for one."""
        self.new_signers: list[SignerRow] = []
        self.signed_head: CheckedHead | None = None
        """The head that this transaction is about to commit."""
        self.signed_commit: CommitRow | None = None
        """The row of it."""
        self.moved_tips: dict[bytes, Tip] = {}
        """Where the tips stand once it is committed."""
        self.standing: set[str] = set()
        """Keys of what was found to stand as it is, until something but access is appended."""
        self._is_auditors = equipment.signer.signer_class == AUDITOR
        self._own: dict[bytes, list[Recorded]] = {}
        self._versions: dict[bytes, int] = {}
        self._loaded: dict[tuple[bytes, object], Any] = {}
        self._folded: dict[tuple[bytes, object], tuple[int, Any]] = {}
        """How many of a stream's `_own` events were folded onto what is committed, and to what."""

    @property
    def next_position(self) -> int:
        """The position that the next appended event gets."""
        return self.head.size + len(self.rows) + 1

    @property
    def epoch(self) -> int:
        """The epoch that the next appended event is sealed in."""
        return self._epoch

    def recorded_at(self) -> int:
        """The time that the next appended event gets."""
        return max(self.clock_reading, self._last_recorded_at + 1)

    def newest(self, stream: bytes) -> Recorded | None:
        """The stream's newest event, opened from its own row."""
        own = self._own.get(stream)
        if own:
            return own[-1]
        return self._equipment.folds.newest(self._reading, self.head.size, stream)

    def stands_at(self, stream: bytes, version: int, leaf: bytes) -> bool:
        """Whether a row that was read before is its stream's newest, as this host checked it."""
        if self._own.get(stream):
            return False
        tip = self._equipment.folds.tip(self.head.size, stream)
        stands = tip is not None and tip.version == version and tip.leaf == leaf
        if stands:
            self._versions[stream] = version  # whoever appends next need not look it up again
        return stands

    def newest_among(self, rows: Iterable[LogRow]) -> list[LogRow]:
        """Those of these rows that are their streams' newest, as this host checked them.

        For a transaction that has appended nothing. `stream-altered` where the host remembers less
        of a row's stream than the log has.
        """
        newest, folds, size = [], self._equipment.folds, self.head.size
        for row in rows:
            tip = folds.tip(size, row.stream)
            require_remembered(row, tip.version if tip is not None else 0)
            if tip is not None and tip.version == row.version and tip.leaf == row.leaf:
                newest.append(row)
        return newest

    def rows_after(self, head: CheckedHead) -> list[LogRow]:
        """All rows beyond a head, the committed ones checked; few, as the lock is held."""
        walk = Walk(
            lambda: contextlib.nullcontext(self._reading), self._equipment.signer.ledger, self.head
        )
        return [*chain.from_iterable(walk.after(head)), *self.rows]

    def position_at(self, at: int) -> int:
        """The last committed position recorded at or before a time, microseconds UTC; 0 for none.

        It and the one after it are checked into signed heads: `altered-row` if times were changed.
        """
        ledger = self._equipment.signer.ledger
        return signed_position_at(self._reading, ledger, self.head.size, at)

    def load(self, stream: bytes, fold: Fold[S]) -> S | None:
        """The fold of a whole stream; what is committed of it is kept for the next caller."""
        key = (stream, fold)
        if key not in self._loaded:
            # Under the lock, what is committed does not change while this transaction lasts.
            folds, size = self._equipment.folds, self.head.size
            self._loaded[key] = folds.state(self._reading, size, stream, fold)
        own = self._own.get(stream)
        state: S | None = self._loaded[key]
        if own:
            count, state = self._folded.get(key, (0, state))
            for recorded in own[count:]:
                state = fold(state, recorded)
            self._folded[key] = len(own), state
        return state

    def prepare(self, streams: Iterable[bytes], fold: Fold[S]) -> None:
        """Read together what `load` is about to be asked for stream by stream."""
        self._equipment.folds.prepare(self._reading, self.head.size, streams, fold)

    def history(self, stream: bytes) -> list[Recorded]:
        """All events of a stream, oldest first."""
        committed = self._equipment.folds.history(self._reading, self.head.size, stream)
        return [*committed, *self._own.get(stream, ())]

    def event_at(self, position: int, stream: bytes) -> Recorded | None:
        """The event at this position, if it is of this stream; checked into a signed head."""
        own = position - self.head.size - 1
        if own >= 0:
            found = self.recorded[own] if own < len(self.recorded) else None
            return found if found is not None and found.stream == stream else None
        row = signed_row(self._reading, self._equipment.signer.ledger, position)
        if row is None or row.stream != stream:
            return None
        return self._equipment.mapper.open(row)

    def version(self, stream: bytes) -> int:
        """The version of the newest event of a stream outside `access`; 0 without any."""
        known = self._versions.get(stream)
        if known is None:
            known = self._equipment.folds.version(self.head.size, stream)
        return known

    def next_version(self, stream: bytes, topic: str) -> int:
        """The version that the next event of this stream gets."""
        known = self._versions.get(stream)
        if known is None:
            known = self._version(stream, topic)
            self._versions[stream] = known
        return known + 1

    def append(
        self,
        stream: bytes,
        event: Event,
        actor: Actor,
        reason: str = "",
        *,
        request: str | None = None,
    ) -> Recorded:
        """Seal and place one event; it is durable when the request is answered."""
        self.standing.clear()
        return self._append(stream, event, actor, reason, self.recorded_at(), request=request)

    def append_together(
        self, events: Sequence[tuple[bytes, Event]], actor: Actor, reason: str = ""
    ) -> None:
        """The same as `append` for events of one topic outside `access`, each of its own stream.

        For works that append by the thousand; each stream's place is looked up all the same.
        """
        if not events:
            return
        self.standing.clear()
        topic, position = events[0][1].TOPIC, self.next_position
        self._require_allowed(topic, position + len(events) - 1)
        assert topic != EPOCH_STARTED
        assert len({stream for stream, _ in events}) == len(events)
        behind = self.clock_reading <= self.head.recorded_at
        rows, recorded = self._equipment.mapper.record_together(
            [
                Following(stream, self.next_version(stream, topic), event)
                for stream, event in events
            ],
            actor,
            reason,
            position=position,
            epoch=self._epoch,
            recorded_at=self.recorded_at(),
            clock=self.clock_reading if behind else None,
        )
        self._last_recorded_at = rows[-1].recorded_at
        for one in recorded:
            self._versions[one.stream] = one.version
            self._own.setdefault(one.stream, []).append(one)
        self.rows += rows
        self.recorded += recorded

    def append_ready(self, stream: bytes, version: int, topic: str, sealed: bytes) -> Recorded:
        """Place bytes that are sealed already, if they are the stream's next and open there.

        The cipher binds stream, version, topic, epoch and period. The last two are only known
        under the lock, so bytes that were sealed for others do not open and are refused rather
        than stored unreadable.
        """
        self.standing.clear()
        self._require_allowed(topic, self.next_position)
        if topic == EPOCH_STARTED:
            raise Refused("epoch-not-ready-made", "An epoch is started by rotating keys only.")
        self._require_kind(stream, topic)
        if version != self.next_version(stream, topic):
            raise Conflict("version-taken", "The stream does not continue at this version.")
        row = self._equipment.mapper.placed(
            sealed,
            position=self.next_position,
            stream=stream,
            version=version,
            topic=topic,
            epoch=self._epoch,
            recorded_at=self.recorded_at(),
        )
        try:
            recorded = self._equipment.mapper.open_checked(row)
        except Tampered as error:
            raise Conflict(
                "sealed-for-another-place", "The sealed event does not open at this place."
            ) from error
        return self._place(row, recorded)

    def append_access(
        self, event: Event, actor: Actor, reason: str, text: bytes | None = None
    ) -> Recorded:
        """Append to the access stream of this process; for `text` see `EventMapper.record`."""
        recorded_at = self.recorded_at()
        streams = self._equipment.access_streams
        stream = streams.current(self._epoch, period_of(recorded_at))
        nonce = self._next_nonce()
        return self._append(stream, event, actor, reason, recorded_at, text=text, nonce=nonce)

    def place(self, stream: bytes, topic: str) -> Place:
        """Where the very next event of this stream will lie, for what is sealed into it."""
        version, period = self.next_version(stream, topic), period_of(self.recorded_at())
        return Place(stream, version, topic, self._epoch, period)

    def add_signer(self, public_key: bytes, signer_class: str, change: str) -> None:
        """Begin or end a signing key, from this transaction on."""
        signer = self._equipment.signer
        row = signer.introduce(public_key, signer_class, change, self.head.frontier)
        rows = (*self._reading.signers(), *self.new_signers, row)
        try:
            SignerBook(signer.ledger, rows, roots_in(self._reading))
        except Tampered as error:
            # A signer row stays for ever, so one that others would not believe is never written.
            raise Conflict(
                "signer-changed", "That signing key has ended already, or never began."
            ) from error
        self.new_signers.append(row)

    def attempt(self, request: Request[T]) -> T:
        """Let one request decide; if it raises, nothing of it stays."""
        rows, signers = len(self.rows), len(self.new_signers)
        epoch, recorded_at = (self._epoch, self._epoch_began), self._last_recorded_at
        try:
            return request.decide(self)
        except BaseException:
            for recorded in reversed(self.recorded[rows:]):
                self._own[recorded.stream].pop()
                self._versions[recorded.stream] -= 1
            self.standing.clear()
            del self.rows[rows:], self.recorded[rows:], self.new_signers[signers:]
            self._folded.clear()
            (self._epoch, self._epoch_began), self._last_recorded_at = epoch, recorded_at
            raise

    def _append(
        self,
        stream: bytes,
        event: Event,
        actor: Actor,
        reason: str,
        recorded_at: int,
        *,
        request: str | None = None,
        text: bytes | None = None,
        nonce: bytes | None = None,
    ) -> Recorded:
        position = self.next_position
        self._require_allowed(event.TOPIC, position)
        behind = self.clock_reading <= self.head.recorded_at
        row, recorded = self._equipment.mapper.record(
            event,
            actor,
            reason,
            position=position,
            stream=stream,
            version=self.next_version(stream, event.TOPIC),
            epoch=self._epoch,
            recorded_at=recorded_at,
            clock=self.clock_reading if behind else None,
            request=request,
            text=text,
            nonce=nonce,
        )
        return self._place(row, recorded)

    def _next_nonce(self) -> bytes:
        """One that was drawn together with others.

        To draw one lets go of the interpreter's lock, and whoever else is busy takes it. None
        outlives the transaction, so none is ever in two processes.
        """
        if not self._nonces:
            self._nonces = self._equipment.mapper.nonces(self._requests)
        return self._nonces.pop()

    def _place(self, row: LogRow, recorded: Recorded) -> Recorded:
        self._last_recorded_at = row.recorded_at
        self._versions[row.stream] = row.version
        self._own.setdefault(row.stream, []).append(recorded)
        self.rows.append(row)
        self.recorded.append(recorded)
        if row.topic == EPOCH_STARTED and row.following_epoch != self._epoch:
            self._epoch, self._epoch_began = row.following_epoch, row.position
            # Requests behind this one in the same batch seal access records in the new epoch.
            self._equipment.mapper.start({self._epoch: row.period})
        return recorded

    def _version(self, stream: bytes, topic: str) -> int:
        if is_remembered(topic):
            return self._equipment.folds.version(self.head.size, stream)
        own = self._equipment.access_streams.version(stream)
        if own is not None:
            return own
        row = self._reading.newest_of(stream)
        return row.version if row is not None else 0

    def _require_kind(self, stream: bytes, topic: str) -> None:
        """A stream is remembered by hosts or it is not; events of both kinds would part its tip."""
        if stream in self._own:
            remembered = is_remembered(self._own[stream][-1].topic) if self._own[stream] else None
        elif self.version(stream):
            remembered = True
        else:
            remembered = None if self._reading.newest_of(stream) is None else False
        if remembered not in (None, is_remembered(topic)):
            raise Conflict("stream-of-another-kind", "The stream does not hold such events.")

    def _require_allowed(self, topic: str, position: int) -> None:
        if self._is_auditors and not topic.startswith("audit."):
            raise Refused(
                "operator-needed",
                "An auditor's unlock can record nothing but its own questions.",
                hint=NEEDS_OPERATOR,
            )
        # Every event counts, so that no key comes near its bound; only a rotation goes on.
        if position - self._epoch_began >= EPOCH_EVENTS_MAX and topic not in _ROTATING:
            raise Refused(
                "epoch-exhausted",
                "The keys of this epoch have sealed as much as they may.",
                hint="Run `credledger key rotate`; nothing was recorded or released.",
            )
