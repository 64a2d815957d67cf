"""Charts as drawings inside a page: laid out by `pygal`, coloured by the page's own style sheet.

What `pygal` adds for a page of its own is taken away: its style (so that dark and printed pages
look as they should), its script, and whatever would be fetched from elsewhere. Numbers stand as
titles, which browsers show without a script and readers read aloud.

Labels are given room by their number of letters, whoever wrote them: one of wide letters is cut
earlier, and narrowed until it fits.

A drawing cannot flow as text does: what is legible on a wide page is not on a narrow one. So each
chart is drawn twice, and the style sheet shows the one that fits.
"""

from __future__ import annotations

import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pygal
from markupsafe import Markup
from pygal.etree import etree
from pygal.style import Style

# It puts itself between every later import of this process, for maps that nobody here asks for, and
# in a way that newer versions of Python pass over and older ones warn of.
sys.meta_path[:] = [one for one in sys.meta_path if type(one).__module__ != pygal.__name__]
# Where lxml is installed it would draw with that; what is taken away below knows one kind of tree.
etree.to_etree()

_DROPPED = {"script", "style", "defs", "title", "comment"}
_DROPPED_CLASSES = {"titles", "overlay", "text-overlay", "tooltip-overlay", "background"}
_TICKS_MAX = 5
_SVG = "{http://www.w3.org/2000/svg}"
_TEXT_PX = 13
_LETTER_PX = 0.6 * _TEXT_PX
"""The room that `pygal` gives each letter."""
_WIDE, _DOUBLE = 1.6, 2.0
_WIDE_LETTERS = frozenset("mwMW@%")
_SLIM_LETTERS = frozenset("iljtfrI.,:;'|!()[]/\\ -")


class Shape(NamedTuple):
    """For which pages a chart is drawn."""

    name: str
    width_px: int
    label_length: int
    """Labels that are wider than so many usual letters are cut."""
    labels: int
    """So many stand along the axis of time at most."""


SHAPES = (Shape("wide", 900, 36, 10), Shape("narrow", 340, 16, 4))


def over_time(
    labels: Sequence[str], titles: Sequence[str], counts: Mapping[str, Sequence[int]]
) -> Markup:
    """Columns along the time, one part for each outcome."""
    return Markup("").join(_columns(shape, labels, titles, counts) for shape in SHAPES)


def by_name(names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Markup:
    """Bars, one for each name, one part for each outcome."""
    return Markup("").join(_bars(shape, names, counts) for shape in SHAPES)


def _columns(
    shape: Shape,
    labels: Sequence[str],
    titles: Sequence[str],
    counts: Mapping[str, Sequence[int]],
) -> Markup:
    every = max(1, -(-len(labels) // shape.labels))
    chart = pygal.StackedBar(
        **_settings(shape, 260), show_minor_x_labels=False, x_labels_major_every=every
    )
    chart.x_labels = list(labels)
    return _drawn(chart, shape, titles, counts)


def _bars(shape: Shape, names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Markup:
    chart = pygal.HorizontalStackedBar(**_settings(shape, 50 + 26 * len(names)))
    # It counts from below; the first name belongs to the top.
    chart.x_labels = [cut(name, shape.label_length) for name in reversed(names)]
    upwards = {outcome: list(reversed(row)) for outcome, row in counts.items()}
    return _drawn(chart, shape, list(reversed(names)), upwards)


def cut(name: str, length: int) -> str:
    """The name, at most as wide as so many usual letters."""
    widths = list(accumulate(map(_width, name)))
    if not widths or widths[-1] <= length:
        return name
    return f"{name[: bisect_right(widths, length - 1)]}…"


def _width(letter: str) -> float:
    """About how wide, in usual letters; none is nothing, as marks can be put upon each other."""
    if unicodedata.east_asian_width(letter) in {"W", "F"}:
        return _DOUBLE
    return _WIDE if letter in _WIDE_LETTERS or letter.isupper() else 1.0


def _settings(shape: Shape, height_px: int) -> dict[str, Any]:
    sizes = {
        f"{what}_font_size": _TEXT_PX
        for what in ("label", "major_label", "legend", "tooltip", "value", "no_data")
    }
    return {
        "width": shape.width_px,
        "height": height_px,
        "style": Style(font_family="sans-serif", **sizes),
        "js": (),
        "css": (),
        "disable_xml_declaration": True,
        "show_legend": False,
        "margin": 6,
        "spacing": 6,
        "value_formatter": _whole,
        "truncate_label": -1,
    }


def _drawn(
    chart: Any, shape: Shape, titles: Sequence[str], counts: Mapping[str, Sequence[int]]
) -> Markup:
    for outcome, row in counts.items():
        chart.add(outcome, list(row))
    peak = max((sum(column) for column in zip(*counts.values(), strict=True)), default=0)
    chart.y_labels = ticks(peak)
    root = chart.render_tree()
    _strip(root)
    for series, outcome in enumerate(counts):
        for bars in root.iterfind(f".//*[@class='series serie-{series} color-{series}']/*"):
            _tell(bars, outcome, titles)
    for element in root.iter():
        if isinstance(element.tag, str) and element.tag.removeprefix(_SVG) == "text":
            _narrow(element)
    root.attrib.pop("id", None)
    root.set("class", f"chart {shape.name}")
    root.set("role", "img")
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 # the tree escapes all text


def ticks(peak: int) -> list[int]:
    """Whole numbers from 0 up to the peak or just beyond it, at round distances."""
    step, factors = 1, (2, 5, 10)
    while step * _TICKS_MAX < peak:
        power = 10 ** (len(str(step)) - 1)
        step = next(power * factor for factor in factors if power * factor > step)
    return list(range(0, max(peak, 1) + step, step))


def _strip(element: Any) -> None:
    for child in list(element):
        kind = child.tag.removeprefix(_SVG) if isinstance(child.tag, str) else "comment"
        if kind in _DROPPED or _DROPPED_CLASSES & set(child.get("class", "").split()):
            element.remove(child)
        else:
            _strip(child)


def _tell(bars: Any, outcome: str, titles: Sequence[str]) -> None:
    """Put what each bar stands for into its title, and take away those of no length."""
    for bar, of in zip(list(bars), titles, strict=True):
        told = {one.get("class"): one for one in bar if one.tag.removeprefix(_SVG) == "desc"}
        value = told["value"].text
        for one in told.values():
            bar.remove(one)
        if value == _whole(0):
            bars.remove(bar)
            continue
        title = ET.SubElement(bar, "title")
        title.text = f"{of}: {value} {outcome}"


def _narrow(label: Any) -> None:
    """Have a label that would need more room than it was given take that; none is stretched."""
    text = label.text or ""
    room_px = len(text) * _LETTER_PX
    if sum(map(_drawn_px, text)) > room_px + 1:
        label.set("textLength", f"{room_px:.1f}")
        label.set("lengthAdjust", "spacingAndGlyphs")


def _drawn_px(letter: str) -> float:
    """About how wide a letter is drawn, in the widest of usual fonts."""
    if letter in _WIDE_LETTERS or unicodedata.east_asian_width(letter) in {"W", "F"}:
        return _TEXT_PX
    if letter in _SLIM_LETTERS:
        return 0.4 * _TEXT_PX
    return 0.75 * _TEXT_PX if letter.isupper() else _LETTER_PX


def _whole(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f")
