"""The one way into the log: requests decided under the lock, many in one signed commit.

A *request* reads what it needs through the transaction, decides, and appends. One thread of each
process drains the requests that wait into one transaction of the store; each caller is answered
after the commit, so callers at the same time share one fsync. A request that raises leaves
nothing behind and does not disturb its neighbours; if the commit fails, all of them fail and
nothing stays.

Rows that other processes appended are checked before anything is folded or signed over them.

    caller ── submit ──▶ queue ──▶ lock, check foreign rows, decide each, sign ──▶ commit ──▶ answer
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.aggregates.actor import Actor
from ledger.aggregates.event import Event
from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.errors import Conflict, InvalidInput, LedgerError, Refused, Tampered, Unavailable
from ledger.log.checkpoint import head_text
from ledger.log.memory import HostMemory
from ledger.log.rows import (
    AUDITOR,
    OPERATOR,
    CommitRow,
    LedgerRow,
    LogRow,
    SignerRow,
    signers_digest,
)
from ledger.log.store import Maintainer, Reading, Store, Writing
from ledger.log.verification import EPOCH_STARTED, CheckedHead, Follower, SignerBook
from ledger.sealing.epochs import period_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S")
Random = Callable[[int], bytes]
Clock = Callable[[], int]
Fold = Callable[[S | None, Recorded], S | None]

BATCH_REQUESTS_MAX = 512
ACCESS_STREAM_RECORDS_MAX = 1 << 24
AHEAD_MAX_US = 31 * 24 * 3600 * 1_000_000
_MEMORY_INTERVAL_US = 1_000_000
_LOAD_PAGE_ROWS = 500
_CACHED_STREAMS_MAX = 20_000


class Place(NamedTuple):
    """What the associated data of a row binds."""

    stream: bytes
    version: int
    topic: str
    epoch: int
    period: int


class Request(Protocol[T_co]):
    """One unit of deciding: reads, decides and appends, all under the lock."""

    def decide(self, transaction: Transaction) -> T_co:
        """Append what follows, or raise one of our errors and leave nothing."""
        ...


class Transaction:
    """The log as a request sees it: everything committed, and what it appends itself."""

    def __init__(
        self,
        writing: Reading,
        writer: Writer,
        head: CheckedHead,
        clock_reading: int,
    ) -> None:
        self._writing = writing
        self._writer = writer
        self._base = head
        self._epoch = head.epoch
        self._last_recorded_at = head.recorded_at
        self.clock_reading = clock_reading
        """Microseconds UTC, for deadlines; recorded times never fall behind the log's."""
        self.rows: list[LogRow] = []
        self.recorded: list[Recorded] = []
        self.new_signers: list[SignerRow] = []
        self.signed_head: CheckedHead | None = None
        """The head that this transaction is about to commit."""
        self._own: dict[bytes, list[Recorded]] = {}
        self._tips: dict[bytes, int] = {}
        self._loaded: dict[tuple[bytes, object], Any] = {}

    @property
    def head(self) -> CheckedHead:
        """The committed head this transaction builds on."""
        return self._base

    @property
    def next_position(self) -> int:
        """The position that the next appended event gets."""
        return self._base.size + len(self.rows) + 1

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
        row = self._writing.newest_of(stream)
        return None if row is None else self._writer.mapper.open(row)

    def load(self, stream: bytes, fold: Fold[S]) -> S | None:
        """The fold of a whole stream; what is committed of it is kept for the next caller."""
        key = (stream, fold)
        if key not in self._loaded:
            # Under the lock, what is committed does not change while this transaction lasts.
            self._loaded[key] = self._writer.cached_fold(self._writing, stream, fold)
        state: S | None = self._loaded[key]
        for recorded in self._own.get(stream, ()):
            state = fold(state, recorded)
        return state

    def history(self, stream: bytes) -> Iterator[Recorded]:
        """All events of a stream, oldest first, read in pages."""
        version = 0
        while page := self._writing.stream_rows(stream, version, _LOAD_PAGE_ROWS):
            for row in page:
                yield self._writer.mapper.open(row)
            version = page[-1].version
        yield from self._own.get(stream, ())

    def next_version(self, stream: bytes) -> int:
        """The version that the next event of this stream gets."""
        known = self._tips.get(stream)
        if known is None:
            row = self._writing.newest_of(stream)
            known = row.version if row is not None else 0
            self._tips[stream] = known
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
        topic = event.TOPIC
        if self._writer.signer_class == AUDITOR and not topic.startswith("audit."):
            raise Refused(
                "operator-needed",
                "An auditor's unlock can record nothing but its own questions.",
                hint="Unlock with an operator's keyring for this command.",
            )
        behind = self.clock_reading <= self._base.recorded_at
        recorded_at = self.recorded_at()
        row, recorded = self._writer.mapper.record(
            event,
            actor,
            reason,
            position=self.next_position,
            stream=stream,
            version=self.next_version(stream),
            epoch=self._epoch,
            recorded_at=recorded_at,
            clock=self.clock_reading if behind else None,
            request=request,
        )
        self._last_recorded_at = recorded_at
        self._tips[stream] = row.version
        self._own.setdefault(stream, []).append(recorded)
        self.rows.append(row)
        self.recorded.append(recorded)
        if topic == EPOCH_STARTED and row.position > 1:
            self._epoch += 1
        return recorded

    def append_access(self, event: Event, actor: Actor, reason: str) -> Recorded:
        """Append to the access stream of this process."""
        stream = self._writer.access_stream(self._epoch, period_of(self.recorded_at()))
        return self.append(stream, event, actor, reason)

    def place(self, stream: bytes, topic: str) -> Place:
        """Where the very next event of this stream will lie, for what is sealed into it."""
        return Place(
            stream,
            self.next_version(stream),
            topic,
            self._epoch,
            period_of(self.recorded_at()),
        )

    def add_signer(self, public_key: bytes, signer_class: str, change: str) -> None:
        """Begin or end a signing key, from this transaction on."""
        row = self._writer.signed_signer(
            public_key, signer_class, change, self._base.size, self._base.frontier.root()
        )
        rows = (*self._writing.signers(), *self.new_signers, row)
        try:
            SignerBook(self._writer.ledger, rows, self._writing)
        except Tampered as error:
            # A signer row stays for ever, so one that others would not believe is never written.
            raise Conflict(
                "signer-changed", "That signing key has ended already, or never began."
            ) from error
        self.new_signers.append(row)

    def attempt(self, request: Request[T]) -> T:
        """Let one request decide; if it raises, nothing of it stays."""
        rows, signers = len(self.rows), len(self.new_signers)
        epoch, recorded_at = self._epoch, self._last_recorded_at
        try:
            return request.decide(self)
        except BaseException:
            for recorded in reversed(self.recorded[rows:]):
                self._own[recorded.stream].pop()
                self._tips[recorded.stream] -= 1
            del self.rows[rows:], self.recorded[rows:], self.new_signers[signers:]
            self._epoch, self._last_recorded_at = epoch, recorded_at
            raise


