"""Events to sealed rows and back.

What is sealed of one event, its `content`, is padded and encrypted under its compartment's key.
The compartment follows from the topic alone, so a row cannot choose weaker keys for itself:
`access.`, `audit.`, `import.`, `ticket.` and `token.` are `access`, all others are `state`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.aggregates.actor import Actor
from ledger.aggregates.event import Event
from ledger.aggregates.keys import EpochStarted
from ledger.aggregates.recorded import Recorded, recorded_of
from ledger.codec.content import event_in, packed, packed_together, unpacked
from ledger.codec.header import (
    NUMBER_BYTES,
    associated_data_in,
    changing_part,
    encode_associated_data,
    encode_header,
    prefix_of,
)
from ledger.codec.opening import KEPT_BYTES_MAX, Opening
from ledger.errors import KeyUnavailable, Tampered
from ledger.log.rows import NO_ROW, LogRow
from ledger.sealing.compartments import Compartment
from ledger.sealing.envelope import NONCE_BYTES, open_sealed, padded, seal_padded
from ledger.sealing.epochs import EpochCommitments, EpochKeys, period_of
from ledger.sealing.keys import KeySet
from ledger.tree import LEAF_PREFIX, leaf_hash

Random = Callable[[int], bytes]
_ACCESS_PREFIXES = ("access.", "audit.", "import.", "ticket.", "token.")


class Placed(Protocol):
    """Anything that tells where a sealed row belongs."""

    @property
    def stream(self) -> bytes:
        """Sixteen bytes."""
        ...

    @property
    def version(self) -> int:
        """Place in the stream."""
        ...

    @property
    def topic(self) -> str:
        """The event's frozen name."""
        ...

    @property
    def epoch(self) -> int:
        """Whose keys sealed it."""
        ...

    @property
    def period(self) -> int:
        """The UTC month, YYYYMM."""
        ...


@functools.lru_cache(maxsize=256)
def compartment_of(topic: str) -> Compartment:
    """Whose keys seal events of this topic."""
    return Compartment.ACCESS if topic.startswith(_ACCESS_PREFIXES) else Compartment.STATE


def text_of(
    event: Event, actor: Actor, reason: str, clock: int | None = None, request: str | None = None
) -> bytes:
    """What is sealed of an event: packed, and padded as its compartment asks."""
    content = packed(event, actor, reason, clock, request)
    return padded(content, compartment_of(event.TOPIC))


class Following(NamedTuple):
    """An event that is to be recorded, and its place in its stream."""

    stream: bytes
    version: int
    event: Event


