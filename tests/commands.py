"""The commands that there are, as people type them."""

from __future__ import annotations

import click

from tools.cli.main import PROGRAM, program
from tools.reference import leaves


def all_commands() -> set[str]:
    """Each without the program's own name: `app create`, `log verify`, ..."""
    return set(_by_name())


def options_of(name: str) -> set[str | None]:
    """The names under which a command takes its options and arguments."""
    return {one.name for one in _by_name()[name].params}


def _by_name() -> dict[str, click.Command]:
    context = click.Context(program, info_name=PROGRAM)
    return {path.removeprefix(f"{PROGRAM} "): made for path, made in leaves(program, context)}
