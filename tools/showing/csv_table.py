"""Answers as CSV, safe to be opened in a spreadsheet.

RFC 4180: comma, double quotes, CR LF, a first line of names, UTF-8. A spreadsheet takes a cell that
begins with `=`, `+`, `-` or `@` for a formula, and names come from people who are not trusted with
the reader's computer, so such a cell gets an apostrophe before it. The wide forms of these signs,
which some take too, are spelled out as other forms are, and so is what can end a line or turn one
around (`tools.showing.letters`). Whoever needs texts exactly as they are takes `--json`.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence

from tools.showing.show import NAMES, printable

_FORMULA = ("=", "+", "-", "@")


def print_csv(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, headed: bool = True
) -> None:
    """Print rows of JSON-shaped dicts on standard output; `headed` by the names of columns."""
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    if headed:
        writer.writerow(columns)
    writer.writerows([csv_cell(row.get(column), column) for column in columns] for row in rows)


def csv_cell(value: object, key: str) -> str:
    """The value of a key of a JSON-shaped dict; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = printable(str(value), is_name=key in NAMES)
    return f"'{text}" if text.startswith(_FORMULA) else text
