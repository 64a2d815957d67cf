"""The report's page as a drawing: it fits, is legible in light and dark, and prints.

A style sheet is read here as far as that needs; nothing draws it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.conftest import Cli
from tests.tools.test_reports import Page, report, use
from tools.report.charts import SHAPES

COLOURS = {"paper", "raised", "ink", "quiet", "line", "granted", "denied", "not-set", "link"}
READ, SEEN = 4.5, 3.0
"""The least contrast of letters and of drawn shapes, by WCAG 2.2 (1.4.3, 1.4.11)."""
REM_PX = 16
NARROW_PX = 320
"""The width that a page must do with: WCAG 2.2, 1.4.10."""


class Styles:
    """The rules of a style sheet, each with what it is for."""

    def __init__(self, text: str) -> None:
        self.rules = list(_rules(text, ""))

    def of(self, selector: str, media: str = "") -> dict[str, str]:
        """What is said of a selector, later rules over earlier ones."""
        found: dict[str, str] = {}
        for kind, selectors, said in self.rules:
            if kind == media and selector in selectors:
                found |= said
        return found


def _rules(text: str, media: str) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    at = 0
    while (begin := text.find("{", at)) >= 0:
        head, depth, end = text[at:begin].strip(), 1, begin + 1
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        inner, at = text[begin + 1 : end - 1], end
        if head.startswith("@media"):
            yield from _rules(inner, head.removeprefix("@media").strip())
            continue
        said = (one.partition(":") for one in inner.split(";") if one.strip())
        selectors = [one.strip() for one in head.split(",")]
        yield media, selectors, {name.strip(): value.strip() for name, _, value in said}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The page, its style sheet, and its text; made once, for nothing here changes it."""
    cli = Cli(tmp_path_factory.mktemp("drawn"))
    cli.ok("init", "--label", "alice")
    fields = ("--field", "User:user-name", "--field", "Password:password")
    cli.ok("app", "create", "payroll", "--kind", "individual", *fields)
    document, page = report(use(cli))
    text = Path(document["path"]).read_text(encoding="utf-8")
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    return page, Styles(style), text


def schemes(styles: Styles) -> dict[str, dict[str, str]]:
    light = styles.of(":root")
    dark = styles.of(":root", "screen and (prefers-color-scheme: dark)")
    named = ({name: one.get(f"--{name}", "") for name in COLOURS} for one in (light, dark))
    return dict(zip(("light", "dark"), named, strict=True))


def contrast(one: str, other: str) -> float:
    """Of two colours, by WCAG 2.2."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_both_colour_schemes_have_each_colour_and_can_be_read(drawn):
    """Letters stand out from what they stand on, and bars from the paper."""
    _, styles, text = drawn
    assert '<meta name="color-scheme" content="light dark">' in text
    assert styles.of(":root")["color-scheme"] == "light dark"
    for name, colours in schemes(styles).items():
        assert all(re.fullmatch("#[0-9a-f]{6}", one) for one in colours.values()), name
        for ground in ("paper", "raised"):
            for ink in ("ink", "quiet", "link", "denied"):
                assert contrast(colours[ink], colours[ground]) >= READ, (name, ink, ground)
        for bar in ("granted", "denied", "not-set"):
            assert contrast(colours[bar], colours["paper"]) >= SEEN, (name, bar)


def test_every_colour_is_one_of_the_schemes(drawn):
    """So nothing stays light on a dark page; drawings bring none of their own."""
    page, styles, text = drawn
    for media, selectors, said in styles.rules:
        named = {name for name in said if name.startswith("--")}
        assert not named or selectors == [":root"]
        rest = " ".join(value for name, value in said.items() if name not in named)
        assert not re.search(r"#[0-9a-fA-F]{3}|rgb|hsl|\b(black|white|gr[ae]y)\b", rest), (
            media, selectors, rest,
        )  # fmt: skip
        assert set(re.findall(r"var\(--([a-z-]+)\)", rest)) <= COLOURS
    assert not {"style", "fill", "stroke", "color", "bgcolor"} & {one[1] for one in page.attributes}
    assert len(re.findall("<style", text)) == 1


def pixels(value: str) -> float:
    """The largest length that a value names."""
    units = {"px": 1.0, "rem": REM_PX, "em": REM_PX}
    found = re.findall(r"(?<![\w.-])(\d*\.?\d+)(px|rem|em)\b", value)
    return max((float(number) * units[unit] for number, unit in found), default=0.0)


def test_nothing_is_wider_than_a_narrow_page(drawn):
    """No width is fixed, long words break, and what still is too wide scrolls in its place."""
    page, styles, text = drawn
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    for media, selectors, said in styles.rules:
        least = max(pixels(said.get(name, "")) for name in ("width", "min-width", "flex-basis"))
        assert least < NARROW_PX / 2, (media, selectors)
        assert "width" not in said or said["width"] == "100%" or least < REM_PX
    assert styles.of(".table")["overflow-x"] == "auto"
    assert styles.of("td")["overflow-wrap"] == styles.of("th")["overflow-wrap"] == "anywhere"
    assert styles.of("code")["overflow-wrap"] == "anywhere"
    assert styles.of(".facts dd")["overflow-wrap"] == "anywhere"
    assert page.tags["table"] == text.count('<div class="table"><table>')
    for tag in ("table", "td", "th", "svg", "div", "section"):
        assert not [
            one for one in page.attributes if one[0] == tag and one[1] in {"width", "style"}
        ]


def test_on_a_narrow_page_each_cell_says_what_it_is_of(drawn):
    """There the tables' heads are gone, and each row is a list."""
    page, styles, text = drawn
    narrow = "screen and (max-width: 640px)"
    assert styles.of("thead", narrow)["display"] == "none"
    assert styles.of("[data-of]::before", narrow)["content"] == "attr(data-of)"
    assert styles.of("tbody th", narrow)["min-width"] == "0"
    named = [one for one in page.attributes if one[1] == "data-of"]
    assert len([one for one in named if one[0] == "td"]) == page.tags["td"] > 0
    assert all(value for _, _, value in named)
    numbered = re.findall(r'<th [^>]*scope="row"[^>]*class="number"[^>]*>', text)
    assert numbered
    assert all("data-of=" in head for head in numbered), "a number alone heads no row"
    for cell in ("tbody th.number", "td.number"):
        assert styles.of(cell, narrow)["text-align"] == "left"