class EventMapper:
    """Seals events into rows and opens rows into events, for one ledger."""

    def __init__(self, ledger_id: bytes, keys: KeySet, random: Random) -> None:
        self.ledger_id = ledger_id
        """Whose rows it opens: 32 bytes."""
        self._keys = keys
        self._random = random
        self._look: Callable[[], object] | None = None

    def record(
        self,
        event: Event,
        actor: Actor,
        reason: str,
        *,
        position: int,
        stream: bytes,
        version: int,
        epoch: int,
        recorded_at: int,
        clock: int | None = None,
        request: str | None = None,
        text: bytes | None = None,
        nonce: bytes | None = None,
    ) -> tuple[LogRow, Recorded]:
        """The sealed row at this place, and the event as folds see it.

        `text` is what `text_of` gave for the same event, author and reason, if it is at hand, and
        `nonce` one of `nonces` that nothing was sealed with yet.
        """
        topic, period = event.TOPIC, period_of(recorded_at)
        if text is None or clock is not None or request is not None:
            text = text_of(event, actor, reason, clock, request)
        header = encode_header(
            self.ledger_id, position, stream, version, topic, epoch, period, recorded_at
        )
        cipher = self.cipher(topic, epoch, period, stream)
        aad = associated_data_in(header)
        sealed = seal_padded(cipher, text, aad, nonce or self._random(NONCE_BYTES))
        leaf = leaf_hash(header, sealed)
        row = LogRow(position, stream, version, topic, epoch, period, recorded_at, sealed, leaf)
        recorded = Recorded(
            position,
            stream,
            version,
            topic,
            epoch,
            period,
            recorded_at,
            event,
            actor,
            reason,
            request,
            clock,
        )
        return row, recorded

    def record_together(
        self,
        events: Sequence[Following],
        actor: Actor,
        reason: str,
        *,
        position: int,
        epoch: int,
        recorded_at: int,
        clock: int | None = None,
    ) -> tuple[list[LogRow], list[Recorded]]:
        """The same as `record` for events of one topic outside `access`, in fewer steps for each.

        The first comes to this position and time, each further one to the next of both.
        """
        topic = events[0].event.TOPIC
        assert compartment_of(topic) is Compartment.STATE
        texts = packed_together((one.event for one in events), actor, reason, clock)
        encrypt, nonces = self._keys.state(epoch).encrypt, self.nonces(len(events))
        (name, packing), ledger = changing_part(topic), prefix_of(self.ledger_id)
        leaf_begins, named = LEAF_PREFIX + ledger, len(name)
        rows: list[LogRow] = []
        recorded: list[Recorded] = []
        # Line by line what `record` has functions for: see `leaves_of`, which reads as this writes.
        for at, (stream, version, event) in enumerate(events):
            place, time = position + at, recorded_at + at
            period = period_of(time)
            header = packing.pack(place, stream, version, named, name, epoch, period, time)
            text, nonce = padded(texts[at], Compartment.STATE), nonces[at]
            sealed = nonce + encrypt(nonce, text, ledger + header[NUMBER_BYTES:-NUMBER_BYTES])
            leaf = sha256(leaf_begins + header + sha256(sealed).digest()).digest()
            rows.append(LogRow(place, stream, version, topic, epoch, period, time, sealed, leaf))
            lies = place, stream, version, topic, epoch, period, time
            recorded.append(Recorded(*lies, event, actor, reason, None, clock))
        return rows, recorded

    def nonces(self, count: int) -> list[bytes]:
        """So many random ones at once, each to be used once, and by the process that asks."""
        drawn = self._random(NONCE_BYTES * count)
        return [drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES)]

    def placed(
        self,
        sealed: bytes,
        *,
        position: int,
        stream: bytes,
        version: int,
        topic: str,
        epoch: int,
        recorded_at: int,
    ) -> LogRow:
        """The row that sealed bytes become at this place, with its leaf."""
        period = period_of(recorded_at)
        header = encode_header(
            self.ledger_id, position, stream, version, topic, epoch, period, recorded_at
        )
        leaf = leaf_hash(header, sealed)
        return LogRow(position, stream, version, topic, epoch, period, recorded_at, sealed, leaf)

    def open(self, row: LogRow) -> Recorded:
        """The event in a row; `altered-row` or `sealed-unreadable` if it is not the recorded one.

        Of the start of an epoch it is learned in which month that was, unless that is known.
        """
        self.require_leaf(row)
        return self.opened(row, self.text(row))

    def require_leaf(self, row: LogRow) -> None:
        """`altered-row` unless the row is the recorded one, by its leaf."""
        try:
            same = leaf_hash(row.header(self.ledger_id), row.sealed) == row.leaf
        except NO_ROW:
            same = False
        if not same:
            raise Tampered(
                "altered-row", "A row is not the one that was recorded.", position=row.position
            )

    def opening(self, kept_bytes_max: int = KEPT_BYTES_MAX) -> Opening:
        """What opens the rows of one walk through the log, quicker than one by one."""
        return Opening(self, kept_bytes_max)

    def open_checked(self, row: LogRow) -> Recorded:
        """The same for a row whose leaf was checked just before."""
        return self.opened(row, self.text(row))

    def event_in(self, row: LogRow) -> Event:
        """The event alone, likewise."""
        try:
            return event_in(row.topic, self.text(row))
        except Tampered as error:
            raise _at(error, row.position) from error

    def text(self, row: LogRow) -> bytes:
        """What is sealed in a row, packed as it was recorded; errors as `open`.

        For whoever hands it on together with `access_key`, so that others can open it too, or knows
        already what some of these texts mean. The row's leaf is not looked at.
        """
        position, stream, version, topic, epoch, period, _, sealed, _ = row
        cipher = self.cipher(topic, epoch, period, stream)
        aad = encode_associated_data(self.ledger_id, stream, version, topic, epoch, period)
        try:
            return open_sealed(cipher, sealed, aad)
        except Tampered as error:
            raise Tampered(error.code, error.message, position=position) from error

    def access_key(self, row: LogRow) -> bytes:
        """The key that opens the `access` records of this row's stream in its month, and no more.

        It is derived one way, so it tells nothing of the month's key. `key-destroyed` where that is
        gone, `key-missing` where it is not held.
        """
        assert compartment_of(row.topic) is Compartment.ACCESS
        return self._keys.access_key(row.epoch, row.period, row.stream)

    def opened(self, row: LogRow, text: bytes) -> Recorded:
        """The event that `text` gave of a row; `malformed-event` or `unknown-topic` if none."""
        try:
            told = unpacked(row.topic, text)
        except Tampered as error:
            raise _at(error, row.position) from error
        if isinstance(told.event, EpochStarted):
            self._keys.meet(told.event.epoch, row.period)
        return recorded_of(row[:7] + told)

    def handed_over(self) -> bytes:
        """The keys that open rows, bare, for another process of ours: a secret."""
        return self._keys.handed_over()

    def hold(self, epochs: Iterable[EpochKeys]) -> None:
        """Seal and open with these keys from now on, and with no others."""
        self._keys.hold(epochs)

    def holds(self, epoch: int) -> bool:
        """Whether the keys of this epoch are at hand."""
        return epoch in self._keys.epochs

    def fits(self, commitments: EpochCommitments) -> bool:
        """Whether the keys at hand of an epoch, if any are, are those committed to."""
        return self._keys.fit(commitments)

    def knows(self, epoch: int) -> bool:
        """Whether what is sealed in this epoch opens, unless a key of it was destroyed."""
        return self._keys.knows(epoch)

    def learn_by(self, look: Callable[[], object]) -> None:
        """What to do where an epoch is met that is not known: follow the log, and look for keys."""
        self._look = look

    def learn(self, epoch: int) -> bool:
        """Whether the epoch is known, after a look at the log if it was not.

        Not while this thread has a snapshot of the store open: the look takes its own. It ends at
        the first row that cannot be opened, and may raise what following the log finds.
        """
        if self._look is not None and not self.knows(epoch):
            with contextlib.suppress(KeyUnavailable):
                self._look()
        return self.knows(epoch)

    def renew_after_fork(self) -> None:
        """The child has a lock of its own."""
        self._keys.renew_after_fork()

    def start(self, first_periods: Mapping[int, int]) -> None:
        """Learn in which month each epoch was started, which access keys are counted from."""
        self._keys.start(first_periods)

    def associated_data(self, row: Placed) -> bytes:
        """What binds the sealed parts of this row to their place."""
        return encode_associated_data(
            self.ledger_id, row.stream, row.version, row.topic, row.epoch, row.period
        )

    @property
    def keys_held(self) -> object:
        """The same object for as long as the same keys are held."""
        return self._keys.held

    def cipher(self, topic: str, epoch: int, period: int, stream: bytes) -> AESGCM:
        """What seals the rows of a stream; `key-missing` or `key-destroyed` without its key."""
        if topic.startswith(_ACCESS_PREFIXES):
            return self._keys.access(epoch, period, stream)
        return self._keys.state(epoch)


def _at(error: Tampered, position: int) -> Tampered:
    return Tampered(error.code, error.message, hint=error.hint, position=position)
