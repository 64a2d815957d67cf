"""Importing a checked file in batches of at most 500, each all or nothing.

A killed import is run again with the same file: mappings whose values are current already are
`unchanged`, so it goes on where it stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ledger.errors import LedgerError
from ledger.identifiers import application_key
from ledger.replacing import replace
from ledger.usecases.credentials import ImportItem
from tools.showing.show import progress
from tools.sources.importing import Line, Lines, Rejected, mapping_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.aggregates.issuers import Issuers
    from ledger.usecases.acting import Acting
    from ledger.usecases.ledger import Ledger
    from tools.wiring import Session


class ImportInterrupted(KeyboardInterrupt):
    """Somebody pressed Ctrl-C; says what was recorded until then."""

    def __init__(self, imported: int, unchanged: int) -> None:
        super().__init__(
            f"Interrupted: at least {imported} mappings were imported and {unchanged} were"
            " unchanged; run the same import again to go on."
        )


class Tally(msgspec.Struct):
    """One application's mappings: those of the source, and what became of them."""

    application: str
    mappings: set[bytes] = msgspec.field(default_factory=set)
    """Digests of those in the source."""
    imported: int = 0
    unchanged: int = 0

    def as_document(self, standing: int) -> dict[str, object]:
        """The JSON shape; `standing` of the source's mappings are set in the ledger."""
        return {
            "application": self.application,
            "source": len(self.mappings),
            "imported": self.imported,
            "unchanged": self.unchanged,
            "in_ledger": standing,
        }


class Tallies(msgspec.Struct):
    """What an import counted, by application."""

    by_key: dict[str, Tally] = msgspec.field(default_factory=dict)
    lines: int = 0

    def of(self, application: str) -> Tally:
        """The application's, begun if need be."""
        return self.by_key.setdefault(application_key(application), Tally(application))

    @property
    def imported(self) -> int:
        """Mappings that were set."""
        return sum(one.imported for one in self.by_key.values())

    @property
    def unchanged(self) -> int:
        """Mappings that had their values already."""
        return sum(one.unchanged for one in self.by_key.values())


def check_lines(ledger: Ledger, acting: Acting, content: Lines, tallies: Tallies) -> list[Rejected]:
    """Every bad line; the lines are counted, and nothing is appended."""
    rejected: list[Rejected] = []
    seen: set[bytes] = set()
    issuers = ledger.trust.issuers()
    with progress("Checking") as show:
        for lines in content.batches():
            batch = [_canonical(line, issuers) for line in lines]
            rejected.extend(_findings(ledger, acting, batch, seen))
            for line in batch:
                if isinstance(line, Line):
                    tallies.of(line.application).mappings.add(line.key)
            tallies.lines += len(batch)
            show(tallies.lines, 0)
    return rejected


def import_lines(ledger: Ledger, acting: Acting, content: Lines, tallies: Tallies) -> int | None:
    """Import all lines and count them; the last position, None without any line."""
    done = 0
    last_position: int | None = None
    with progress("Importing") as show:
        show(0, tallies.lines)
        try:
            for batch in content.batches():
                items = [_item(line) for line in batch]
                outcome = ledger.import_batch(acting, items)
                for item, changed in zip(items, outcome.changed, strict=True):
                    tally = tallies.of(item.application)
                    tally.imported += changed
                    tally.unchanged += not changed
                done += len(batch)
                last_position = outcome.last_position
                show(done, tallies.lines)
        except KeyboardInterrupt:
            raise ImportInterrupted(tallies.imported, tallies.unchanged) from None
    return last_position


def compared(session: Session, tallies: Tallies) -> list[dict[str, object]]:
    """For each application, what the source holds beside what stands in the ledger now.

    The ledger's side is counted from the view and opened from the log, not from what the import
    says that it did. Applications that are not there are left out.
    """
    rows = []
    for tally in tallies.by_key.values():
        try:
            state = session.ledger.application(tally.application)
        except LedgerError:
            continue  # its lines were rejected for that
        tally.application = state.application
        standing = {
            mapping_digest(state.application, owner) for owner in session.views.owners(state)
        }
        rows.append(tally.as_document(len(tally.mappings & standing)))
    return sorted(rows, key=lambda one: str(one["application"]).casefold())


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
        return Rejected(
            line.number, "repeated-line", "The mapping stands in the file twice.", line.entry
        )
    seen.add(line.key)
    return None


def _rejected(line: Line | Rejected, refusal: LedgerError) -> Rejected:
    assert isinstance(line, Line)
    return Rejected(line.number, refusal.code, refusal.message, line.entry)


def _canonical(line: Line | Rejected, issuers: Issuers) -> Line | Rejected:
    """The line with its owner as the ledger compares it, so that one mapping is not two."""
    if isinstance(line, Rejected) or line.owner is None:
        return line
    owner = issuers.canonical(line.owner)
    return line if owner is line.owner else replace(line, owner=owner)


def _item(line: Line | Rejected) -> ImportItem:
    # The same bytes were good when they were checked.
    assert isinstance(line, Line)
    return ImportItem(line.application, line.owner, line.values)
