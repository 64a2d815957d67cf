"""The process that opens a KeePass database, with limits of its own; see `keepass`.

Standard input is one msgpack map `{"content", "password", "key_file"}`. Standard output is one map
for each entry, `{"path", "values", "protected", "in_bin", "wrong"}`; `wrong` is a sentence where
the entry cannot be used. Nothing is printed otherwise; how it failed is the exit code. Its
arguments are the limits: bytes of address space, seconds of CPU, bytes of a value that is handed
over whole, bytes of all that is handed over. References and attachments let a small database tell
the same bytes any number of times, so what is longer than a value may be is cut behind that, and is
too long still.

It imports nothing of ours, and the libraries only once the limits stand.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from lxml.etree import _Element

DAMAGED, LOCKED, NOT_KEEPASS, MISSING, TOO_COSTLY = 11, 12, 13, 14, 15
_REFERENCE = "{REF:"


class Undecodable(Exception):
    """A value that the database calls protected and that does not open."""


class _Strict(logging.Handler):
    """`pykeepass` logs a value that does not open and hands on what it is encoded as; we stop."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            raise Undecodable


def main() -> None:
    """Answer for one database and end."""
    memory, seconds, value_max, answer_max = (int(text) for text in sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = msgpack.unpackb(sys.stdin.buffer.read())
    # Neither an error's text nor a library's warning is for anybody's eyes: either may hold values.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    code = _answer(asked, value_max, answer_max)
    sys.stdout.flush()
    os._exit(code)


def _answer(asked: dict[str, Any], value_max: int, answer_max: int) -> int:
    try:
        from argon2.exceptions import HashingError
        from pykeepass import PyKeePass
        from pykeepass.exceptions import CredentialsError, HeaderChecksumError
    except ImportError:
        return MISSING
    logging.getLogger("pykeepass").addHandler(_Strict())
    key_file = asked["key_file"]
    try:
        database = PyKeePass(
            BytesIO(asked["content"]),
            password=asked["password"],
            keyfile=None if key_file is None else BytesIO(key_file),
        )
        for entry in _entries(database):
            values = entry["values"]
            entry["values"] = {key: value[: value_max + 1] for key, value in values.items()}
            answer_max -= sys.stdout.buffer.write(msgpack.packb(entry))
            if answer_max < 0:
                return TOO_COSTLY
    except CredentialsError:
        return LOCKED
    except HeaderChecksumError as error:
        return NOT_KEEPASS if "Not a KeePass" in str(error) else DAMAGED
    except (MemoryError, HashingError, OverflowError):
        return TOO_COSTLY
    except Exception:  # noqa: BLE001 # whatever a parser makes of a hostile file is damage
        return DAMAGED
    return 0


def _entries(database: Any) -> Iterator[dict[str, Any]]:
    """Every entry of the tree in its order, those of histories aside."""
    tree = database.tree
    if tree.docinfo.internalDTD is not None:
        raise Undecodable
    bin_id = _text(tree.getroot(), "Meta/RecycleBinUUID")
    root = tree.getroot().find("Root/Group")
    binaries = database.binaries
    waiting: list[tuple[_Element, tuple[str, ...], bool]] = [(root, (), False)]
    while waiting:
        group, path, in_bin = waiting.pop()
        for entry in group.findall("Entry"):
            yield _entry(database, binaries, entry, path, in_bin=in_bin)
        inner = [
            (one, (*path, _text(one, "Name")), in_bin or _text(one, "UUID") == bin_id)
            for one in group.findall("Group")
        ]
        waiting.extend(reversed(inner))


def _entry(
    database: Any, binaries: list[bytes], entry: _Element, path: tuple[str, ...], *, in_bin: bool
) -> dict[str, Any]:
    values: dict[str, str | bytes] = {}
    protected = []
    wrong = ""
    for one in entry.findall("String"):
        key, value = _text(one, "Key"), _text(one, "Value")
        wrong = wrong or ("A key stands in the entry twice." if key in values else "")
        if _REFERENCE in value:
            followed = _followed(database, value)
            wrong = wrong or ("" if followed else "A reference leads to no other entry's value.")
            value = followed
        values[key] = value
        held = one.find("Value")
        if key == "Password" or (held is not None and held.get("Protected") == "True"):
            protected.append(key)
    for one in entry.findall("Binary"):
        key, held = _text(one, "Key"), one.find("Value")
        wrong = wrong or ("A key stands in the entry twice." if key in values else "")
        number = int(held.get("Ref") or 0) if held is not None else len(binaries)
        if not 0 <= number < len(binaries):
            wrong = wrong or "An attachment of the entry is not in the database."
            continue
        values[key] = binaries[number]
        protected.append(key)
    return {
        "path": (*path, str(values.get("Title", ""))),
        "values": values,
        "protected": protected,
        "in_bin": in_bin,
        "wrong": wrong,
    }


def _followed(database: Any, value: str) -> str:
    """The value with its references replaced; empty where one leads nowhere, or in a circle."""
    try:
        found = database.deref(value)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 # an entry without that field, a malformed id, a circle
        return ""
    return "" if found is None or _REFERENCE in str(found) else str(found)


def _text(element: _Element, path: str) -> str:
    found = element.find(path)
    return "" if found is None or found.text is None else found.text


if __name__ == "__main__":
    main()
