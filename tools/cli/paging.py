"""Long answers, page by page: each is recorded as a question of its own before it is printed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools.cli.command import Run
    from tools.showing.listing import Listing
    from tools.wiring import Session


def put_pages(
    run: Run,
    session: Session,
    question: str,
    asked: dict[str, object],
    rows: Iterable[dict[str, Any]],
    listing: Listing,
) -> int:
    """Record each page as a question, and print it; how many rows there were.

    `asked["after"]` is left at the last row shown.
    """
    from tools.showing.listing import in_pages

    count = 0
    for page in in_pages(rows):
        run.record(session, question, asked, len(page))
        listing.put(page)
        count += len(page)
        asked["after"] = page[-1]["position"] if page else None
    return count
