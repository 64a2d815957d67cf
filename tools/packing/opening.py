"""Access records that are opened for a pack, each with what somebody else needs to open it again.

    {"key": "...", "position": 5, "record": {...}, "sealed": "..."}
    {"position": 6, "unopened": "key-destroyed"}

`sealed` hashes to what the log's row holds; `key` opens it; `record` is what then comes out. The
key is that of one stream in one month, derived one way from the month's: it opens what one process
recorded of retrievals, which holds no value, and nothing else. Months' keys and `state` keys are
not handed out, because they would open records that are none of this pack's.

With the records come the commitments to the keys of all epochs, as the log tells them to whoever
opens it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgpack

from ledger.aggregates.keys import EpochReplaced, EpochStarted
from ledger.codec.content import unpacked
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable, Tampered
from ledger.log.rows import LogRow
from ledger.log.store import LogSource
from tools.packing.contents import ACCESS_TOPICS, Progress, document, pages
from tools.packing.folder import PackFolder

ACCESS, COMMITMENTS = "access.jsonl", "commitments.json"
_EPOCHS = {EpochStarted.TOPIC, EpochReplaced.TOPIC}
Told = Callable[[LogRow, dict[str, Any]], None]
"""Told of each record, with its line: as it was opened, or why it stays closed."""


def write_opened(
    source: LogSource,
    folder: PackFolder,
    mapper: EventMapper,
    size: int,
    told: Told,
    progress: Progress,
) -> None:
    """Open all access records up to a size, and write them with their keys.

    A record whose key is destroyed or not held stays closed, and is told of as such.
    """
    listed: list[dict[str, Any]] = []
    with folder.file(ACCESS) as file:
        for page in pages(source, size):
            for row in page:
                if row.topic in _EPOCHS:
                    listed += _commitments(mapper, row)
                elif row.topic.startswith(ACCESS_TOPICS):
                    line = _record(mapper, row)
                    file.write((json.dumps(line, sort_keys=True, default=_bytes) + "\n").encode())
                    told(row, line)
            progress(page[-1].position, size)
    folder.write(COMMITMENTS, document(listed))


def _record(mapper: EventMapper, row: LogRow) -> dict[str, Any]:
    try:
        key, text = mapper.access_key(row), mapper.text(row)
    except KeyUnavailable as error:
        return {"position": row.position, "unopened": error.code}
    return {
        "key": key.hex(),
        "position": row.position,
        "record": _unpacked(row, text),
        "sealed": _base64(row.sealed),
    }


def _unpacked(row: LogRow, text: bytes) -> dict[str, Any]:
    """The map that is sealed in a row; whoever holds keys could have sealed something else."""
    try:
        unpacked(row.topic, text)  # an event of its topic, so each part has the type it should
    except Tampered as error:
        raise Tampered(error.code, error.message, hint=error.hint, position=row.position) from error
    record: dict[str, Any] = msgpack.unpackb(text)
    return record


def _bytes(value: object) -> dict[str, str]:
    assert isinstance(value, bytes)
    return {"base64": _base64(value)}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _commitments(mapper: EventMapper, row: LogRow) -> list[dict[str, Any]]:
    """What a row commits to; nothing where the keyring does not open it."""
    try:
        event = mapper.open(row).event
    except KeyUnavailable:
        return []
    assert isinstance(event, EpochStarted | EpochReplaced)
    found = [event.next] if isinstance(event, EpochReplaced) else [event.started, event.next]
    return [
        {
            "access": [one.hex() for one in access],
            "epoch": epoch,
            "position": row.position,
            "secret": secret.hex(),
            "state": state.hex(),
        }
        for epoch, state, secret, access in found
    ]
