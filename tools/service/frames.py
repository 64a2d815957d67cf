"""What the ledger's process and its front processes say to each other over a socket pair.

    frame    = length (4 bytes, big-endian) · message (msgpack)
    to ledger: Asked, Rest, Said, Ready, Here        to a front: Answer, Wanted, Stop, Look

A small body comes with its request. Of a large one the head comes first, and no more of it is read
than had to be until the ledger's process knows whose it is, and wants it:

    Asked, whose body follows ─▶ Answer, where nothing more of it is wanted
                              ─▶ Wanted ─▶ Rest ─▶ Answer

A front process is where strangers' bytes are parsed, so the ledger's process takes from it nothing
but these messages, decoded into their types and bounded in length, each of their words as well, for
some are kept: an address as long as its share is not whole, a line of the log for ever. So is how
many words a head has, for each of many empty ones takes room. Anything else ends the front.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from ledger.discreet import Discreet
from tools.service.connections import CONNECTIONS_MAX
from tools.service.forms import BODY_BYTES_MAX
from tools.service.protocol import HEAD_BYTES_MAX
from tools.service.reading import LOOKED_AT_MAX

ASKED_BYTES_MAX = BODY_BYTES_MAX + 2 * HEAD_BYTES_MAX
ASKED_MAX = 2 * CONNECTIONS_MAX
"""Requests of one front that are worked on at once; one that does what it should keeps to half."""
SAID_LENGTH_MAX = 200
GONE = "gone"
"""The fault of a body for whose answer nobody waits any more."""
TURNED_AWAY_MAX = 1_000_000
"""So many of them at most are told of at once; the rest the next time."""
_SOURCE_LENGTH_MAX = 64
_FAULT_LENGTH_MAX = 64
_LENGTH_BYTES = 4
ANY_LENGTH = (1 << 8 * _LENGTH_BYTES) - 1
HeadText = Annotated[str, Meta(max_length=HEAD_BYTES_MAX)]
HeadBytes = Annotated[bytes, Meta(max_length=HEAD_BYTES_MAX)]
Fault = Annotated[str, Meta(max_length=_FAULT_LENGTH_MAX)]
SaidText = Annotated[str, Meta(max_length=SAID_LENGTH_MAX)]


class Asked(Discreet, msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A request that came in whole, whose body follows, or came to no good end."""

    SHOWN: ClassVar = ("number",)

    number: int
    """Of this connection, for the answer."""
    method: HeadText
    path: HeadText
    source: Annotated[str, Meta(max_length=_SOURCE_LENGTH_MAX)]
    """The address it came from, as `Peer` has it."""
    headers: Annotated[list[tuple[HeadBytes, HeadBytes]], Meta(max_length=LOOKED_AT_MAX)]
    """Those that the door looks at, as `handed_on` has them; with the words before no longer than
    a head, which is for `head_bytes` to say."""
    body: bytes
    fault: Fault
    """The code of what is wrong with the body; nothing if it came in whole."""
    follows: bool = False
    """Whether there is more of a body than comes at once: all of it is in `Rest`, once wanted."""

    @property
    def head_bytes(self) -> int:
        """How long the words of its head are together."""
        said = sum(len(name) + len(value) for name, value in self.headers)
        return said + len(self.method) + len(self.path)


class Rest(Discreet, msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The body of a request that came without; its parts are those of `Asked`."""

    SHOWN: ClassVar = ("number",)

    number: int
    body: bytes
    fault: Fault


class Said(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Something that the front's HTTP server has to say, for the service's log."""

    message: SaidText
    exception: SaidText
    """The type of what was raised; nothing where nothing was."""


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The front answers from now on."""

    is_confined: bool
    """Whether the kernel keeps it from files; see `confinement`."""


class Answer(Discreet, msgspec.Struct, frozen=True, array_like=True, tag=4):
    """What leaves; the parts are those of `Answered`."""

    SHOWN: ClassVar = ("number", "status")

    number: int
    status: int
    media_type: bytes
    content: bytes
    headers: tuple[tuple[bytes, bytes], ...]


class Wanted(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The body of this request is to be read."""

    number: int


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Take no more connections, and end once what is in hand is answered."""


class Look(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Say that you are there."""


class Here(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The front is there, and takes what comes."""

    turned_away: Annotated[int, Meta(ge=0, le=TURNED_AWAY_MAX)] = 0
    """Requests that it answered by itself since it said so last."""


ToLedger = Asked | Rest | Said | Ready | Here
ToFront = Answer | Wanted | Stop | Look

_encode = msgspec.msgpack.Encoder().encode


class BrokenFrame(ValueError):
    """The other side says what it cannot mean."""


class Frames:
    """Cuts what arrives into messages."""

    def __init__(self, messages: type | object, bytes_max: int = ANY_LENGTH) -> None:
        """`messages` is the union that may come, and how long one may be."""
        self._decode = msgspec.msgpack.Decoder(messages).decode
        self._bytes_max = bytes_max
        self._rest = bytearray()

    def of(self, data: bytes) -> Iterator[object]:
        """Each message that is complete with what came now; `BrokenFrame`."""
        rest = self._rest
        rest += data
        begin = 0
        while len(rest) - begin >= _LENGTH_BYTES:
            body = begin + _LENGTH_BYTES
            length = int.from_bytes(rest[begin:body], "big")
            if length > self._bytes_max:
                raise BrokenFrame(f"{length} bytes in one message")
            if len(rest) - body < length:
                break
            try:
                message = self._decode(rest[body : body + length])
            except (msgspec.DecodeError, msgspec.ValidationError):
                raise BrokenFrame("no message of this side") from None
            begin = body + length
            yield message
        del rest[:begin]


def frame(message: ToLedger | ToFront) -> bytes:
    """The message with its length before it."""
    content = _encode(message)
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content
