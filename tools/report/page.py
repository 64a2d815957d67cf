"""The page itself: one HTML file that fetches nothing, runs nothing, and prints.

Every text that comes from the log passes two gates: its control and format characters are spelled
out (so that nobody's name turns a line around), and the template escapes it. Where both should
fail, the page's own policy forbids every script, every fetch and every form. A name is put between
`<bdi>`, so that one written from right to left stays in its cell.

A section is shown by the template of its name, `templates/NAME.html`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from projections.report import Section
from projections.report_access import OUTCOMES, Accesses
from tools.report.charts import by_name, over_time
from tools.report.periods import columns
from tools.showing.show import printable
from tools.when import to_local_text

CHARTED = 10
"""So many names a chart shows; the table below it has more."""


def page(
    facts: Mapping[str, Any],
    sections: Iterable[Section],
    since: int | None,
    until: int | None,
) -> str:
    """The whole page; `facts` are those of its head and its last section."""
    told = [(section.name, section.title, section.told()) for section in sections]
    shown = [
        {"name": name, "title": title, **content, **_chart(name, content, since, until)}
        for name, title, content in told
    ]
    return (
        _templates()
        .get_template("page.html")
        .render(facts=facts, sections=shown, outcomes=OUTCOMES)
    )


@functools.cache
def _templates() -> Environment:
    """Each template is compiled once in a process."""
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("tools.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"local": _local, "counted": _counted}
    return environment


def _chart(
    name: str, content: Mapping[str, Any], since: int | None, until: int | None
) -> dict[str, Any]:
    """What is drawn of a section, if anything is."""
    if name == Accesses.name:
        shown = columns(content["quarters"], since, until)
        drawn = over_time(shown.labels, shown.titles, shown.counts) if shown.labels else None
        return {"chart": drawn, "unit": shown.unit}
    if name in {"by_application", "by_person"}:
        rows = content["rows"][:CHARTED]
        names = [printable(row["name"], is_name=True) for row in rows]
        counts = {outcome: [row[outcome] for row in rows] for outcome in OUTCOMES}
        return {"chart": by_name(names, counts) if rows else None}
    return {}


def _shown(value: Any) -> Any:
    """What a template puts out, before it is escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value


def _local(text: str | None) -> str:
    return "never" if text is None else to_local_text(text)


def _counted(number: int) -> Markup:
    """With a narrow space between thousands, which is not spelled out as somebody's would be."""
    return Markup(f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"))  # noqa: S704 # a number's
