"""The commands that there are, as people type them."""

from __future__ import annotations

import click

from tools.cli.main import PROGRAM, program
from tools.reference import leaves


def all_commands() -> set[str]:
    """Each without the program's own name: `app create`, `log verify`, ..."""
    context = click.Context(program, info_name=PROGRAM)
    return {path.removeprefix(f"{PROGRAM} ") for path, _ in leaves(program, context)}
