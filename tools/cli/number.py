"""The whole numbers of options and arguments: what each may be, told before anything is done.

A number without a bound would reach a store or a list, and neither takes every number.
"""

from __future__ import annotations

from typing import Any, Final

import click

from tools.numbers import NUMBER_MAX, is_digits


class InDigits(click.types.IntParamType):
    """A whole number as people write one; Python takes `1_0` and other scripts' digits as well."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        if isinstance(value, str) and not is_digits(value.removeprefix("-")):
            self.fail(f"{value!r} is no whole number written in digits.", param, ctx)
        return super().convert(value, param, ctx)


class Range(InDigits, click.IntRange):
    """A whole number in a range that help tells."""


class Whole(InDigits):
    """A whole number from `least` on."""

    def __init__(self, least: int) -> None:
        self.min, self.max = least, NUMBER_MAX

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        number = super().convert(value, param, ctx)
        if not self.min <= number <= self.max:
            self.fail(f"{number} is no whole number from {self.min} to {self.max}.", param, ctx)
        return number


ANY: Final = InDigits()
"""One for which the ledger has a bound of its own."""
NUMBER: Final = Whole(1)
"""A position, a version, a slot: whatever is counted from one."""
COUNT: Final = Whole(0)
"""How many rows, or how many lie before them."""
