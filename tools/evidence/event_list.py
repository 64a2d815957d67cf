"""Listing the log's rows without any key: what is in clear of each, unchecked.

They are listed as they lie there, with whatever gaps somebody made, so that damage can be looked
at; whether they are the ones that were recorded is for `log verify` to say.
"""

from __future__ import annotations

from typing import Any

from ledger.errors import Tampered
from tools.settings import Settings
from tools.stores import existing_store, required_ledger
from tools.when import to_text

_PAGE_ROWS = 1000


def event_rows(settings: Settings, after: int, limit: int | None) -> list[dict[str, Any]]:
    """What is in clear of each row."""
    store = existing_store(settings)
    rows: list[dict[str, Any]] = []
    try:
        required_ledger(store)
        while limit is None or len(rows) < limit:
            wanted = _PAGE_ROWS if limit is None else min(_PAGE_ROWS, limit - len(rows))
            with store.reading() as reading:
                page = reading.rows_after(after, wanted)
            for row in page:
                if not row.is_sound:
                    raise Tampered(
                        "altered-row",
                        "A row cannot be one the ledger wrote.",
                        hint="Run `credledger log verify`.",
                    )
            rows.extend(
                {
                    "position": row.position,
                    "stream": row.stream.hex(),
                    "version": row.version,
                    "topic": row.topic,
                    "epoch": row.epoch,
                    "recorded_at": to_text(row.recorded_at),
                }
                for row in page
            )
            if len(page) < wanted:
                break
            after = page[-1].position
    finally:
        store.close()
    return rows