class Writer:
    """The writer of one process for one ledger."""

    def __init__(
        self,
        store: Store,
        ledger: LedgerRow,
        mapper: EventMapper,
        signing_key: Ed25519PrivateKey,
        signer_class: str,
        *,
        head: CheckedHead,
        follower: Follower,
        clock: Clock,
        random: Random,
        access_stream_name: Callable[[bytes], bytes],
        maintainers: Sequence[Maintainer] = (),
        memory: HostMemory | None = None,
        accept_clock: bool = False,
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.mapper = mapper
        self.signer_class = signer_class
        self.head = head
        """The newest head this process has checked."""
        self._signing_key = signing_key
        self._public_key = signing_key.public_key().public_bytes_raw()
        self._follower = follower
        self._clock = clock
        self._random = random
        self._access_stream_name = access_stream_name
        self._maintainers = tuple(maintainers)
        self._memory = memory
        self._remembered_at = 0
        self._accept_clock = accept_clock
        self._cache: dict[tuple[bytes, object], tuple[int, Any]] = {}
        self._access: tuple[bytes, int, int, int] | None = None
        self._queue: queue.SimpleQueue[tuple[Request[Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._process = 0
        self._start_guard = threading.Lock()
        self._head_guard = threading.Lock()

    def run(self, request: Request[T]) -> T:
        """Decide the request and return its answer once it is durable."""
        return self.submit(request).result()

    def submit(self, request: Request[T]) -> Future[T]:
        """Queue the request; the future is done once it is durable or has failed."""
        answer: Future[T] = Future()
        self._ensure_thread()
        self._queue.put((request, answer))
        return answer

    def close(self) -> None:
        """Finish what waits, and keep the newest head in the host's memory."""
        thread = self._thread
        if thread is not None and self._process == os.getpid():
            self._queue.put(None)
            thread.join()
        self._thread = None
        self._remember(always=True)

    def catch_up(self) -> CheckedHead:
        """Check whatever others appended, in pages outside the lock."""

        def page(head: CheckedHead) -> CheckedHead:
            with self.store.reading() as reading:
                return self._follower.follow(reading, head)

        return self._advance(self._follower.follow_to_end(page, self.head))

    def looking(self, reading: Reading) -> Transaction:
        """A transaction to read through; whatever is appended to it is never written."""
        return Transaction(reading, self, self.head, self._clock())

    def found(self, request: Request[T]) -> T:
        """Name an empty store and append its first events, in one transaction."""
        with self.store.writing() as writing:
            if writing.ledger() is not None:
                raise Conflict("ledger-exists", "There is a ledger at this store already.")
            writing.insert_ledger(self.ledger)
            transaction = Transaction(writing, self, CheckedHead(), self._clock())
            transaction.add_signer(self._public_key, OPERATOR, "begin")
            answer = transaction.attempt(request)
            head = self._append(writing, transaction)
        self.head = head
        self._remember(always=True)
        return answer

    def cached_fold(self, reading: Reading, stream: bytes, fold: Fold[S]) -> S | None:
        """The committed fold of a stream, continued from where it was last left."""
        key = (stream, fold)
        checked = self.head.size
        version: int
        state: S | None
        version, state = self._kept(key)
        while page := reading.stream_rows(stream, version, _LOAD_PAGE_ROWS):
            for row in page:
                if row.position > checked:
                    # Appended by others since the last check: not believed yet.
                    return state
                if row.version != version + 1:
                    raise Tampered("stream-gap", "A stream lacks an event.", position=row.position)
                state = fold(state, self.mapper.open(row))
                version = row.version
        if len(self._cache) >= _CACHED_STREAMS_MAX:
            self._cache.clear()
        self._cache[key] = (version, state)
        return state

    def _kept(self, key: tuple[bytes, object]) -> tuple[int, Any]:
        return self._cache.get(key, (0, None))

    def access_stream(self, epoch: int, period: int) -> bytes:
        """This process's own access stream, new for each epoch, period and 2^24 records."""
        held = self._access
        fits = held is not None and held[1:3] == (epoch, period)
        if held is None or not fits or held[3] >= ACCESS_STREAM_RECORDS_MAX:
            held = (self._access_stream_name(self._random(16)), epoch, period, 0)
        self._access = (held[0], epoch, period, held[3] + 1)
        return held[0]

    def signed_signer(
        self, public_key: bytes, signer_class: str, change: str, from_size: int, root: bytes
    ) -> SignerRow:
        """A signer row, introduced and signed by this process's key."""
        unsigned = SignerRow(public_key, signer_class, change, from_size, self._public_key, b"")
        signature = self._signing_key.sign(unsigned.message(self.ledger.id, root))
        return unsigned._replace(signature=signature)

    def _ensure_thread(self) -> None:
        with self._start_guard:
            if self._thread is None or self._process != os.getpid():
                self._process = os.getpid()
                self._queue = queue.SimpleQueue()
                self._access = None
                self._thread = threading.Thread(
                    target=self._serve, name="credledger-writer", daemon=True
                )
                self._thread.start()

    def _serve(self) -> None:
        waiting = self._queue
        while (first := waiting.get()) is not None:
            batch, stop = [first], False
            while len(batch) < BATCH_REQUESTS_MAX and not waiting.empty():
                item = waiting.get()
                if item is None:
                    stop = True
                    break
                batch.append(item)
            self._commit(batch)
            if stop:
                return

    def _commit(self, batch: list[tuple[Request[Any], Future[Any]]]) -> None:
        answers: list[tuple[Future[Any], Any]] = []
        failures: list[tuple[Future[Any], BaseException]] = []
        transaction: Transaction | None = None
        try:
            self.catch_up()
            with self.store.writing() as writing:
                checked = self._bring_forward(writing)
                transaction = Transaction(writing, self, checked, self._clock_reading())
                for request, answer in batch:
                    try:
                        answers.append((answer, transaction.attempt(request)))
                    except LedgerError as error:
                        failures.append((answer, error))
                    except UnicodeEncodeError:
                        # The exception itself would carry the text to whoever prints it.
                        failures.append((answer, _unstorable()))
                head = self._append(writing, transaction) if transaction.rows else checked
            self._advance(head)
        except BaseException as error:  # noqa: BLE001 # every waiting caller must get an answer
            self._cache.clear()
            self._access = None
            if transaction is None or not self._landed(transaction):
                for _, answer in batch:
                    answer.set_exception(error)
                return
        for answer, value in answers:
            answer.set_result(value)
        for answer, failure in failures:
            answer.set_exception(failure)
        # An older memory is harmless; `close` tells of a folder that cannot be written.
        with contextlib.suppress(Unavailable):
            self._remember()

    def _append(self, writing: Writing, transaction: Transaction) -> CheckedHead:
        moved = transaction.head.after(transaction.rows)
        signers = self._signers(writing, transaction)
        head = replace(moved, signers=signers_digest(self.ledger.id, signers, moved.size))
        transaction.signed_head = head
        root = head.frontier.root()
        text = head_text(self.ledger.id, head.size, root, head.signers)
        writing.insert_rows(transaction.rows)
        writing.insert_signers(transaction.new_signers)
        writing.insert_commit(
            CommitRow(
                head.size,
                root,
                head.frontier.packed(),
                self._public_key,
                self._signing_key.sign(text),
            )
        )
        for maintainer in self._maintainers:
            maintainer.maintain(writing.connection, transaction.recorded)
        return head

    def _signers(self, writing: Writing, transaction: Transaction) -> tuple[SignerRow, ...]:
        if transaction.head.size == 0:
            return tuple(transaction.new_signers)
        book = self._follower.book(writing)
        if book.class_at(self._public_key, transaction.head.size + 1) != self.signer_class:
            raise Refused("slot-removed", "The slot that is unlocked may not sign any more.")
        return book.rows + tuple(transaction.new_signers)

    def _bring_forward(self, writing: Reading) -> CheckedHead:
        return self._advance(
            self._follower.follow_to_end(
                lambda head: self._follower.follow(writing, head), self.head
            )
        )

    def _advance(self, head: CheckedHead) -> CheckedHead:
        """Move to this head unless another thread has gone further already."""
        with self._head_guard:
            if head.size > self.head.size:
                self.head = head
        return head

    def _clock_reading(self) -> int:
        reading = self._clock()
        far_ahead = self.head.size > 0 and reading > self.head.recorded_at + AHEAD_MAX_US
        if far_ahead and not self._accept_clock:
            raise Unavailable(
                "clock-ahead",
                "The clock is more than 31 days ahead of the last recorded event.",
                hint="Check the clock; if it is right, run once with --accept-clock.",
            )
        return reading

    def _landed(self, transaction: Transaction) -> bool:
        """Whether a commit whose answer was lost is there all the same."""
        if transaction.signed_head is None:
            return False
        try:
            last = transaction.rows[-1]
            with self.store.reading() as reading:
                row = reading.row_at(last.position)
            landed = row is not None and row.leaf == last.leaf
            if landed:
                self._advance(transaction.signed_head)
        except LedgerError:
            return False
        return landed

    def _remember(self, *, always: bool = False) -> None:
        if self._memory is None or self.head.size == 0:
            return
        now = self._clock()
        if always or abs(now - self._remembered_at) >= _MEMORY_INTERVAL_US:
            self._remembered_at = now
            self._memory.remember(self.head)


def _unstorable() -> InvalidInput:
    return InvalidInput("invalid-text", "A text is no valid Unicode and cannot be stored.")
