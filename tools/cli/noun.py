"""Nouns and their verbs: click's groups and commands, saying two things more.

A noun's help gives each verb's line whole, where click would cut it off; and an option that lacks
its value is told with the verb whose help explains it.
"""

from __future__ import annotations

import click

_WHOLE = 1000
"""Longer than any line of help."""


class Noun(click.Group):
    """A group whose help has no line cut off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write names and lines, those of hidden commands not."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        told = [
            (name, command.get_short_help_str(_WHOLE))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(told)


class Verb(click.Command):
    """A command that is named by every error in its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise
