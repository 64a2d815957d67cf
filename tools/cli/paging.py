"""Long answers, page by page: each is recorded as a question of its own before it is printed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct, structs

from tools.cli.moment import within
from tools.cli.number import COUNT, NUMBER

if TYPE_CHECKING:
    from projections.stretch import Stretch
    from tools.cli.command import Run
    from tools.showing.listing import Listing
    from tools.wiring import Session

LIMIT_DEFAULT = 100
_Function = Callable[..., Any]


class Part(Struct, frozen=True):
    """The range of history that is asked about, and which part of a long answer is wanted."""

    since: str | None
    until: str | None
    position: int | None
    limit: int
    after: int | None

    @property
    def rows(self) -> int | None:
        """How many at most; None is all."""
        return self.limit or None

    def asked(self) -> dict[str, object]:
        """The same as it is recorded of a question."""
        return structs.asdict(self)

    def stretch(self, session: Session) -> Stretch:
        """The range; see `stretch_of`."""
        from tools.asking.moments import stretch_of

        return stretch_of(session, self.since, self.until, self.position)


class Shown(Struct, frozen=True):
    """What was printed of an answer; the listing is not ended yet."""

    listing: Listing
    count: int
    last: int | None
    """The position of the last row; None without any."""


def put_pages(
    run: Run,
    session: Session,
    question: str,
    asked: dict[str, object],
    rows: Iterable[dict[str, Any]],
    begin: Callable[[Sequence[dict[str, Any]]], Listing],
) -> Shown:
    """Record each page as a question, and print it; `begin` makes the listing for the first one."""
    from tools.showing.listing import in_pages

    listing, count, last = None, 0, None
    for page in in_pages(rows):
        run.record(session, question, asked if last is None else asked | {"after": last}, len(page))
        listing = listing or begin(page)
        listing.put(page)
        count += len(page)
        last = page[-1]["position"] if page else None
    assert listing is not None  # an empty answer is one page
    return Shown(listing, count, last)


def in_parts(function: _Function) -> _Function:
    """The options of a list's range, `--limit` and `--after`; the command takes them as `part`."""

    @functools.wraps(function)
    def parted(
        *given: Any,
        since: str | None,
        until: str | None,
        position: int | None,
        limit: int,
        after: int | None,
        **others: Any,
    ) -> Any:
        return function(*given, part=Part(since, until, position, limit, after), **others)

    parted = click.option(
        "--after", type=NUMBER, metavar="POSITION", help="Go on behind this row."
    )(parted)
    return within(
        click.option(
            "--limit", type=COUNT, default=LIMIT_DEFAULT, help="0 is all; 100 unless told."
        )(parted)
    )


def say_further(count: int, limit: int, last: int | None) -> None:
    """Say how to get what the limit cut off; `last` is the position of the last row shown."""
    from tools.showing.show import print_note

    if limit and count == limit:
        rows = "1 row" if count == 1 else f"{count} rows"
        print_note(f"There may be more than {rows}: go on with --after {last}; --limit 0 is all.")
