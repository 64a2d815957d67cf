"""Records that a pack leaves closed: what is in clear refutes, and what stays its maker's word."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.tools.forged_records import (
    DESTROYED,
    MISSING,
    OPEN,
    key_of_stream,
    recorded,
    start_of,
)
from tests.tools.test_verifier import failing, run
from tools.packing import verifier

LONG_AGO = [("start", 202401), ("read", 202401), ("read", 202402)]
ROTATED = [
    ("start", 202401), ("read", 202401),
    ("start", 202402), ("read", 202402),
    ("start", 202403), ("read", 202403),
    ("start", 202404), ("read", 202404),
]  # fmt: skip
DAY_US = 86_400_000_000


def this_month(back: int = 0) -> int:
    """The month now, or so many before it."""
    now = datetime.now(UTC)
    months = now.year * 12 + now.month - 1 - back
    return months // 12 * 100 + months % 12 + 1


ALLOWED = {
    "all opened": (ROTATED, [OPEN] * 4, (4, 0, 0, 0)),
    "older months erased": (
        [*LONG_AGO, ("erase", 202404), ("read", 202404)],
        [DESTROYED, DESTROYED, OPEN],
        (1, 2, 0, 0),
    ),
    "the older of two months erased": (
        [*LONG_AGO, ("erase", 202404)],
        [DESTROYED, OPEN],
        (1, 1, 0, 0),
    ),
    "in every epoch of the month": (
        [
            ("start", 202401), ("read", 202401), ("start", 202401), ("read", 202401),
            ("erase", 202404), ("read", 202404),
        ],
        [DESTROYED, DESTROYED, OPEN],
        (1, 2, 0, 0),
    ),
    "erased after the pack's end": (LONG_AGO, [DESTROYED, OPEN], (1, 0, 1, 0)),
    "the newest epochs lacking": (ROTATED, [OPEN, OPEN, MISSING, MISSING], (2, 0, 0, 2)),
    "erased and lacking": (
        [*ROTATED, ("erase", 202407)],
        [DESTROYED, OPEN, MISSING, MISSING],
        (1, 1, 0, 2),
    ),
    "the second epoch lacking, for its keys were replaced": (
        [("start", 202401), ("read", 202401), ("replace", 202401), ("start", 202402),
         ("read", 202402)],
        [OPEN, MISSING],
        (1, 0, 0, 1),
    ),
}  # fmt: skip


def held_until(made, told):
    """What an honest maker tells of the commitments: nothing that he could not open."""
    lacked = [
        made.forged.rows[position - 1].epoch
        for position, how in zip(made.keys, told, strict=True)
        if how == MISSING
    ]
    newest = min(lacked, default=2**32)
    return [one for one in made.committed if made.forged.rows[one["position"] - 1].epoch < newest]


@pytest.mark.parametrize("name", ALLOWED)
def test_what_an_honest_maker_left_closed_is_counted_as_his_word(tmp_path, name):
    steps, told, (opened, erased, later, lacking) = ALLOWED[name]
    made = recorded(*steps)
    folder = made.write(tmp_path / "pack", told, held_until(made, told))
    assert failing(folder) == []
    done = json.loads(run(folder, "--json").stdout)
    assert (done["ok"], done["opened"]) == (True, opened)
    assert done["closed"] == {
        "key-destroyed": erased, "key-destroyed-later": later, "key-missing": lacking,
    }  # fmt: skip
    closed = erased + later + lacking
    (access,) = [one["detail"] for one in done["checks"] if one["name"] == "access"]
    word = f"; {closed} closed on the word of whoever made the pack: "
    assert (word in access) == bool(closed)
    told_people = f"access records {closed} are closed, and why is the giver's word.\nThis pack"
    assert (told_people in run(folder).stdout) == bool(closed)


ERASED_OUT_OF_ORDER = "a record is said to be erased, and one before it is not"
OPENED_IN_ERASED = "a record is opened, and one of its month is said to be erased"
TOO_YOUNG = "a record is said to be erased that is too young for it"
ALWAYS_HELD = "keys are said to be lacking that every keyring of the ledger holds"
USED = "keys are said to be lacking that something else was opened with"
NOT_THE_NEWEST = "keys are said to be lacking, and those of that epoch or a later one not"
REFUTED = {
    "one of a month erased, the others before it not": (
        [("start", 202401), ("read", 202401), ("read", 202401), ("read", 202401)],
        [OPEN, DESTROYED, OPEN],
        (ERASED_OUT_OF_ORDER, 3),
    ),
    "one of a month erased, the others behind it not": (
        [("start", 202401), ("read", 202401), ("read", 202401)],
        [DESTROYED, OPEN],
        (OPENED_IN_ERASED, 3),
    ),
    "the same though the log tells of an erasure": (
        [("start", 202401), ("read", 202401), ("read", 202401), ("erase", 202404)],
        [DESTROYED, OPEN],
        (OPENED_IN_ERASED, 3),
    ),
    "one epoch of a month erased, the other not": (
        [("start", 202401), ("read", 202401), ("start", 202401), ("read", 202401)],
        [DESTROYED, OPEN],
        (OPENED_IN_ERASED, 4),
    ),
    "a month erased, an older one not": (
        [*LONG_AGO, ("erase", 202404)],
        [OPEN, DESTROYED],
        (ERASED_OUT_OF_ORDER, 3),
    ),
    "the last month erased": (
        [("start", this_month(1)), ("read", this_month(1))],
        [DESTROYED],
        (TOO_YOUNG, None),
    ),
    "a month erased that was too young for the only erasure, and is": (
        [
            ("start", 202401), ("read", 202401), ("erase", this_month(1)),
            ("read", this_month(1)),
        ],
        [DESTROYED, DESTROYED],
        (TOO_YOUNG, None),
    ),
    "the first epoch lacking": (
        [("start", 202401), ("read", 202401)],
        [MISSING],
        (ALWAYS_HELD, 2),
    ),
    "the second epoch lacking": (
        [("start", 202401), ("start", 202402), ("read", 202402)],
        [MISSING],
        (ALWAYS_HELD, 3),
    ),
    "one record of an epoch lacking": (
        [*ROTATED, ("read", 202404)],
        [OPEN, OPEN, OPEN, OPEN, MISSING],
        (USED, 9),
    ),
    "one record of an epoch not lacking": (
        [*ROTATED, ("read", 202404)],
        [OPEN, OPEN, OPEN, MISSING, OPEN],
        (NOT_THE_NEWEST, 9),
    ),
    "an epoch in the middle lacking": (
        ROTATED, [OPEN, OPEN, MISSING, OPEN], (NOT_THE_NEWEST, 8),
    ),
    "an epoch lacking, a later one erased": (
        ROTATED, [OPEN, OPEN, MISSING, DESTROYED], (NOT_THE_NEWEST, 8),
    ),
    "an epoch erased and lacking": (
        [*ROTATED, ("read", 202404)],
        [DESTROYED, DESTROYED, DESTROYED, DESTROYED, MISSING],
        (USED, 9),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUTED)
def test_what_is_in_clear_refutes_what_a_record_is_closed_for(tmp_path, name):
    """The manifest fits, and so do the commitments as far as they can."""
    steps, told, (detail, position) = REFUTED[name]
    made = recorded(*steps)
    listed = made.committed
    if detail == NOT_THE_NEWEST or (detail == USED and told[-1] == MISSING):
        first = made.forged.rows[list(made.keys)[told.index(MISSING)] - 1].epoch
        listed = [one for one in listed if made.forged.rows[one["position"] - 1].epoch < first]
    folder = made.write(tmp_path / "pack", told, listed)
    assert ("access", detail, position) in failing(folder)
    assert run(folder).returncode == 8


@pytest.mark.parametrize("is_told", [False, True])
def test_no_epoch_is_lacking_of_which_a_row_was_opened_for_its_commitments(tmp_path, is_told):
    """The start of the fourth epoch is sealed in the third, of which each record stays closed."""
    made, told = recorded(*ROTATED), [OPEN, OPEN, MISSING, MISSING]
    listed = made.committed if is_told else held_until(made, told)
    folder = made.write(tmp_path / "pack", told, listed)
    assert failing(folder) == [("commitments", NOT_THE_NEWEST, 7)] * is_told


def test_the_one_record_that_matters_cannot_be_closed(tmp_path):
    """Each of a log's records, closed for each reason, while the others are opened."""
    made = recorded(*ROTATED, ("read", 202404), ("read", 202405), ("read", 202405))
    for at in range(len(made.keys)):
        for why in (DESTROYED, MISSING):
            told = [OPEN] * len(made.keys)
            told[at] = why
            folder = made.write(tmp_path / f"{at} {why}", told)
            oldest = (at, why) == (0, DESTROYED)
            assert (failing(folder) == []) == oldest, (at, why)


