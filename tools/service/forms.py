"""The two forms of a body: JSON, and msgpack, where bytes are bytes.

Size and the number of texts are bounded before anything is decoded, depth by the structs that are
decoded into. A key that comes twice is no form at all, because whoever looks at bodies on the
way could read the other one. That is looked for in what was decoded only, so in no more than fits.
What does not fit is told by its place only; a place that is a name or a value of the caller's is
left out.
"""

from __future__ import annotations

import functools
import json
import operator
import re
from collections.abc import Callable, Iterable
from types import GenericAlias, UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin

import msgpack
import msgspec

from ledger.errors import InvalidInput
from tools.service.bodies import APPLICATIONS_MAX, Body, Set
from tools.service.packed_values import SetDecoder
from tools.service.texts import has_more_texts, texts_max

BODY_BYTES_MAX = 4 * 1024 * 1024
"""32 values of 64 KiB in base64, with room for their names."""
_IS_FLOAT = "got `float`"
_PLACE = re.compile(r" - at `(\$[\w.\[\]…]*)`$")


class _Encoder(Protocol):
    def encode(self, obj: Any) -> bytes: ...


class _Decoder(Protocol):
    def decode(self, buf: bytes) -> Any: ...


class Form(msgspec.Struct, frozen=True):
    """One form."""

    media_type: bytes
    has_bytes: bool
    encoder: _Encoder
    decoders: dict[type[Body], _Decoder]
    lenient: dict[type[Body], _Decoder]
    """Of those bodies that have numbers: decoders that take any number in their places."""
    check: Callable[[bytes], object]
    """Reads once more what could be decoded; ValueError or TypeError where a key comes twice.

    It is no more than a body has room for: what does not fit its type was refused before.
    """

    def decode(self, body: type[Body], content: bytes) -> Any:
        """The struct; `malformed-body`, or `invalid-body` where it does not fit."""
        try:
            decoded = self._decoded(body, content)
            self.check(content)
        except msgspec.ValidationError as error:
            found = _PLACE.search(str(error))
            place = "" if found is None else f" at {found[1]}"
            raise InvalidInput(
                "invalid-body",
                f"The body does not fit the operation{place}.",
                hint="`GET /openapi.json` describes what each operation takes.",
            ) from None  # the cause may quote what was sent
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
            raise InvalidInput(
                "malformed-body",
                f"The body is no well-formed {self.media_type.decode()}.",
                hint="Nothing was changed; look at what the client sends.",
            ) from None
        return decoded

    def _decoded(self, body: type[Body], content: bytes) -> Any:
        """The struct; a whole number may be written as 7.0, which JSON Schema calls an integer.

        Where one is, it is read once more into a struct that takes either, so that whatever else
        does not fit ends that as early, however much follows it.
        """
        try:
            return self.decoders[body].decode(content)
        except msgspec.ValidationError as error:
            if _IS_FLOAT not in str(error) or body not in self.lenient:
                raise  # nothing that is whole would mend it
            wide = self.lenient[body].decode(content)
            plain = msgspec.to_builtins(wide, builtin_types=(bytes,))
            return msgspec.convert(_with_whole_numbers(plain), body)


def _with_whole_numbers(value: Any) -> Any:
    """The same with integers in place of floats that are whole; no list has numbers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _with_whole_numbers(one) for key, one in value.items()}
    return value


def _lenient(kind: Any) -> Any:
    """The same type with `int | float` where it has `int`, which is how a number may be written."""
    if kind is int:
        return int | float
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _lenient_struct(kind)
    within = get_args(kind)
    if get_origin(kind) is Annotated:
        inside = _lenient(within[0])  # bounds of numbers are for who takes them for whole ones
        return inside if within[0] is int else Annotated[(inside, *within[1:])]
    if get_origin(kind) in {Union, UnionType}:
        return functools.reduce(operator.or_, map(_lenient, within))
    if get_origin(kind) is dict:
        return GenericAlias(dict, tuple(map(_lenient, within)))
    return kind


def _lenient_struct(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """A struct of these keys; itself where it has no numbers."""
    fields = msgspec.structs.fields(kind)
    wide = {one.name: _lenient(one.type) for one in fields}
    if all(wide[one.name] == one.type for one in fields):
        return kind
    told: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        (one.name, wide[one.name]) if one.required else (one.name, wide[one.name], one.default)
        for one in fields
    ]
    return msgspec.defstruct(kind.__name__, told, frozen=True, forbid_unknown_fields=True, gc=False)


def forms_for(bodies: Iterable[type[Body]]) -> tuple[Form, Form]:
    """JSON and msgpack, with decoders for these bodies."""
    kinds = tuple(dict.fromkeys(bodies))
    lenient = {kind: wide for kind in kinds if (wide := _lenient_struct(kind)) is not kind}
    return (
        Form(
            b"application/json",
            False,
            msgspec.json.Encoder(),
            {kind: _Bounded(kind) for kind in kinds},
            {kind: msgspec.json.Decoder(wide) for kind, wide in lenient.items()},
            _check_json,
        ),
        Form(
            b"application/msgpack",
            True,
            msgspec.msgpack.Encoder(),
            {kind: _msgpack_decoder(kind) for kind in kinds},
            {kind: msgspec.msgpack.Decoder(wide) for kind, wide in lenient.items()},
            functools.partial(
                msgpack.unpackb,
                object_pairs_hook=_unrepeated,
                strict_map_key=False,
                max_map_len=APPLICATIONS_MAX,  # no map of a body has more
            ),
        ),
    )


class _Bounded:
    """A decoder of JSON that decodes nothing which has more texts than this body."""

    def __init__(self, kind: type[Body]) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._most = texts_max(kind)

    def decode(self, buf: bytes) -> Any:
        """The body; whatever msgspec's raises."""
        if has_more_texts(buf, self._most):
            raise msgspec.ValidationError("more texts than the body has")
        return self._decoder.decode(buf)


def _msgpack_decoder(kind: type[Body]) -> _Decoder:
    return SetDecoder() if kind is Set else msgspec.msgpack.Decoder(kind)


def _check_json(content: bytes) -> None:
    # A key has a colon behind it: where there is but one, no key can come twice.
    if content.count(b":") > 1:
        _strict_json.decode(content.decode())


def _unrepeated(pairs: list[tuple[Any, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key comes twice")


_strict_json = json.JSONDecoder(object_pairs_hook=_unrepeated)
"""Made once: making it takes longer than reading a body."""
