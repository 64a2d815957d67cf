"""The runs before on this machine, and what became worse since.

    .bench/history.jsonl    one document a run, newest last

A rate counts by its ratio to the floor where there is one, because a busy minute slows both.
Only the last five lines are looked at, and of these only runs on the same machine.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FELL = 0.8
"""A work that does less than this part of what it did is slower."""
_FACTS_FELL = 0.67
"""Facts are of few runs and stand beside no floor, so they must fall further."""
_BEFORE_MAX = 5
Key = tuple[str, ...]


class History:
    """The file of all runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, document: dict[str, Any]) -> None:
        """Keep one more run."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(document) + "\n")

    def regressions(self, document: dict[str, Any]) -> list[str]:
        """What fell well below the median of the runs before on the same machine, in words."""
        before: dict[Key, list[float]] = {}
        for run in self._before(document["machine"]):
            for key, worth, _ in _worths(run):
                before.setdefault(key, []).append(worth)
        slower = []
        for key, worth, limit in _worths(document):
            usual = statistics.median(before[key]) if key in before else 0.0
            if usual and worth < limit * usual:
                slower.append(f"{': '.join(key)} fell to {worth / usual:.2f} of the runs before")
        return slower

    def _before(self, machine: str) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        lines = self._path.read_text(encoding="utf-8").splitlines()[-_BEFORE_MAX:]
        return [run for run in map(json.loads, lines) if run["machine"] == machine]


def _worths(run: dict[str, Any]) -> Iterator[tuple[Key, float, float]]:
    """Each figure's name, a number of which more is better, and the part that it may fall to."""
    for line in run["lines"]:
        worth = line["of_floor"] or statistics.median(line["rates"]["ours"])
        yield (line["engine"], line["work"]), float(worth), _FELL
    for fact in run.get("facts", ()):
        value = float(fact["value"])
        if value:
            name = fact["name"] if fact["size"] is None else f"{fact['name']}, {fact['size']:,}"
            key = tuple(part for part in (fact["engine"], f"{name}, {fact['unit']}") if part)
            yield key, value if fact["unit"] == "/s" else 1 / value, _FACTS_FELL
