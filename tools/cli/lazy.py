"""A group of commands whose modules are imported only when one of theirs runs.

`credledger --help` must answer at once, so the group knows each command's one-line help by
itself; a test compares the lines with those of the commands.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A click group over `{name: ("module:attribute", one line of help)}`."""

    def __init__(
        self,
        name: str | None = None,
        *,
        places: Mapping[str, tuple[str, str]],
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        self.places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which they were given."""
        del ctx
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command."""
        del ctx
        if cmd_name not in self.places:
            return None
        module, _, attribute = self.places[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write names and one-line helps without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.places.items()])
