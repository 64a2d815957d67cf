"""Secrets of HashiCorp Vault or OpenBao: answers of `kv get -format=json`, of engine 1 and 2.

A file holds one such answer or several, one after the other. An answer does not say which path it
is of: a `"path"` beside `"data"` does, or else the file's own name without `.json`, below the
folder that is imported. `{"data": {...}}` is engine 1, and `{"data": {"data": {...}, "metadata":
{...}}}` engine 2; a version that was deleted there is left out.

Whatever stands in a folder is read or rejected: what `kv get` left empty when it failed, a file of
another name, a link to a folder, a pipe, and what may not be read. A file of another name is not
guessed at, since it may be a copy that an editor left. Of one file alone that holds nothing to
import, the source as a whole is refused.

A number is taken as it is written. A list, an object or a truth value is no field's value.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from ledger.errors import InvalidInput, LedgerError
from ledger.values import FieldValue
from tools.people.documents import (
    STANDARD_INPUT,
    StandardInput,
    decode_text,
    parse_json_sequence,
    read_bytes,
    shown,
    unreadable,
    within,
)
from tools.sources.entry import ENTRIES_MAX, SOURCE_BYTES_MAX, Entry, Gone, too_many
from tools.sources.importing import Rejected

SUFFIX = ".json"
TOO_LARGE = "too-large"
_PURPOSE = "secrets of Vault"


class VaultDump:
    """A file or folder of answers."""

    name_keys: frozenset[str] = frozenset()
    keys_by_type: Mapping[str, str] = MappingProxyType({})

    def __init__(self, place: str, standard_input: StandardInput) -> None:
        self._place = place
        self._standard_input = standard_input

    def entries(self) -> Iterator[Entry | Rejected]:
        """Every secret, and as `Rejected` what can be read of no file.

        `too-large` for more than is read at once, and for a file alone, of which nothing can be
        read, what is wrong with it: `invalid-json`, `not-text`, `nothing-to-import`.
        """
        number = size = 0
        for file in self._files():
            try:
                text, length = self._text(file)
                size += length
                if size > SOURCE_BYTES_MAX:
                    raise _too_large(self._place)
                for document in parse_json_sequence(text, within(_PURPOSE, file.place)):
                    number += 1
                    yield _guarded(number, document, file.path)
            except LedgerError as error:
                if error.code == TOO_LARGE or (file.is_all and number == 0):
                    raise
                number += 1
                yield Rejected(number, error.code, error.message, file.name)

    def _text(self, file: _File) -> tuple[str, int]:
        """What stands in the file, and in how many bytes."""
        if file.fault is not None:
            raise file.fault
        content = read_bytes(file.place, _PURPOSE, SOURCE_BYTES_MAX, self._standard_input)
        text = decode_text(content, within(_PURPOSE, file.place))
        if not text.strip():
            raise _nothing(f"{shown(file.place)} is empty: it holds no answer of `kv get`.")
        return text, len(content)

    def _files(self) -> Iterator[_File]:
        """Each file with the path that its name tells."""
        folder = Path(self._place)
        if self._place == STANDARD_INPUT:
            yield _File(self._place, is_all=True)
        elif folder.is_dir():
            yield from _below(folder)
        else:
            name = folder.name
            yield _File(self._place, name, _without_suffix(name) or name, is_all=True)


class _File(msgspec.Struct, frozen=True):
    """One file of a dump, or what stands in its place."""

    place: str
    name: str | None = None
    """Where it stands in the folder; None on standard input."""
    path: str | None = None
    """Of the secret, as the name tells it."""
    fault: LedgerError | None = None
    """Why it is not read."""
    is_all: bool = False
    """Whether it is the whole source."""


def _below(folder: Path) -> list[_File]:
    """What a folder and its subfolders hold, in a settled order; links to folders are not gone."""
    faults: list[OSError] = []
    found: list[_File] = []
    for base, folders, files in os.walk(folder, onerror=faults.append):
        here = Path(base)
        links = [one for one in folders if _is_link(here / one)]
        found.extend(_file(folder, here / one) for one in (*files, *links))
        if len(found) > ENTRIES_MAX:
            raise too_many()
    for fault in faults:
        place = Path(os.fsdecode(fault.filename))
        error = unreadable(_PURPOSE, _printable(str(place)), fault)
        if place == folder:
            raise error from fault
        found.append(_File(str(place), _name(folder, place), fault=error))
    if not found:
        raise _nothing(f"The folder {folder} is empty.")
    return sorted(found, key=lambda one: one.place)


def _is_link(folder: Path) -> bool:
    try:
        return folder.is_symlink()
    except OSError:
        return False  # why it cannot be read is told as soon as it is gone into


def _file(folder: Path, place: Path) -> _File:
    name = _name(folder, place)
    path = _without_suffix(name)
    return _File(str(place), name, path, _fault(place, path))


def _without_suffix(name: str) -> str | None:
    """The path that a file's name tells; None where it does not end as it should, in any case."""
    return name[: -len(SUFFIX)] if name.lower().endswith(SUFFIX) else None