def test_each_drawing_is_there_once_for_each_width_and_shrinks_with_it(drawn):
    page, styles, _ = drawn
    drawings = [
        dict(parts) for parts in (re.findall(r'([\w-]+)="([^"]*)"', one) for one in _svgs(drawn[2]))
    ]
    assert len(drawings) == page.tags["svg"] == 6
    for shape in SHAPES:
        same = [one for one in drawings if one["class"] == f"chart {shape.name}"]
        assert len(same) == 3
        assert {one["viewbox"].split()[2] for one in map(_lowered, same)} == {str(shape.width_px)}
    assert all(not {"width", "height"} & set(one) for one in drawings)
    assert (styles.of(".chart")["width"], styles.of(".chart")["height"]) == ("100%", "auto")
    assert styles.of(".chart.narrow")["display"] == "none"
    narrow = "(max-width: 640px)"
    assert styles.of(".chart.wide", narrow)["display"] == "none"
    assert styles.of(".chart.narrow", narrow)["display"] == "block"


def _svgs(text: str) -> list[str]:
    return re.findall(r"<svg\b[^>]*>", text)


def _lowered(attributes: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in attributes.items()}


def test_printed_it_is_light_whole_and_repeats_its_tables_heads(drawn):
    """A paper has no links to follow, no scroll bars, and no dark side."""
    _, styles, text = drawn
    dark = [media for media, _, _ in styles.rules if "dark" in media]
    assert dark
    assert all(media.startswith("screen and") for media in dark)
    assert "@page {" in text
    said = {
        "nav": ("display", "none"),
        ".chart.wide": ("display", "block"),
        ".chart.narrow": ("display", "none"),
        ".table": ("overflow", "visible"),
        "thead": ("display", "table-header-group"),
        "tr": ("break-inside", "avoid"),
        "figure": ("break-inside", "avoid"),
        "h2": ("break-after", "avoid"),
        ".chart rect": ("print-color-adjust", "exact"),
        "body": ("max-width", "none"),
    }
    for selector, (name, value) in said.items():
        assert styles.of(selector, "print").get(name) == value, selector
    clamped = [media for media, _, one in styles.rules if "-webkit-line-clamp" in one]
    assert set(clamped) == {"screen"}  # a name is never cut on paper


def test_the_page_is_well_formed_enough_for_any_reader(drawn):
    """Each part that is linked to is there, once; tables have heads, and headings an order."""
    page, _, text = drawn
    names = [value for _, name, value in page.attributes if name == "id"]
    assert len(names) == len(set(names))
    assert {value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href")} <= (
        set(names)
    )
    headings = re.findall(r"<h(\d)", text)
    assert headings[0] == "1"
    assert set(headings[1:]) == {"2"}
    assert page.tags["thead"] == page.tags["tbody"] == page.tags["table"]
    assert text.count('role="img"') == page.tags["svg"]
    assert Page(text).tags == page.tags
