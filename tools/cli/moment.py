"""Options by which questions say of when they are, and which part of a long answer is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tools.cli.number import COUNT, NUMBER

LIMIT_DEFAULT = 100
_Function = Callable[..., Any]


def as_of(function: _Function) -> _Function:
    """`--at` and `--position`: as of which moment."""
    function = click.option("--position", type=NUMBER, metavar="N", help="As of this position.")(
        function
    )
    return click.option("--at", metavar="TIME", help="As of then; now unless told.")(function)


def within(function: _Function) -> _Function:
    """`--since`, and `--until` or `--position`: the range, whose end is the moment."""
    function = click.option(
        "--position",
        type=NUMBER,
        metavar="N",
        help="Up to this position, as of then; instead of --until.",
    )(function)
    function = click.option("--until", metavar="TIME", help="Up to then, as of then.")(function)
    return click.option("--since", metavar="TIME", help="From then on.")(function)


def in_parts(function: _Function) -> _Function:
    """`--limit` and `--after`: the newest rows, and those before them."""
    function = click.option(
        "--after", type=NUMBER, metavar="POSITION", help="Go on behind this row."
    )(function)
    return click.option(
        "--limit", type=COUNT, default=LIMIT_DEFAULT, help="0 is all; 100 unless told."
    )(function)


def say_further(count: int, limit: int, last: object) -> None:
    """Say how to get what the limit cut off; `last` is the position of the last row shown."""
    from tools.showing.show import print_note

    if limit and count == limit:
        rows = "1 row" if count == 1 else f"{count} rows"
        print_note(f"There may be more than {rows}: go on with --after {last}; --limit 0 is all.")
