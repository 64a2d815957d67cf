"""How results look: one JSON document, or a table for people.

JSON goes out with stable keys, in UTF-8, or escaped where the stream knows no such characters.
Tables are drawn by `rich` on a terminal only, so that `rich` is not even imported elsewhere;
through a pipe each row is one line of tab-separated cells. Control characters of recorded texts
never reach a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TextIO

from tools.when import to_local_text

if TYPE_CHECKING:
    from rich.console import Console

NAMES = {"application", "name"}
"""Keys whose texts are one name, blanks and all."""
_NONE = "-"
_WRAPPED_FROM = 30
_PARTS = 10_000


class Progress(Protocol):
    """Something that is told how far long work is."""

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` units are finished."""
        ...


def print_json(document: object) -> None:
    """Print one JSON document and a newline on standard output."""
    encoder = json.JSONEncoder(ensure_ascii=not _knows_all(sys.stdout), indent=2)
    # An answer may be as long as the ledger is large; its text is never in memory as a whole.
    parts = encoder.iterencode(document)
    while text := "".join(islice(parts, _PARTS)):
        sys.stdout.write(text)
    sys.stdout.write("\n")


def json_items(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as they stand in a JSON list on standard output, without its brackets."""
    encoder = json.JSONEncoder(ensure_ascii=not _knows_all(sys.stdout), indent=2)
    return encoder.encode(rows)[1:-2]


def json_text(document: object) -> str:
    """One JSON document with its newline, as it stands in a file."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def json_line(document: object) -> str:
    """One JSON document on one line, with its newline."""
    return json.dumps(document, ensure_ascii=not _knows_all(sys.stderr)) + "\n"


def print_line(text: str) -> None:
    """Print one line on standard output, without control characters."""
    sys.stdout.write(printable(text) + "\n")


def print_note(text: str) -> None:
    """Print one line on standard error, without control characters."""
    sys.stderr.write(printable(text) + "\n")


def print_table(
    rows: Sequence[Mapping[str, object]],
    columns: Mapping[str, str],
    *,
    title: str = "",
    headed: bool = True,
) -> None:
    """Print rows of JSON-shaped dicts; `columns` maps each key shown to its heading.

    Rows that go on behind others are not `headed` again, but for a terminal.
    """
    cells = [[_cell(row.get(key), key) for key in columns] for row in rows]
    headings = list(columns.values())
    if sys.stdout.isatty():
        _draw(cells, headings, title)
        return
    for line in [headings, *cells] if headed else cells:
        sys.stdout.write("\t".join(line) + "\n")


def print_facts(document: Mapping[str, object]) -> None:
    """Print one JSON-shaped dict as `key: value` lines; lists get a line for each item."""
    for key, value in document.items():
        name = key.removesuffix("_s").replace("_", " ")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            print_line(f"{name}:")
            for item in value:
                print_line("  " + ", ".join(f"{k} {_cell(v, k)}" for k, v in item.items()))
        else:
            unit = " s" if key.endswith("_s") and value is not None else ""
            print_line(f"{name}: {_cell(value, key)}{unit}")


def printed(value: object, key: str) -> str:
    """One value of a JSON-shaped dict as tables show it."""
    return _cell(value, key)


def printable(text: str, *, is_name: bool = False) -> str:
    """The text with what moves, hides or passes for something else spelled out."""
    if text.isascii() and text.isprintable():
        return text
    from tools.showing.letters import spelled

    return spelled(text, is_name=is_name)


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """A progress bar on a terminal's standard error; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield _unseen
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        # Where the end is not known yet, the total is 0 and the bar only moves.
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _knows_all(stream: TextIO) -> bool:
    """Whether the stream's encoding has every character."""
    return (stream.encoding or "").lower().replace("-", "") in {"utf8", "utf16", "utf32"}


def _unseen(done: int, total: int) -> None:
    """Nobody watches."""


def _draw(cells: list[list[str]], headings: list[str], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    columns = list(zip(headings, *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    # Only wide columns wrap, at spaces: an ID, time or claim is never broken.
    words = [
        max(len(word) for cell in column for word in cell.split() or [""]) for column in columns
    ]
    least = [
        min(width, max(_WRAPPED_FROM, word)) for width, word in zip(widths, words, strict=True)
    ]
    if sum(least) + 2 * (len(least) - 1) > console.width:
        _draw_records(console, cells, headings)
        return
    table = Table(title=title or None, box=None, pad_edge=False, header_style="bold")
    for heading, width in zip(headings, widths, strict=True):
        table.add_column(heading, no_wrap=width <= _WRAPPED_FROM)
    for line in cells:
        table.add_row(*(Text(cell) for cell in line))
    console.print(table)


def _draw_records(console: Console, cells: list[list[str]], headings: list[str]) -> None:
    from rich.text import Text

    width = max(len(heading) for heading in headings)
    for line in cells:
        for heading, cell in zip(headings, line, strict=True):
            console.print(
                Text(f"{heading:{width}}  ", style="bold"), Text(cell), sep="", soft_wrap=True
            )
        console.print()


def _cell(value: object, key: str) -> str:
    if value is None or (isinstance(value, str | list) and not value):
        return _NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and (key == "at" or key.endswith(("_at", "_seen"))):
        return to_local_text(value)
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item, "") for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_cell(v, k)}" for k, v in value.items())
    return printable(str(value), is_name=key in NAMES)
