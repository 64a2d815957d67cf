"""The one way into the log: requests decided under the lock, many in one signed commit.

One thread of each process drains the requests that wait into one transaction of the store; each
caller is answered after the commit, so callers at the same time share one fsync. A request that
raises leaves nothing behind and does not disturb its neighbours; if the commit fails, all of them
fail and nothing stays.

Rows that other processes appended are checked before anything is folded or signed over them.

    caller ── submit ──▶ queue ──▶ lock, check foreign rows, decide each, sign ──▶ commit ──▶ answer
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import ledger.aggregates.retention  # noqa: F401 # its events lie in the stream of keys
from ledger.aggregates.keys import KeyHistory, fold_keys
from ledger.codec.mapper import EventMapper
from ledger.errors import (
    Conflict,
    InvalidInput,
    KeyUnavailable,
    LedgerError,
    Tampered,
    Unavailable,
)
from ledger.log.access_streams import AccessStreams
from ledger.log.branch import Branch
from ledger.log.folds import Folds, Overtaken
from ledger.log.following import CheckedHead, Follower, rolled_back
from ledger.log.forking import renew_in_children
from ledger.log.line import Answer, Line, Reply, Waiting
from ledger.log.memory import HostMemory
from ledger.log.rows import OPERATOR, SignerRow, signers_digest
from ledger.log.signers import HeadSigner
from ledger.log.started_keys import first_held_otherwise, started_history
from ledger.log.store import Maintainer, Reading, Store, Writing
from ledger.log.tips import StreamTips
from ledger.log.transaction import Equipment, Request, Transaction
from ledger.replacing import replace

if TYPE_CHECKING:
    from ledger.log.awaiting import Awaited, Mailboxes

T = TypeVar("T")
Random = Callable[[int], bytes]
Clock = Callable[[], int]
Watch = Callable[[int], contextlib.AbstractContextManager[object]]

AHEAD_MAX_US = 31 * 24 * 3600 * 1_000_000
_MEMORY_INTERVAL_US = 1_000_000
_LOOK_INTERVAL_US = 1_000_000
_FRESH_TIPS_MAX = 20_000
_LOOKS_MAX = 100
_CHECKED_UNDER_LOCK_MAX = 2000


def require_near(reading: int, recorded_at: int) -> None:
    """`clock-ahead` where a clock is too far ahead of the newest row for the next one."""
    if reading > recorded_at + AHEAD_MAX_US:
        raise Unavailable(
            "clock-ahead",
            "The clock is more than 31 days ahead of the last recorded event.",
            hint="Check the clock; if it is right, run once with --accept-clock.",
        )


def being_restored() -> Unavailable:
    """Nobody goes on from a part of an archive, though it ends with a signed head."""
    return Unavailable(
        "store-restoring",
        "An archive is being restored into this store, and has not come to its end.",
        hint="Run the same `credledger backup restore DIR` again; it goes on where it stopped."
        " If nobody restored anything, somebody only put the mark there: see that"
        " `credledger log verify` holds, then empty the store's table `restoring`.",
    )


class HeldKeys(Protocol):
    """The keys that this process holds, which follow the log."""

    def renew(self) -> None:
        """Look into the keyring's file again."""
        ...

    def follow(self, history: KeyHistory, size: int) -> None:
        """Let go of what the log of this size calls destroyed; nothing is written."""
        ...

    def begin_anew(self) -> None:
        """Go by what is followed next, however small that log is: it is another one."""
        ...

    def settle(self) -> None:
        """Write what follows from it, if anything does and nobody is in the way."""
        ...


