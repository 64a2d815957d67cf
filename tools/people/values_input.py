"""Where the values of `credential set` come from: a JSON file, standard input, or prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput
from ledger.values import FieldValue, values_from_json
from tools.people import prompts
from tools.people.documents import (
    STANDARD_INPUT,
    VALUES_BYTES_MAX,
    StandardInput,
    decode_text,
    parse_json,
    read_bytes,
    within,
)

if TYPE_CHECKING:
    from ledger.aggregates.application import Field

_PURPOSE = "field values"


def read_values(place: str, standard_input: StandardInput) -> Mapping[str, FieldValue]:
    """The values of a JSON object; `{"file": PATH}` is looked up beside the file."""
    purpose = within(_PURPOSE, place)
    content = read_bytes(place, _PURPOSE, VALUES_BYTES_MAX, standard_input)
    document = parse_json(decode_text(content, purpose), purpose)
    if not isinstance(document, dict):
        raise InvalidInput("invalid-values", "Field values are one JSON object.")
    base = Path.cwd() if place == STANDARD_INPUT else Path(place).parent
    return values_from_json(document, base)


def require_terminal() -> None:
    """`no-values` where nobody can be asked."""
    if not prompts.on_terminal():
        raise InvalidInput(
            "no-values",
            "No values were given and there is no terminal to ask for them.",
            hint="Give --values FILE, or --values - for standard input.",
        )


def ask_values(fields: Iterable[Field]) -> Mapping[str, FieldValue]:
    """A prompt for each field; `no-values` where nobody can be asked."""
    require_terminal()
    return values_from_json(
        {field.name: prompts.field_value(field.name, masked=field.masked) for field in fields},
        None,
    )
