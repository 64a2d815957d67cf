"""Anchors in the report of `log verify`: what each says, how far the log is proven, the tail."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from ledger.anchors.comparing import Judgement, Kept, Trusted, judge, walked
from ledger.log.marks import Mark
from ledger.log.store import LogSource
from ledger.log.verification import Verification
from tools.when import to_text


def judged(
    source: LogSource,
    found: Verification,
    kept: Sequence[Kept],
    trusted: Trusted,
    *,
    may_be_older: bool,
) -> list[Judgement]:
    """Each anchor held against a log that was walked over; none where it names no ledger."""
    log = walked(source, found, may_be_older=may_be_older)
    if log is None:
        return []
    now_us = time.time_ns() // 1000
    return [judge(one, log, trusted, now_us) for one in kept]


def anchor_documents(judgements: Sequence[Judgement]) -> list[dict[str, object]]:
    """Each anchor as the report's JSON shows it."""
    return [
        {
            "size": one.head.size,
            "root": one.head.root.hex(),
            "counted": one.counted,
            "failed": one.failed,
            "detail": one.detail,
            "signatures": [
                {
                    "kind": word.kind,
                    "name": word.name,
                    "at": None if word.at_us is None else to_text(word.at_us),
                    "verdict": word.verdict,
                }
                for word in one.words
            ],
        }
        for one in judgements
    ]


def newest_counted(judgements: Sequence[Judgement]) -> Judgement | None:
    """The one that proves most; of several at one size the last that was given."""
    counted = [one for one in judgements if one.counted]
    return max(reversed(counted), key=lambda one: one.head.size, default=None)


def anchored_facts(
    judgements: Sequence[Judgement], marks: Mapping[int, Mark], size: int
) -> dict[str, object]:
    """What the report's JSON tells besides `proven_to`, where anchors were given."""
    newest = newest_counted(judgements)
    proven_to = 0 if newest is None else newest.head.size
    until = None if newest is None else to_text(marks[proven_to].recorded_at)
    return {
        "proven_until": until,
        "unanchored_rows": size - proven_to,
        "anchors": anchor_documents(judgements),
    }


def anchor_checks(
    judgements: Sequence[Judgement], marks: Mapping[int, Mark], size: int, *, of_archive: bool
) -> Iterator[tuple[str, bool, str]]:
    """The checks that the report tells, as (name, whether it holds, detail)."""
    yield from _failures(judgements)
    newest = newest_counted(judgements)
    told = sum(one.counted for one in judgements)
    detail = "none counts" if newest is None else f"{told} agree; {_said_by(newest, marks)}"
    yield "anchors", True, detail
    passed_over = [one for one in judgements if not one.counted and one.failed is None]
    if passed_over:
        last = passed_over[-1]
        detail = f"{len(passed_over)}, the last of size {last.head.size}: {last.detail}"
        yield "anchors-not-counted", True, detail
    yield (
        "unanchored-tail",
        True,
        _tail(size, 0 if newest is None else newest.head.size, of_archive),
    )


def _failures(judgements: Sequence[Judgement]) -> Iterator[tuple[str, bool, str]]:
    """One check for each code: the first place tells most, and there may be thousands."""
    failed: dict[str, list[Judgement]] = {}
    for one in judgements:
        if one.failed is not None:
            failed.setdefault(one.failed, []).append(one)
    for code, some in failed.items():
        first = min(some, key=lambda one: one.position or 0)
        more = "" if len(some) == 1 else f", and {len(some) - 1} more"
        detail = f"anchor of size {first.head.size}: {first.detail}{more}"
        yield code, False, f"{detail} (position {first.position})"


def _tail(size: int, proven_to: int, of_archive: bool) -> str:
    if size <= proven_to:
        return "none: the newest anchor is of the last row"
    where = "archive" if of_archive else "store"
    rows = f"rows after {proven_to} that are in no anchor: {size - proven_to}"
    return f"{rows}; nothing outside this {where} would tell if they were taken away"


def _said_by(judgement: Judgement, marks: Mapping[int, Mark]) -> str:
    mark = marks[judgement.head.size]
    told = [
        f"{word.kind} of {word.name} at {to_text(word.at_us)}"
        for word in judgement.believed()
        if word.at_us is not None
    ]
    by = ", ".join(told) or "the log's own signature, kept elsewhere"
    return f"proven to {mark.size}, recorded {to_text(mark.recorded_at)}, by {by}"