class Writer:
    """The writer of one process for one ledger."""

    def __init__(
        self,
        store: Store,
        mapper: EventMapper,
        signer: HeadSigner,
        *,
        clock: Clock,
        random: Random,
        access_stream_name: Callable[[bytes], bytes],
        audit_stream_of: Callable[[bytes], bytes] | None = None,
        keyring_stream: bytes,
        keys: HeldKeys | None = None,
        herald: Request[None] | None = None,
        maintainers: Sequence[Maintainer] = (),
        memory: HostMemory | None = None,
        accept_clock: bool = False,
        accept_restoring: bool = False,
    ) -> None:
        """`herald` may append to any transaction that appends; it never makes one of its own."""
        self.store = store
        self.signer = signer
        self._audit_stream_of = audit_stream_of
        self._access_stream_name = access_stream_name
        self._random = random
        self._mapper = mapper
        self._memory = memory
        self._partly: tuple[bytes, str] | None = None
        self._along: tuple[Request[bool], ...] = ()
        remembered = memory.recall() if memory is not None else None
        self._branch = self._begun(remembered or CheckedHead())
        self._keyring_stream = keyring_stream
        self._keys = keys
        self._herald = herald
        self._clock = clock
        self._maintainers = tuple(maintainers)
        self.unremembered: Unavailable | None = None
        """Why this host's memory could not be written when it was last tried; None if it could."""
        self._remembered_at = 0
        self._accept_clock = accept_clock
        self._accept_restoring = accept_restoring
        self._whole_at = 0
        """When the store was found to be none that is being restored, microseconds UTC."""
        self.refusal: LedgerError | None = None
        """What every request is answered by; None in a process that may append."""
        self._line = Line()
        self._mailboxes: Mailboxes | None = None
        self.watch: Watch = _unwatched
        """What is entered for each commit, with the number of its requests, and left after it."""
        self._thread: threading.Thread | None = None
        self._closed = False
        self._start_guard = threading.Lock()
        self._branch_guard = threading.Lock()
        """Held while the branch is changed, or what is known of it leaves this writer."""
        renew_in_children(self)

    @property
    def head(self) -> CheckedHead:
        """The newest head this process has checked."""
        return self._branch.head

    def record_along(self, request: Request[bool]) -> None:
        """Attempt this in each transaction that appends, until it answers True.

        It never makes a transaction of its own; where it fails, so do the others.
        """
        self._along = (*self._along, request)
        self._branch.alongside = (*self._branch.alongside, request)

    def run(self, request: Request[T]) -> T:
        """Decide the request and return its answer once it is durable."""
        reply: Reply[T] = Reply()
        if self._join(request, reply):
            self._turn_away()
        return reply.result()

    def submit(self, request: Request[T]) -> Future[T]:
        """Queue the request; the future is done once it is durable or has failed.

        What is called back when it is done runs in the writer's thread, and must not wait for the
        ledger there.
        """
        answer: Future[T] = Future()
        if self._join(request, answer):
            self._turn_away()
        return answer

    async def run_async(self, request: Request[T]) -> T:
        """The same for a coroutine, whose loop goes on meanwhile.

        Who is cancelled while he waits gets no answer; his request may be carried out all the same.
        """
        import asyncio

        if self._mailboxes is None:
            from ledger.log.awaiting import Mailboxes

            self._mailboxes = Mailboxes()
        answer: Awaited[T] = self._mailboxes.awaited()
        if self._join(request, answer):
            await asyncio.to_thread(self._turn_away)
        return await answer.future

    def close(self) -> None:
        """Finish what waits, and keep the newest head in the host's memory.

        What is recorded stands, whatever becomes of the memory: see `unremembered`.
        """
        with self._start_guard:
            if not self._closed:
                self._closed = True
                self._line.end()
        self._turn_away()
        self._remember(always=True)
        if self._memory is not None:
            self._memory.close()

    def catch_up(self) -> CheckedHead:
        """Check whatever others appended, in pages outside the lock."""
        return self._caught_up()[1]

    def check_signers(self) -> None:
        """`bad-signer` or `bad-signature` unless the checked head is stored as it was signed."""
        branch = self._branch
        with self.store.reading() as reading:
            branch.follower.check_head(reading, branch.head)

    def first_held_otherwise(self) -> int | None:
        """The first epoch up to the checked head that is held with other keys than it began with.

        None where there is none, as far as the keys at hand open what the log says of it.
        """
        with self.store.reading() as reading:
            mapper, stream = self._mapper, self._keyring_stream
            return first_held_otherwise(reading, stream, mapper, self.head.epoch)

    def is_live(self) -> bool:
        """Whether the slot that is unlocked may sign after the checked head."""
        branch = self._branch
        head = branch.head
        with self.store.reading() as reading:
            book = branch.follower.known_book(reading, head)
        return book.class_at(self.signer.public_key, head.size + 1) == self.signer.signer_class

    def only_look(self, refusal: LedgerError, needed: str) -> None:
        """Answer every request by this refusal, and looks by what the keys at hand open.

        Of the keyring's stream that is a part, unless a row of the `needed` topic is beyond it.
        """
        self._partly = self._keyring_stream, needed
        self._branch.equipment.folds.fold_as_far_as_opened(*self._partly)
        self.refusal = refusal

    def look(self, look: Callable[[Transaction], T]) -> T:
        """Read through a transaction that is never written, at a head that was checked."""
        overtaken: tuple[Branch, int] | None = None
        for _ in range(_LOOKS_MAX):
            branch, checked = self._caught_up()
            with self.store.reading() as reading:
                head = self._follow(reading, branch, checked)
                try:
                    self._know_keys(reading, branch, head)
                    answer = look(Transaction(reading, branch.equipment, head, self._clock()))
                    break
                except Overtaken as ahead:
                    if (
                        overtaken is not None
                        and overtaken[0] is branch
                        and head.size < overtaken[1]
                    ):
                        raise rolled_back(head.size) from None
                    overtaken = branch, ahead.position
        else:
            raise Unavailable("store-busy", "The ledger is written to faster than it can be read.")
        self._settle()
        return answer

    def open_tickets(self, before: int) -> Iterator[bytes]:
        """Streams of tickets issued before this time that nobody has ended, as far as checked."""
        return self._branch.tips.open_tickets(before)

    def warm(self, streams: Iterable[bytes]) -> None:
        """Have at hand what is remembered of these streams, before the lock is taken for them."""
        self._branch.tips.warm(streams)

    def found(self, request: Request[T]) -> T:
        """Name an empty store and append its first events, in one transaction."""
        with self.store.writing() as writing:
            if writing.ledger() is not None:
                raise Conflict("ledger-exists", "There is a ledger at this store already.")
            writing.insert_ledger(self.signer.ledger)
            branch = self._branch
            transaction = Transaction(writing, branch.equipment, CheckedHead(), self._clock())
            transaction.add_signer(self.signer.public_key, OPERATOR, "begin")
            answer = transaction.attempt(request)
            head = self._append(writing, branch, transaction)
        self._committed(branch, transaction, head)
        self._remember(always=True)
        return answer

    def renew_after_fork(self) -> None:
        """The child has no writer thread, and an access stream of its own."""
        self._line = Line()
        self._mailboxes = None
        self._thread = None
        self._start_guard = threading.Lock()
        self._branch_guard = threading.Lock()
        self._mapper.renew_after_fork()
        self._branch.renew_after_fork()

    def _join(self, request: Request[Any], answer: Answer) -> bool:
        """Stand in line; whether it may have been behind the last one that is served."""
        if self.refusal is not None:
            answer.set_exception(self.refusal)
            return False
        # No lock on the way in: callers by the dozen would queue for it before they queue here.
        if self._thread is None and not self._closed:
            self._start()
        self._line.join(request, answer)
        return self._closed

    def _start(self) -> None:
        with self._start_guard:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._serve, args=(self._line,), name="credledger-writer", daemon=True
                )
                self._thread.start()

    def _turn_away(self) -> None:
        """Let the writer finish what waits, and fail what came too late."""
        thread = self._thread
        if thread is not None:
            thread.join()
        self._line.turn_away(_closed())

    def _serve(self, line: Line) -> None:
        for batch in line.batches():
            try:
                self._commit(batch)
            except BaseException as error:  # noqa: BLE001 # the thread must live, or all wait
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)

    def _commit(self, batch: list[Waiting]) -> None:
        answers: list[tuple[Answer, Any]] = []
        failures: list[tuple[Answer, BaseException]] = []
        transaction: Transaction | None = None
        branch = self._branch
        try:
            with self.watch(len(batch)), self._at_head() as (writing, branch, checked):
                clock_reading = self.clock_reading()
                self._know_keys(writing, branch, checked)
                transaction = Transaction(
                    writing,
                    branch.equipment,
                    checked,
                    clock_reading,
                    branch.epoch_began,
                    len(batch),
                )
                for request, answer in batch:
                    try:
                        answers.append((answer, transaction.attempt(request)))
                    except LedgerError as error:
                        failures.append((answer, error))
                    except UnicodeEncodeError:
                        # The exception itself would carry the text to whoever prints it.
                        failures.append((answer, _unstorable()))
                    except Overtaken:
                        # Under the lock nobody can have gone on: the tip lies beyond the log.
                        failures.append((answer, rolled_back(checked.size)))
                    except Exception as error:  # noqa: BLE001 # a fault of one request is its own
                        failures.append((answer, error))
                alongside = branch.alongside if transaction.rows else ()
                said = [one for one in alongside if transaction.attempt(one)]
                if transaction.rows and self._herald is not None:
                    # What it has to say is said another time, if not now.
                    with contextlib.suppress(LedgerError, Overtaken):
                        transaction.attempt(self._herald)
                head = self._append(writing, branch, transaction) if transaction.rows else checked
            self._committed(branch, transaction, head)
            branch.alongside = tuple(one for one in branch.alongside if one not in said)
        except BaseException as error:  # noqa: BLE001 # every waiting caller must get an answer
            branch.forget()
            self._whole_at = 0
            if isinstance(error, Overtaken):
                error = rolled_back(branch.head.size)  # as above, of the stream of keys
            if transaction is None or not self._landed(branch, transaction):
                for _, answer in batch:
                    answer.set_exception(error)
                return
        mailboxes = self._mailboxes
        with mailboxes.together() if mailboxes is not None else contextlib.nullcontext():
            for answer, value in answers:
                answer.set_result(value)
            for answer, failure in failures:
                answer.set_exception(failure)
        self._settle()
        self._remember()

    @contextlib.contextmanager
    def _at_head(self) -> Iterator[tuple[Writing, Branch, CheckedHead]]:
        """The lock, at a checked head; what others appended is checked outside it if it is much."""
        while True:
            with self.store.writing() as writing:
                branch = self._adopted()
                head, extent = branch.head, writing.extent()
                if extent.last <= head.size + _CHECKED_UNDER_LOCK_MAX:
                    self._require_whole(writing)
                    still = extent == (head.size, head.size, head.frontier.packed())
                    yield writing, branch, head if still else self._follow(writing, branch, head)
                    return
            self.catch_up()

    def _caught_up(self) -> tuple[Branch, CheckedHead]:
        """The branch of now, and its end as it was found."""
        branch = self._adopted()

        def page(head: CheckedHead) -> CheckedHead:
            with self.store.reading() as reading:
                moved = self._followed(reading, branch, head)
            if branch.tips.fresh > _FRESH_TIPS_MAX:
                # Within a commit there is no head to remember; tips may be newer than the head.
                if not moved.is_within_commit:
                    branch.advance(moved)
                self._remember(always=True)
            return moved

        return branch, branch.advance(branch.follower.follow_to_end(page, branch.head))

    def _append(self, writing: Writing, branch: Branch, transaction: Transaction) -> CheckedHead:
        moved = transaction.head.after(transaction.rows)
        signers = self._signers(writing, branch, transaction)
        digest = signers_digest(self.signer.ledger.id, signers, moved.size)
        head = replace(moved, signers=digest)
        transaction.signed_head = head
        branch.tips.after(transaction.rows, transaction.moved_tips)
        writing.insert_rows(transaction.rows)
        writing.insert_signers(transaction.new_signers)
        commit = self.signer.commit(head.frontier, head.signers)
        transaction.signed_commit = commit
        writing.insert_commit(commit)
        for maintainer in self._maintainers:
            maintainer.maintain(writing.connection, transaction.recorded)
        # A trigger or rule of somebody else's may have taken rows away, kept them out or altered
        # them: nothing is released on a record that the store did not keep.
        if not writing.holds(transaction.rows, commit):
            raise _not_kept()
        if transaction.new_signers:
            kept = writing.signers()
            if kept != signers or not all(row.is_sound for row in kept):
                raise _not_kept()
        return head

    def _signers(
        self, writing: Writing, branch: Branch, transaction: Transaction
    ) -> tuple[SignerRow, ...]:
        if transaction.head.size == 0:
            return tuple(transaction.new_signers)
        book = branch.follower.known_book(writing, transaction.head)
        self.signer.require_live(book, transaction.head.size)
        return book.rows + tuple(transaction.new_signers)

    def _committed(self, branch: Branch, transaction: Transaction, head: CheckedHead) -> None:
        """Believe what this process itself signed and made durable."""
        branch.tips.move(transaction.moved_tips)
        branch.equipment.access_streams.committed(transaction.rows)
        if transaction.new_signers:
            branch.follower.forget_book()
        branch.advance(head)

    def _know_keys(self, reading: Reading, branch: Branch, head: CheckedHead) -> None:
        """Learn what the keyring's stream tells, whoever wrote it, before anything rests on it.

        In which month each epoch began, for access keys are counted from there: a process that
        holds the keys of the next epoch goes on when another host starts it, and for one still
        later, and where it holds others than the log, it looks into its keyring again. And which
        keys were destroyed, which it lets go.
        """
        stream = self._keyring_stream
        tip = branch.tips.of(stream)
        known = head.epoch <= branch.epoch_known and tip == branch.keyring_tip
        if known and branch.tips.is_end(stream):
            return
        if self._keys is not None and not self._mapper.holds(head.epoch):
            self._keys.renew()
        try:
            history = self._started(reading, branch, head)
        except KeyUnavailable:
            if self._keys is None:
                raise
            self._keys.renew()
            history = self._started(reading, branch, head)
        if history is None:
            return
        with self._branch_guard:
            if branch is not self._branch:
                return  # keys and ciphers go by the one of now
            self._mapper.start(history.first_periods)
            if self._keys is not None:
                self._keys.follow(history, head.size)
        branch.epoch_known = history.current
        branch.epoch_began = history.started_where[history.current]
        branch.keyring_tip = tip

    def _settle(self) -> None:
        """Let the keyring's file follow; outside the lock, for which who has the file may wait."""
        if self._keys is not None:
            self._keys.settle()

    def _started(self, reading: Reading, branch: Branch, head: CheckedHead) -> KeyHistory | None:
        """The epochs as the log tells them, if no other keys are held for those it has started."""
        mapper, stream = self._mapper, self._keyring_stream

        def told() -> KeyHistory | None:
            return branch.equipment.folds.state(reading, head.size, stream, fold_keys)

        return started_history(told, reading, stream, mapper, head.epoch)

    def _adopted(self) -> Branch:
        """Go on from what another process of this host has checked and remembered; the branch.

        A log that was rolled back to where this process stands looks whole from here; that
        another has seen more of it is only known from the memory that both share. Where that is
        another memory than before, an operator may have accepted another log: nothing that is
        known of this one counts there, and what is said once and for all has not been said.
        """
        if self._memory is None:
            return self._branch
        with self._branch_guard:
            newer = self._memory.newer(self.head.size)
            if newer is not None and newer.is_of_another:
                self._branch = self._begun(newer.head)
                if self._keys is not None:
                    self._keys.begin_anew()
            elif newer is not None:
                self._branch.adopt(newer.head)
            return self._branch

    def _begun(self, head: CheckedHead) -> Branch:
        """A branch of which nothing is known but this head, and what is remembered up to it."""
        tips = StreamTips(self._memory)
        folds = Folds(self._mapper, tips)
        if self._partly is not None:
            folds.fold_as_far_as_opened(*self._partly)
        follower = Follower(self.signer.ledger, audit_stream_of=self._audit_stream_of, tips=tips)
        access_streams = AccessStreams(self._access_stream_name, self._random)
        equipment = Equipment(self._mapper, folds, self.signer, access_streams)
        return Branch(head, tips, follower, equipment, self._along)

    def _follow(self, reading: Reading, branch: Branch, head: CheckedHead) -> CheckedHead:
        end = branch.follower.follow_to_end(
            lambda page: self._followed(reading, branch, page), head
        )
        return branch.advance(end)

    def _followed(self, reading: Reading, branch: Branch, head: CheckedHead) -> CheckedHead:
        """The head after a page of what others appended; `store-restoring` if it is an archive's.

        Who was behind when the database was lost comes upon the pages of a restore as upon rows of
        others.
        """
        try:
            moved = branch.follower.follow(reading, head)
        except Tampered as found:
            # The head of a long commit comes into the store with its last rows.
            is_within = found.code == "unsigned-rows" and reading.is_restoring()
            if is_within and not self._accept_restoring:
                raise being_restored() from None
            raise
        if moved.size != head.size:
            self._require_whole(reading)
        return moved

    def _require_whole(self, reading: Reading) -> None:
        """`store-restoring` where the store holds a part of an archive only.

        Looked for at most once a second: mostly who runs finds a rollback. Not who was behind when
        the database was lost, nor who stands where a page of the archive ends.
        """
        now = self._clock()
        if self._accept_restoring or abs(now - self._whole_at) < _LOOK_INTERVAL_US:
            return
        if reading.is_restoring():
            raise being_restored()
        self._whole_at = now

    def clock_reading(self) -> int:
        """What the clock says, microseconds UTC; `clock-ahead` where nothing is recorded by it."""
        reading = self._clock()
        if self.head.size > 0 and not self._accept_clock:
            require_near(reading, self.head.recorded_at)
        return reading

    def _landed(self, branch: Branch, transaction: Transaction) -> bool:
        """Whether a commit whose answer was lost is there all the same, as it was appended.

        Looked up under the lock: only then has whatever is still going on come to its end.
        """
        if transaction.signed_head is None:
            return False
        appended, size = transaction.rows, transaction.signed_head.size
        try:
            with self.store.writing() as writing:
                rows = writing.rows_after(size - len(appended), len(appended))
                commit = writing.commit_at(size)
        except LedgerError:
            return False
        landed = rows == appended and commit == transaction.signed_commit
        if landed:
            # Where even this fails, the next commit checks these rows like those of others.
            with contextlib.suppress(LedgerError):
                self._committed(branch, transaction, transaction.signed_head)
        return landed

    def _remember(self, *, always: bool = False) -> None:
        """Keep head and tips; an older memory is harmless, so a failure is only noted."""
        if self._memory is None or self.head.size == 0:
            return
        now = self._clock()
        if always or abs(now - self._remembered_at) >= _MEMORY_INTERVAL_US:
            self._remembered_at = now
            with self._branch_guard:
                branch = self._branch
                # The head first: tips may be newer than the head they are kept with, never older.
                head = branch.head
                tips, passing = branch.tips.unremembered(), branch.tips.passing()
                try:
                    self._memory.remember(head, tips, passing)
                except Unavailable as error:
                    self.unremembered = error
                    return
                branch.tips.remembered(tips, passing, head.size)
                self.unremembered = None  # before another thread may fail, which is to be told


def _unwatched(_: int) -> contextlib.AbstractContextManager[object]:
    return contextlib.nullcontext()


def _closed() -> Unavailable:
    return Unavailable("ledger-closed", "The ledger was closed by this process.")


def _not_kept() -> Tampered:
    return Tampered(
        "append-not-kept",
        "The store did not keep what was appended to it; nothing was recorded.",
        hint="Look for triggers and rules that are not ours: `credledger doctor` names them.",
    )


def _unstorable() -> InvalidInput:
    return InvalidInput("invalid-text", "A text is no valid Unicode and cannot be stored.")