def _fault(place: Path, path: str | None) -> LedgerError | None:
    """Why something in a folder is not read as a file of answers; None where it is one."""
    name = _printable(str(place))
    try:
        if not place.is_file():
            told = f"{name} is no file, but a link, a pipe or the like."
            return InvalidInput("not-a-file", told)
    except OSError as error:
        return unreadable(_PURPOSE, name, error)
    if path is None:
        told = f"The name {name} does not end in {SUFFIX}; rename what belongs to the dump."
        return InvalidInput("not-named-json", told)
    if name != str(place):
        return InvalidInput("not-text", f"The name {name} is no UTF-8 text.")
    return None


def _name(folder: Path, place: Path) -> str:
    return _printable(place.relative_to(folder).as_posix())


def _printable(name: str) -> str:
    """A file's name as a text that can be printed, also where it is none."""
    return os.fsencode(name).decode("utf-8", "replace")


def _nothing(message: str) -> InvalidInput:
    return InvalidInput(
        "nothing-to-import",
        message,
        hint="Write each answer of `kv get -format=json` to a file of its own that ends in .json.",
    )


def _too_large(place: str) -> InvalidInput:
    return InvalidInput(
        TOO_LARGE,
        f"{shown(place)} holds more than {SOURCE_BYTES_MAX} bytes of secrets.",
        hint="Import it in parts.",
    )


def _guarded(number: int, document: Any, path: str | None) -> Entry | Rejected:
    told = document.pop("path", path) if isinstance(document, dict) else path
    place = told if isinstance(told, str) else None
    try:
        return _entry(number, document, place)
    except LedgerError as error:
        return Rejected(number, error.code, error.message, place)


def _entry(number: int, document: Any, place: str | None) -> Entry:
    if not isinstance(document, dict) or not isinstance(document.get("data", 0), dict | None):
        raise InvalidInput("invalid-secret", "That is no answer of `kv get -format=json`.")
    parts = tuple(part for part in (place or "").split("/") if part)
    if not parts:
        raise InvalidInput("path-missing", 'The secret has no path; give it a "path".')
    data = document["data"]
    if _is_second_version(data):
        data = data["data"]
    if data is None:
        return Entry(number, parts, {}, gone=Gone.DELETED)
    if not isinstance(data, dict):
        raise InvalidInput("invalid-secret", "The secret's data is no object.")
    told = {key: content for key, content in data.items() if content not in ("", None)}
    texts = {key: FieldValue(content) for key, content in told.items() if isinstance(content, str)}
    return Entry(number, parts, texts, unusable=frozenset(told) - set(texts))


def _is_second_version(data: object) -> bool:
    """Whether that is an answer of engine 2, which wraps the data and tells of its version."""
    return (
        isinstance(data, dict)
        and set(data) == {"data", "metadata"}
        and isinstance(data["metadata"], dict)
        and "version" in data["metadata"]
    )
