"""The options of commands that hold a log against anchors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run

if TYPE_CHECKING:
    from tools.evidence.anchors import Anchors

F = TypeVar("F", bound=Callable[..., Any])


def anchor_options(function: F) -> F:
    """`anchors`, `witness_keys` and `roots`, for `given_anchors`."""
    for option in (
        click.option(
            "--tsa-root",
            "roots",
            metavar="FILE",
            multiple=True,
            help="The root certificate (PEM) of a time-stamping authority to trust; repeatable.",
        ),
        click.option(
            "--witness-key",
            "witness_keys",
            metavar="KEY",
            multiple=True,
            help="The public key of a witness whose anchors count; repeatable.",
        ),
        click.option(
            "--anchors",
            metavar="FILE",
            multiple=True,
            help="Heads that were kept, cosigned or stamped elsewhere; repeatable.",
        ),
    ):
        function = option(function)
    return function


def given_anchors(
    run: Run, places: Sequence[str], witness_keys: Sequence[str], roots: Sequence[str]
) -> Anchors | None:
    """What these options gave; None without any."""
    if not places:
        if witness_keys or roots:
            raise InvalidInput("usage", "--witness-key and --tsa-root need --anchors.")
        return None
    from tools.evidence.anchors import given_anchors as read

    return read(places, witness_keys, roots, run.standard_input)
