"""How often a second something may happen, as the service's options are told it."""

from __future__ import annotations

import math
from typing import Any

import click


class Rate(click.FloatRange):
    """So many a second; not-a-number lies neither before nor behind a range, and in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        rate = super().convert(value, param, ctx)
        if math.isnan(rate):
            self.fail(f"{value!r} is no number.", param, ctx)
        return rate
