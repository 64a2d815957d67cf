"""Secrets of HashiCorp Vault or OpenBao: answers of `kv get -format=json`, of engine 1 and 2.

A file holds one such answer or several, one after the other. An answer does not say which path it
is of: a `"path"` beside `"data"` does, or else the file's own name without `.json`, below the
folder that is imported. `{"data": {...}}` is engine 1, and `{"data": {"data": {...}, "metadata":
{...}}}` engine 2; a version that was deleted there is left out.

A number is taken as it is written. A list, an object or a truth value is no field's value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ledger.errors import InvalidInput, LedgerError
from ledger.values import FieldValue
from tools.people.documents import (
    STANDARD_INPUT,
    StandardInput,
    decode_text,
    parse_json_sequence,
    read_bytes,
    unreadable,
    within,
)
from tools.sources.entry import ENTRIES_MAX, SOURCE_BYTES_MAX, Entry, Gone, too_many
from tools.sources.importing import Rejected

SUFFIX = ".json"
_PURPOSE = "secrets of Vault"


class VaultDump:
    """A file or folder of answers."""

    name_keys: frozenset[str] = frozenset()
    keys_by_type: Mapping[str, str] = MappingProxyType({})

    def __init__(self, place: str, standard_input: StandardInput) -> None:
        self._place = place
        self._standard_input = standard_input

    def entries(self) -> Iterator[Entry | Rejected]:
        """Every secret; `invalid-json`, `not-text` or `too-large` for a file that is no dump."""
        number = size = 0
        for place, path in self._files():
            content = read_bytes(place, _PURPOSE, SOURCE_BYTES_MAX - size, self._standard_input)
            size += len(content)
            purpose = within(_PURPOSE, place)
            for document in parse_json_sequence(decode_text(content, purpose), purpose):
                number += 1
                yield _guarded(number, document, path)

    def _files(self) -> Iterator[tuple[str, str | None]]:
        """Each file with the path that its name tells."""
        if self._place == STANDARD_INPUT:
            yield self._place, None
            return
        folder = Path(self._place)
        if not folder.is_dir():
            yield self._place, folder.name.removesuffix(SUFFIX)
            return
        for file in _below(folder):
            yield str(file), file.relative_to(folder).as_posix().removesuffix(SUFFIX)


def _below(folder: Path) -> list[Path]:
    """The files of a folder and its subfolders, in a settled order; links to folders are not."""
    found: list[Path] = []
    try:
        for one in folder.rglob(f"*{SUFFIX}"):
            if one.is_file():
                found.append(one)
            if len(found) > ENTRIES_MAX:
                raise too_many()
    except OSError as error:
        raise unreadable(_PURPOSE, str(folder), error) from error
    if not found:
        raise InvalidInput(
            "nothing-to-import",
            f"The folder {folder} has no file that ends in {SUFFIX}.",
            hint="Write each answer of `kv get -format=json` to a file of its own in it.",
        )
    return sorted(found)


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
