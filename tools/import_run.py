"""Importing a checked file in batches of at most 500, each all or nothing.

A killed import is run again with the same file: mappings whose values are current already are
`unchanged`, so it goes on where it stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import Conflict, InvalidInput, LedgerError, NotFound, Refused
from ledger.usecases.credentials import ImportItem
from tools.importing import BATCH_LINES_MAX, ImportFile, Line, Rejected
from tools.show import progress

if TYPE_CHECKING:
    from ledger.usecases.acting import Acting
    from ledger.usecases.ledger import Ledger


def check_lines(ledger: Ledger, acting: Acting, content: ImportFile) -> tuple[list[Rejected], int]:
    """Every bad line, and how many lines there are; nothing is appended."""
    rejected: list[Rejected] = []
    seen: set[bytes] = set()
    total = 0
    for line in content.lines():
        total += 1
        if isinstance(line, Rejected):
            rejected.append(line)
        elif line.key in seen:
            rejected.append(
                Rejected(line.number, "repeated-line", "The mapping stands in the file twice.")
            )
        else:
            seen.add(line.key)
            rejected.extend(_rejection(ledger, acting, line))
    return rejected, total


def import_lines(
    ledger: Ledger, acting: Acting, content: ImportFile, total: int
) -> tuple[int, int, int | None]:
    """Import all lines; how many were imported, how many unchanged, and the last position."""
    imported = unchanged = done = 0
    last_position: int | None = None
    batch: list[ImportItem] = []

    def flush() -> None:
        nonlocal imported, unchanged, done, last_position
        outcome = ledger.import_batch(acting, batch)
        imported += outcome.imported
        unchanged += outcome.unchanged
        done += len(batch)
        last_position = outcome.last_position
        batch.clear()

    with progress("Importing") as show:
        for line in content.lines():
            if isinstance(line, Rejected):
                raise Conflict("file-changed", "The file changed while it was being imported.")
            batch.append(ImportItem(line.application, line.owner, line.values))
            if len(batch) == BATCH_LINES_MAX:
                flush()
                show(done, total)
        if batch:
            flush()
    return imported, unchanged, last_position


def _rejection(ledger: Ledger, acting: Acting, line: Line) -> list[Rejected]:
    try:
        ledger.check_credentials(acting, line.application, line.owner, line.values)
    except (InvalidInput, NotFound, Refused, Conflict) as error:
        return [_rejected(line, error)]
    return []


def _rejected(line: Line, error: LedgerError) -> Rejected:
    return Rejected(line.number, error.code, error.message)
