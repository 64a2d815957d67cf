"""Rows that are printed as they come, however many there will be: as JSON, as CSV, or as a table.

Each takes pages of rows of JSON-shaped dicts, holds none of them, and is told when the last one was
there. What is printed is what `tools.showing.show` and `tools.showing.csv_table` print of all rows
at once; only on a terminal each page is a table by itself, whose columns are as wide as that page
needs. An empty page prints nothing, since an error may yet take the place of an empty answer. Where
rows end with an error, the JSON lacks its end: nobody takes a part for the whole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import msgspec

from tools.showing.csv_table import print_csv
from tools.showing.show import json_items, print_table

PAGE_ROWS = 10_000
"""So many rows are gathered, recorded and printed together; those before them may be held still."""
Rows = Sequence[Mapping[str, object]]


def in_pages(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows of an answer, `PAGE_ROWS` at a time; at least one page, which may be empty."""
    left = iter(rows)
    page = list(islice(left, PAGE_ROWS))
    yield page
    while len(page) == PAGE_ROWS and (page := list(islice(left, PAGE_ROWS))):
        yield page


class Listing(Protocol):
    """Somewhere rows are printed to."""

    def put(self, rows: Rows) -> None:
        """Print one more page."""
        ...

    def end(self) -> None:
        """Print what follows the last page."""
        ...


class JsonListing(msgspec.Struct):
    """One JSON list."""

    _is_begun: bool = False

    def put(self, rows: Rows) -> None:
        """Print one more page."""
        if rows:
            sys.stdout.write("," if self._is_begun else "[")
            self._is_begun = True
            sys.stdout.write(json_items(rows))

    def end(self) -> None:
        """Print what follows the last page."""
        sys.stdout.write("\n]\n" if self._is_begun else "[]\n")


class CsvListing(msgspec.Struct):
    """One file of CSV, with the names of columns in its first line."""

    columns: Sequence[str]
    _is_begun: bool = False

    def put(self, rows: Rows) -> None:
        """Print one more page."""
        if not rows:
            return
        print_csv(rows, self.columns, headed=not self._is_begun)
        self._is_begun = True

    def end(self) -> None:
        """Print what follows the last page."""
        if not self._is_begun:
            print_csv((), self.columns)


class TableListing(msgspec.Struct):
    """A table for people."""

    columns: Mapping[str, str]
    """The heading of each key that is shown."""
    _is_begun: bool = False

    def put(self, rows: Rows) -> None:
        """Print one more page."""
        if not rows:
            return
        print_table(rows, self.columns, headed=not self._is_begun)
        self._is_begun = True

    def end(self) -> None:
        """Print what follows the last page."""
        if not self._is_begun:
            print_table((), self.columns)
