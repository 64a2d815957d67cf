"""Making the report for people: check the log, record that it is read, fold it, write the page.

In this order, so that nothing is shown of a log that does not hold, and nothing is written of one
whose reading is not recorded. The page takes its place whole or not at all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.errors import Conflict, Tampered, Unavailable
from ledger.private_files import create_private_file, replace_private_file
from projections.report import Section, fold_report
from projections.report_access import Accesses, ByApplication, ByPerson, Exposure, Refusals
from projections.report_keeping import BackupsMade, Changes, Epochs
from projections.report_self_granted import SelfGranted
from projections.report_tickets import Tickets
from projections.report_unusual import Unusual
from projections.streams import signed_position_at, signed_row
from projections.stretch import Stretch
from tools.asking.moments import stretch_of
from tools.asking.questions import Recording
from tools.evidence.verifying import verify_store
from tools.settings import real_path
from tools.showing.show import progress
from tools.when import to_local_text, to_text

if TYPE_CHECKING:
    from tools.evidence.anchors import Anchors
    from tools.wiring import Session

SECTIONS: tuple[type[Section], ...] = (
    Accesses,
    ByApplication,
    ByPerson,
    Refusals,
    Tickets,
    Unusual,
    SelfGranted,
    Exposure,
    Changes,
    Epochs,
    BackupsMade,
)
"""In the order of the page."""


def write_report(
    session: Session,
    record: Recording,
    file: str,
    asked: tuple[str | None, str | None, int | None],
    anchors: Anchors | None = None,
    *,
    force: bool,
) -> dict[str, Any]:
    """Write the page; where it lies, how far the log was read, and how many rows that were.

    Of the time from `--since` to `--until` or `--position`, which are `asked` for in this order.
    """
    path = real_path(file)
    _require_place(path, force=force)
    stretch = stretch_of(session, *asked)
    verification = _verified(session, anchors)
    last, end = _end(session, stretch)
    begin = _begin(session, stretch, end)
    record(dict(zip(("since", "until", "position"), asked, strict=True)), last)
    sections = [section() for section in SECTIONS]
    with progress("Reading") as show:
        rows = fold_report(
            session.store,
            session.mapper,
            sections,
            last=last,
            since=begin,
            until=end,
            retention=session.ledger.retention.state(),
            progress=show,
        )
    status = session.ledger.status()
    facts = {
        "span": _span(session, begin, end),
        "ledger_id": status.ledger_id.hex(),
        "position": last,
        "written_at": to_text(session.now()),
        "written_by": status.unlocked_by,
        "verification": verification,
    }
    from tools.report.page import page

    text = page(facts, sections, begin, end)
    _write(path, text.encode(), force=force)
    return {"path": str(path), "position": last, "rows": rows, "bytes": len(text.encode())}


def _end(session: Session, stretch: Stretch) -> tuple[int, int | None]:
    """The last position that counts, and the time up to which that is; None is up to now."""
    until = stretch.until
    with session.store.reading() as reading:
        if until is not None:
            return signed_position_at(reading, session.mapper, until), until
        last = stretch.last(reading)
    row = None if stretch.position is None else signed_row(session.store, session.mapper, last)
    return last, None if row is None else row.recorded_at


def _begin(session: Session, stretch: Stretch, end: int | None) -> int | None:
    """The time from which that is: no earlier than the log's first row, and not behind the end."""
    if stretch.since is None:
        return None
    first = signed_row(session.store, session.mapper, 1)
    begin = stretch.since if first is None else max(stretch.since, first.recorded_at)
    return begin if end is None else min(begin, end)


def _span(session: Session, begin: int | None, end: int | None) -> str:
    last = to_local_text(to_text(session.now() if end is None else end))
    if begin is None:
        return f"from the beginning to {last}"
    return f"{to_local_text(to_text(begin))} to {last}"


def _verified(session: Session, anchors: Anchors | None) -> dict[str, Any]:
    """What `log verify` tells of the store; `log-damaged` unless all of it holds."""
    report = verify_store(session.settings, session.mapper.ledger_id, anchors)
    if not report.ok:
        raise Tampered(
            "log-damaged",
            "The log does not hold, and no report is made of it.",
            hint="`credledger log verify` says what is wrong, and where.",
        )
    return report.as_document()


def _require_place(path: Path, *, force: bool) -> None:
    """Refuse a place that cannot take the page, before anything is recorded."""
    if os.path.lexists(path) and not (force and path.is_file()):
        raise Conflict(
            "report-exists",
            "There is something at the report's place already.",
            hint="Name a file that is not there yet, or replace that one with --force.",
        )
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise _not_writable()


def _write(path: Path, content: bytes, *, force: bool) -> None:
    try:
        (replace_private_file if force else create_private_file)(path, content)
    except FileExistsError as error:
        raise Conflict(
            "report-exists",
            "There is something at the report's place already.",
            hint="Name a file that is not there yet, or replace that one with --force.",
        ) from error
    except OSError as error:
        raise _not_writable() from error


def _not_writable() -> Unavailable:
    return Unavailable(
        "report-not-writable",
        "The report cannot be written there.",
        hint="Check the folder's rights and the free space of its disk.",
    )
