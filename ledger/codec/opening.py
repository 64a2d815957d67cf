"""Rows opened one after the other, as whoever walks through a log opens them.

    form      of a stream's rows in one month and epoch: the cipher, and how associated data
              begin and end; what changes from row to row is the version between the two
    content   what an access record says, by the padded text that it was sealed from

What many rows have in common is worked out once. Nothing in an access record tells one attempt from
the next of the same person at the same credentials, so most of a long log was sealed from few
texts; an event never changes (`ledger.aggregates.event`), so rows of one text may share it. So many
of these are kept as `KEPT_BYTES_MAX` of texts give, and no longer than the walk lasts.

Whatever does not open here is opened by the mapper, row by row, which tells what is wrong. Once the
mapper holds other keys, no form of before is used any more: none outlives its key.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag

from ledger.aggregates.recorded import Recorded, recorded_of
from ledger.codec.content import Content
from ledger.codec.header import associated_data_around
from ledger.errors import Tampered
from ledger.log.rows import NO_ROW, LogRow, leaves_of
from ledger.sealing.compartments import Compartment
from ledger.sealing.envelope import NONCE_BYTES, padded, unpadded

if TYPE_CHECKING:
    from ledger.codec.mapper import EventMapper

_KEPT_PREFIX = "access."
KEPT_BYTES_MAX = 16 * 1024**2
_KEPT_TEXT_BYTES_MAX = 2048
_FORMS_MAX = 4096
_packed_version = struct.Struct(">Q").pack


class _Form(NamedTuple):
    """What the rows of one stream, topic, epoch and period have in common."""

    decrypt: Callable[[bytes, bytes, bytes], bytes]
    before: bytes
    after: bytes
    contents: dict[bytes, Content] | None
    """What rows of this topic say, by their padded text; None where hardly two say the same."""


class Opening:
    """Opens the rows of one walk; for one thread."""

    def __init__(self, mapper: EventMapper, kept_bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._mapper = mapper
        self._kept_bytes_max = kept_bytes_max
        self._keys: object = None
        self._forms: dict[tuple[bytes, str, int, int], _Form] = {}
        self._contents: dict[str, dict[bytes, Content]] = {}
        self._kept_bytes = 0

    def require_leaves(self, rows: Sequence[LogRow]) -> None:
        """`altered-row` unless each row is the one that was recorded, by its leaf."""
        try:
            if leaves_of(self._mapper.ledger_id, rows) == [row.leaf for row in rows]:
                return
        except NO_ROW:
            pass
        for row in rows:
            self._mapper.require_leaf(row)

    def recorded(self, row: LogRow) -> Recorded:
        """The event in a row whose leaf was checked; errors as `EventMapper.open_checked`."""
        return self.told(row, self.text(row))

    def text(self, row: LogRow) -> bytes:
        """What is sealed in a row, with length and padding; errors as `EventMapper.text`.

        Two rows of one topic whose texts are the same say the same.
        """
        _, stream, version, topic, epoch, period, _, sealed, _ = row
        form = self._forms.get((stream, topic, epoch, period))
        if form is None or self._mapper.keys_held is not self._keys:
            form = self._form(row)
        try:
            bound = form.before + _packed_version(version) + form.after
            return form.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
        except (InvalidTag, *NO_ROW):
            # The mapper tells what is wrong; both compartments that it opens are padded alike.
            return padded(self._mapper.text(row), Compartment.STATE)

    def told(self, row: LogRow, text: bytes) -> Recorded:
        """The event that `text` gave of a row; errors as `EventMapper.opened`."""
        contents = self._form(row).contents
        content = None if contents is None else contents.get(text)
        if content is not None:
            return recorded_of(row[:7] + content)
        try:
            packed = unpadded(text)
        except Tampered:
            packed = self._mapper.text(row)
        recorded = self._mapper.opened(row, packed)
        if contents is not None and len(text) <= _KEPT_TEXT_BYTES_MAX:
            self._keep(contents, text, recorded)
        return recorded

    def _form(self, row: LogRow) -> _Form:
        keys = self._mapper.keys_held
        if keys is not self._keys:
            self._keys = keys
            self._forms.clear()
        _, stream, _, topic, epoch, period, _, _, _ = row
        place = stream, topic, epoch, period
        form = self._forms.get(place)
        if form is None:
            if len(self._forms) >= _FORMS_MAX:
                self._forms.clear()
            form = self._forms[place] = self._made(stream, topic, epoch, period)
        return form

    def _made(self, stream: bytes, topic: str, epoch: int, period: int) -> _Form:
        mapper = self._mapper
        return _Form(
            mapper.cipher(topic, epoch, period, stream).decrypt,
            *associated_data_around(mapper.ledger_id, stream, topic, epoch, period),
            self._contents.setdefault(topic, {}) if topic.startswith(_KEPT_PREFIX) else None,
        )

    def _keep(self, contents: dict[bytes, Content], text: bytes, recorded: Recorded) -> None:
        self._kept_bytes += len(text)
        if self._kept_bytes > self._kept_bytes_max:
            for one in self._contents.values():
                one.clear()
            self._kept_bytes = len(text)
        contents[text] = Content(*recorded[7:])
