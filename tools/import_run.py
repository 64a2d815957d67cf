"""Importing a checked file in batches of at most 500, each all or nothing.

A killed import is run again with the same file: mappings whose values are current already are
`unchanged`, so it goes on where it stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.usecases.credentials import ImportItem
from tools.importing import ImportFile, Line, Rejected
from tools.show import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.errors import LedgerError
    from ledger.usecases.acting import Acting
    from ledger.usecases.ledger import Ledger


class ImportInterrupted(KeyboardInterrupt):
    """Somebody pressed Ctrl-C; says what was recorded until then."""

    def __init__(self, imported: int, unchanged: int) -> None:
        super().__init__(
            f"Interrupted: at least {imported} mappings were imported and {unchanged} were"
            " unchanged; run the same import again to go on."
        )


def check_lines(ledger: Ledger, acting: Acting, content: ImportFile) -> tuple[list[Rejected], int]:
    """Every bad line, and how many lines there are; nothing is appended."""
    rejected: list[Rejected] = []
    seen: set[bytes] = set()
    total = 0
    with progress("Checking") as show:
        for batch in content.batches():
            rejected.extend(_findings(ledger, acting, batch, seen))
            total += len(batch)
            show(total, 0)
    return rejected, total


def import_lines(
    ledger: Ledger, acting: Acting, content: ImportFile, total: int
) -> tuple[int, int, int | None]:
    """Import all lines; how many were imported, how many unchanged, and the last position."""
    imported = unchanged = done = 0
    last_position: int | None = None
    with progress("Importing") as show:
        show(0, total)
        try:
            for batch in content.batches():
                outcome = ledger.import_batch(acting, [_item(line) for line in batch])
                imported += outcome.imported
                unchanged += outcome.unchanged
                done += len(batch)
                last_position = outcome.last_position
                show(done, total)
        except KeyboardInterrupt:
            raise ImportInterrupted(imported, unchanged) from None
    return imported, unchanged, last_position


def _findings(
    ledger: Ledger, acting: Acting, batch: Sequence[Line | Rejected], seen: set[bytes]
) -> list[Rejected]:
    """What is wrong with the lines of one batch, in their order; the log is looked at once."""
    found = [_unfit(line, seen) for line in batch]
    fit = [number for number, bad in enumerate(found) if bad is None]
    refusals = ledger.check_batch(acting, [_item(batch[number]) for number in fit])
    for number, refusal in zip(fit, refusals, strict=True):
        if refusal is not None:
            found[number] = _rejected(batch[number], refusal)
    return [bad for bad in found if bad is not None]


def _unfit(line: Line | Rejected, seen: set[bytes]) -> Rejected | None:
    if isinstance(line, Rejected):
        return line
    if line.key in seen:
        return Rejected(line.number, "repeated-line", "The mapping stands in the file twice.")
    seen.add(line.key)
    return None


def _rejected(line: Line | Rejected, refusal: LedgerError) -> Rejected:
    assert isinstance(line, Line)
    return Rejected(line.number, refusal.code, refusal.message)


def _item(line: Line | Rejected) -> ImportItem:
    # The same bytes were good when they were checked.
    assert isinstance(line, Line)
    return ImportItem(line.application, line.owner, line.values)