def test_an_erasure_reaches_months_that_ended_31_days_before_it(tmp_path):
    """Whatever the policy: so long records are kept at least."""
    young = [("start", 202401), ("read", 202401), ("erase", 202403)]  # on the 1st of March
    made = recorded(*young)
    at = made.forged.rows[-1].recorded_at
    for days, within in ((0, 0), (1, 0), (2, 1)):
        for row in (3, 4):
            made.forged.alter(row, recorded_at=at + days * DAY_US + row)
        report = verifier.verify(made.write(tmp_path / str(days), [DESTROYED]))
        assert report.ok
        assert report.facts["closed"]["key-destroyed"] == within, days


def test_an_erasure_is_told_by_two_rows_of_the_keyrings_stream(tmp_path):
    made = recorded(*LONG_AGO, ("erase", 202404))
    made.forged.alter(4, topic="keys.destroyed")
    report = verifier.verify(made.write(tmp_path / "pack", [DESTROYED, DESTROYED]))
    assert report.facts["closed"]["key-destroyed-later"] == 2


def test_how_old_a_month_is_goes_by_the_clock_of_who_verifies(tmp_path):
    """And by the log's last row, where that clock is behind it."""
    folder = recorded(*LONG_AGO).write(tmp_path / "pack", [DESTROYED, DESTROYED])
    ends = start_of(202403)
    for now_us, holds in ((ends, False), (ends + 30 * DAY_US, False), (ends + 31 * DAY_US, True)):
        report = verifier.verify(folder, now_us=now_us)
        assert report.ok == holds, now_us
    later = recorded(*LONG_AGO, ("other", 202405)).write(tmp_path / "later", [DESTROYED] * 2)
    assert verifier.verify(later, now_us=0).ok


