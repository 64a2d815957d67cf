"""How figures look: lines with their ratios, facts by size of the log, and single facts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from tools.bench.figures import Fact, Line


def lines_table(found: Sequence[Line]) -> Table:
    """The works, each beside stock and floor."""
    table = Table("Engine", "Work", "Ours/s", "Spread", "Stock/s", "Floor/s", "x stock", "x floor")
    for line in found:
        sides = [line.figures.get(side) for side in ("stock", "floor")]
        ratios = [_told(line, other) for other in ("stock", "floor")]
        ours = line.figures["ours"]
        rates = [f"{side.median:,.0f}" if side else "-" for side in sides]
        table.add_row(line.engine, line.work, f"{ours.median:,.0f}", ours.spread, *rates, *ratios)
    return table


def sizes_table(facts: Sequence[Fact]) -> Table:
    """What depends on the length of the log, with a column for each length."""
    sized = [fact for fact in facts if fact.size is not None]
    sizes = sorted({fact.size for fact in sized if fact.size is not None})
    table = Table("Engine", "Figure", "Unit")
    for size in sizes:
        table.add_column(f"{size:,} events", justify="right")
    table.add_column("Aim")
    rows: dict[tuple[str, str, str], dict[int | None, Fact]] = {}
    for fact in sized:
        rows.setdefault((fact.engine, fact.name, fact.unit), {})[fact.size] = fact
    for names, found in rows.items():
        cells = [told(found[size]) if size in found else "-" for size in sizes]
        aims = [fact.told_aim for fact in found.values() if fact.told_aim]
        table.add_row(*names, *cells, aims[-1] if aims else "")
    return table


def facts_table(facts: Sequence[Fact]) -> Table:
    """What stands for itself."""
    table = Table("Engine", "Figure", "Unit", "Value", "Aim")
    for fact in facts:
        if fact.size is None:
            table.add_row(fact.engine, fact.name, fact.unit, told(fact), fact.told_aim)
    return table


def told(fact: Fact) -> str:
    """The number for people, as exact as it is worth."""
    digits = 2 if fact.unit == "x" else 0 if fact.value >= 100 else 1
    return f"{fact.value:,.{digits}f}"


def _told(line: Line, other: str) -> str:
    ratio, target = line.ratio(other), line.targets.get(other)
    if ratio is None:
        return "-"
    return f"{ratio:.2f}" if target is None else f"{ratio:.2f} (aim {target:g})"
