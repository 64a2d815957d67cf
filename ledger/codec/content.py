"""What is sealed of one event, before it is padded and encrypted.

A msgpack map::

    "e"  the event's fields, with "v", their schema number
    "b"  who acted: [claim, slot, label, account, opens]
    "r"  the reason given, as text
    "c"  the clock's own reading in microseconds, only where it was behind the log
    "q"  a client's retry key, only where one was given
    "p"  the account's number that the system named as a socket's peer, only where it did
    "t"  what is recorded of the token that spoke for the claim, only where one did

Whoever holds keys can seal anything, an auditor for one in a stream of his own, so what comes out
of a row that opened is looked at as strictly as anything from outside. A key that comes twice is
refused, because the next reader of the same bytes might believe the other one. That is seen from
what was read being packed again: nearly all rows come out as they were, and only those that do not
are looked at key by key.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, TypeVar

import msgpack
import msgspec

from ledger.aggregates.actor import Actor
from ledger.aggregates.event import Event, Payload, class_of, from_payload
from ledger.aggregates.presented import PresentedToken
from ledger.errors import Tampered

E = TypeVar("E")


class _Stored(
    msgspec.Struct,
    Generic[E],
    frozen=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """The map, with an event of one class or the payload of one."""

    e: E
    b: tuple[str, int, str, str, str]
    r: str
    c: int | None = None
    q: str | None = None
    t: PresentedToken | None = None
    p: int | None = None


class Content(NamedTuple):
    """What a row tells that opened."""

    event: Event
    actor: Actor
    reason: str
    request: str | None
    """A client's retry key."""
    clock: int | None = None
    """The clock's own reading, where it was behind the log."""


_pack = msgspec.msgpack.Encoder().encode
_payload_in = msgspec.msgpack.Decoder(_Stored[Payload])
_actor = functools.lru_cache(maxsize=256)(Actor)
"""Few people write many events."""


def packed(
    event: Event, actor: Actor, reason: str, clock: int | None = None, request: str | None = None
) -> bytes:
    """The map's bytes."""
    author = (actor.claim, actor.slot, actor.label, actor.account, actor.opens)
    return _pack(_Stored(event, author, reason, clock, request, actor.token, actor.peer))


def packed_together(
    events: Iterable[Event], actor: Actor, reason: str, clock: int | None = None
) -> list[bytes]:
    """The bytes of many events that have one author, one reason and one reading of the clock."""
    author = (actor.claim, actor.slot, actor.label, actor.account, actor.opens)
    token, peer = actor.token, actor.peer
    return [_pack(_Stored(one, author, reason, clock, None, token, peer)) for one in events]


def unpacked(topic: str, text: bytes) -> Content:
    """What the bytes tell; `unknown-topic`, or `malformed-event` where they are no such map."""
    stored = _stored(topic, text)
    author = _actor(*stored.b, stored.t, stored.p)
    return Content(stored.e, author, stored.r, stored.q, stored.c)


def event_in(topic: str, text: bytes) -> Event:
    """The event alone; errors as above."""
    return _stored(topic, text).e


def _stored(topic: str, text: bytes) -> _Stored[Event]:
    decoder = _decoder(topic)
    try:
        try:
            stored = decoder.decode(text)
        except msgspec.ValidationError:  # of an older schema, or of none
            older = _payload_in.decode(text)
            _require_keys_once(text)
            event = from_payload(topic, older.e)
            return _Stored(event, older.b, older.r, older.c, older.q, older.t, older.p)
        if _pack(stored) != text:
            _require_keys_once(text)
    except (ValueError, RecursionError) as error:
        raise Tampered("malformed-event", "An event is malformed inside.") from error
    return stored


def _require_keys_once(text: bytes) -> None:
    """ValueError where a key comes twice in a map, at whatever depth."""
    msgpack.unpackb(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


@functools.cache
def _decoder(topic: str) -> msgspec.msgpack.Decoder[_Stored[Event]]:
    stored: Any = _Stored  # its event's class is known when it is asked for, and not before
    return msgspec.msgpack.Decoder(stored[class_of(topic)])
