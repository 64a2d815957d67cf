"""Options by which questions say of when they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tools.cli.number import NUMBER

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
