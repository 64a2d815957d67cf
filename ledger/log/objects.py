"""What a store's engine holds of a ledger's four tables, against what the migrations make.

Tables, columns, keys, triggers and rules, each by its kind and name with what defines it; triggers
and rules of all other tables too, for those of views are written to in the same transactions.
Triggers and keys guard against accidents, and signatures are the protection: so one that is
missing, another or besides is an *oddity* to be told of, and no damage. Damage is a table that is
none, as a view that answers in its place with whatever it likes, and a table or a column that is
not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

TABLE, COLUMN = "table", "column"
Objects = Mapping[tuple[str, str], str]
"""By kind and name, such as `("trigger", "log_keep on log")`, what defines each."""


class Oddity(msgspec.Struct, frozen=True):
    """One thing that is not as the migrations make it."""

    what: str
    is_damage: bool
    """Whether the log cannot be read as what was stored; else a guard is missing or another."""


def oddities(expected: Objects, found: Objects) -> Iterator[Oddity]:
    """What is missing, another, or besides, by kind and name."""
    for (kind, name), definition in expected.items():
        there = found.get((kind, name))
        if there is None:
            yield Oddity(f"the {kind} {name} is missing", kind in {TABLE, COLUMN})
        elif there != definition:
            yield Oddity(f"the {kind} {name} is another than the ledger's", is_damage=False)
    for kind, name in sorted(found.keys() - expected.keys()):
        yield Oddity(f"the {kind} {name} is not the ledger's", is_damage=False)
