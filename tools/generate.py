"""Made-up people, mappings and weeks of access, the same for the same seed.

    python -m tools.generate mappings --people 2000 > mappings.jsonl
    python -m tools.generate accesses --people 2000 --weeks 3 > accesses.jsonl

Mappings are lines as `credledger credential import` takes them, for the applications of
`docs/examples/contoso.toml`. Accesses are lines of when (hours before now), who, with which
groups, and which application: office hours more than nights, few people often and many seldom,
now and then somebody who may not. All names and passwords come from the seed; none is real.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import click

_GIVEN = [
    "alma",
    "bruno",
    "carla",
    "dario",
    "elena",
    "felix",
    "greta",
    "hugo",
    "ines",
    "jonas",
    "karla",
    "leon",
    "mira",
    "nils",
    "olga",
]
_FAMILY = [
    "abel",
    "bauer",
    "conti",
    "duarte",
    "engel",
    "fischer",
    "garcia",
    "horn",
    "ivanov",
    "jansen",
    "keller",
    "lang",
]
_SYMBOLS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_!%"
_SHARED = (
    "Excel Unattended",
    "Visio Unattended",
    "PerformancePoint",
    "Warehouse Connector",
)
_HOURS_A_WEEK = 168


def people(count: int, seed: int = 1) -> list[str]:
    """Account names, all different."""
    chance = random.Random(seed)  # noqa: S311 # made-up data, no secret
    return [f"{chance.choice(_GIVEN)}.{chance.choice(_FAMILY)}{number}" for number in range(count)]


def mappings(count: int, seed: int = 1) -> Iterator[dict[str, object]]:
    """One personal mapping in the payroll and the CRM for each person, and the shared ones."""
    chance = random.Random(seed + 1)  # noqa: S311 # made-up data, no secret
    for application in _SHARED:
        yield {
            "application": application,
            "owner": None,
            "fields": {
                "Windows User Name": f"CONTOSO\\svc-{application.split()[0].lower()}",
                "Windows Password": _password(chance),
            },
        }
    for name in people(count, seed):
        yield {
            "application": "payroll",
            "owner": f"user:{name}",
            "fields": {"User Name": name, "Password": _password(chance)},
        }
        yield {
            "application": "CRM Connector",
            "owner": f"user:{name}",
            "fields": {
                "Windows User Name": f"CONTOSO\\{name}",
                "Windows Password": _password(chance),
            },
        }


def accesses(count: int, weeks: int, seed: int = 1) -> Iterator[dict[str, object]]:
    """Attempts to read, oldest first, about four a person and week."""
    chance = random.Random(seed + 2)  # noqa: S311 # made-up data, no secret
    names = people(count, seed)
    moments = sorted(
        (_hours_before_now(chance, weeks) for _ in range(count * weeks * 4)), reverse=True
    )
    for hours in moments:
        # Squaring makes few people frequent and many rare, as in any office.
        name = names[int(chance.random() ** 2 * len(names))]
        yield {"hours_before_now": round(hours, 2), **_attempt(chance, name)}


def _attempt(chance: random.Random, name: str) -> dict[str, object]:
    lot = chance.random()
    if lot < 0.5:
        return {"as": f"user:{name}", "with": [], "application": "CRM Connector"}
    if lot < 0.7:
        return {"as": f"user:{name}", "with": ["group:payroll"], "application": "payroll"}
    if lot < 0.95:
        return {"as": f"user:{name}", "with": ["group:sales"], "application": "Warehouse Connector"}
    return {"as": f"user:{name}", "with": [], "application": "PerformancePoint"}


def _hours_before_now(chance: random.Random, weeks: int) -> float:
    while True:
        hours = chance.random() * weeks * _HOURS_A_WEEK
        at_work = 6 <= (24 - hours % 24) <= 19
        if at_work or chance.random() < 0.05:
            return hours


def _password(chance: random.Random) -> str:
    return "".join(chance.choice(_SYMBOLS) for _ in range(20))


@click.group()
def main() -> None:
    """Make up mappings and accesses."""


@main.command("mappings")
@click.option("--people", "count", default=2000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def print_mappings(count: int, seed: int) -> None:
    """Print import lines."""
    for line in mappings(count, seed):
        click.echo(json.dumps(line))


@main.command("accesses")
@click.option("--people", "count", default=2000, show_default=True)
@click.option("--weeks", default=3, show_default=True)
@click.option("--seed", default=1, show_default=True)
def print_accesses(count: int, weeks: int, seed: int) -> None:
    """Print attempts to read."""
    for line in accesses(count, weeks, seed):
        click.echo(json.dumps(line))


if __name__ == "__main__":
    main()
