"""How many texts a body in JSON may have: as many as its type has room for, and never very many.

A decoder of JSON makes the whole of a list or an object before it looks whether that is too long,
and whoever looks for keys that come twice makes all pairs of an object. All callers share a loop,
so a body with more texts than its type takes is refused before, for a count of its quotation marks.
Texts are counted because each key is one, and each item is one or has one. In msgpack lengths come
first, so there is nothing to count.

    of a struct            its keys, and what they have
    of a list or a dict    as often what an item or a key has as it may have them
    of a text              one; of whatever else is single, none

A type that has no such bound, as `Any` has none, is no body's.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import inspect

TEXTS_MAX: Final = 200_000
"""Of 1,000 applications, each with 32 fields and 160 claims."""
TEXTS_FREE: Final = 1000
"""So few cost nothing, so a decoder looks at them and says what is wrong."""
_TEXTS = (inspect.StrType, inspect.BytesType, inspect.LiteralType)
_OTHERS = (inspect.IntType, inspect.BoolType, inspect.NoneType)


def texts_max(kind: type[msgspec.Struct]) -> int:
    """How many texts a body of this type is decoded with; `TypeError` where it has no bound."""
    return min(max(_most(inspect.type_info(kind)), TEXTS_FREE), TEXTS_MAX)


def has_more_texts(content: bytes, most: int) -> bool:
    """Whether this JSON has more texts than these; of what is no JSON, maybe."""
    marks = 2 * most
    if content.count(b'"') <= marks:
        return False
    return content.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"') > marks


def _most(kind: inspect.Type) -> int:
    match kind:
        case inspect.Metadata():
            return _most(kind.type)
        case inspect.UnionType():
            return max(map(_most, kind.types))
        case inspect.StructType():
            return sum(1 + _most(field.type) for field in kind.fields)
        case inspect.DictType(max_length=int(length)):
            return length * (1 + _most(kind.value_type))
        case inspect.ListType() | inspect.VarTupleType() if kind.max_length is not None:
            if _least(kind.item_type) > 0:
                return kind.max_length * _most(kind.item_type)
        case _ if isinstance(kind, _TEXTS):
            return 1
        case _ if isinstance(kind, _OTHERS):
            return 0
    raise TypeError(f"its texts cannot be counted: {kind}")


def _least(kind: inspect.Type) -> int:
    """So many texts an item has at least, as far as that can be told."""
    match kind:
        case inspect.Metadata():
            return _least(kind.type)
        case inspect.UnionType():
            return min(map(_least, kind.types))
        case inspect.StructType():
            return sum(field.required for field in kind.fields)
    return int(isinstance(kind, _TEXTS))