def test_records_of_one_stream_and_month_open_with_one_key(tmp_path):
    """Whoever wrote a row for two keys would have to have written all of its stream so."""
    made = recorded(("start", 202401), ("read", 202401), ("read", 202401), ("start", 202401))
    made.add("read", 202401)
    assert failing(made.write(tmp_path / "sound", [OPEN] * 3)) == []
    made.read_with(202401, key_of_stream(b"another"))
    found = failing(made.write(tmp_path / "pack", [OPEN] * 4))
    assert found == [("access", "records of one stream and month are opened with two keys", 6)]


def without(position):
    return lambda listed: [one for one in listed if one["position"] != position]


def altered(at, **changes):
    return lambda listed: [
        {**one, **(changes if place == at else {})} for place, one in enumerate(listed)
    ]


COMMITTED = {
    "none at all": (lambda _: [], ALWAYS_HELD, 1),
    "not of the first epoch": (without(1), ALWAYS_HELD, 1),
    "not of an epoch whose records are opened": (
        without(7), USED, 7,
    ),
    "of a row that starts nothing": (
        lambda listed: [*listed, {**listed[0], "position": 2}],
        "commitments.json tells of an epoch where the log starts none", 2,
    ),
    "beyond the log": (
        lambda listed: [*listed, {**listed[0], "position": 99}],
        "commitments.json tells of an epoch where the log starts none", 99,
    ),
    "of another epoch": (
        altered(2, epoch=9), "commitments.json tells of other epochs than the log's row does", 3,
    ),
    "of one epoch only": (
        lambda listed: listed[:1] + listed[2:],
        "commitments.json tells of other epochs than the log's row does", 1,
    ),
    "twice": (
        lambda listed: [*listed, listed[0]],
        "commitments.json tells of other epochs than the log's row does", 1,
    ),
    "to other keys than promised": (
        altered(2, state="00" * 32), "commitments.json tells two things of one epoch's keys", 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMITTED)
def test_commitments_are_told_of_the_rows_that_make_them(tmp_path, name):
    """Their hashes prove nothing; where they lie and of what is in clear."""
    change, detail, position = COMMITTED[name]
    made = recorded(*ROTATED)
    found = failing(made.write(tmp_path / "pack", [OPEN] * 4, change(made.committed)))
    assert ("commitments", detail, position) in found
