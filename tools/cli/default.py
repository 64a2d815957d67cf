"""A group that is a command itself: `key backup DEST` beside `key backup list`.

The first word decides. If it names one of the group's commands, that one runs; anything else, an
option or nothing at all included, is the default command's.
"""

from __future__ import annotations

from typing import Any

import click

from tools.cli.noun import Noun


class GroupWithDefault(Noun):
    """A click group with a command that runs where no other one is named."""

    def __init__(self, default: click.Command, **settings: Any) -> None:
        super().__init__(default.name, help=default.help, **settings)
        self.default = default

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """The context of the group where one of its commands comes first, else the default's."""
        if args and args[0] in self.commands:
            return super().make_context(info_name, args, parent, **extra)
        return self.default.make_context(info_name, args, parent, **extra)
