"""How released credentials leave the program: one field raw, all by name, or as JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ledger.errors import NotFound
from tools.cli.command import Run

if TYPE_CHECKING:
    from ledger.usecases.outcomes import Retrieved
    from ledger.values import FieldValue
    from tools.client import Credentials


def print_released(run: Run, found: Retrieved | Credentials, field: str | None) -> None:
    """Print what was released; `field-not-set` for a field that has no value yet."""
    from tools.shapes import retrieved_document

    if run.json:
        run.print(retrieved_document(found))
    elif field is not None:
        value = next(iter(found.fields.values()), None)
        if value is None:
            raise NotFound(
                "field-not-set",
                "That field was added later and has no value yet.",
                hint="Set the credentials again with every field.",
            )
        _write_value(value)
    else:
        for name, value in found.fields.items():
            sys.stdout.write(f"{name}: ")
            sys.stdout.flush()
            _write_value(value, newline=True)


def _write_value(value: FieldValue, *, newline: bool = False) -> None:
    content = value.reveal()
    sys.stdout.flush()
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogateescape") + b"\n"
    elif newline:
        content += b"\n"
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
