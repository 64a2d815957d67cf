"""Of when a question is: moments, places and ranges of history, taken from people's words.

One rule holds for all: nobody is told of a time that has not come (`future-time`) or of a position
that the log does not reach (`beyond-the-log`), a range must not end before it begins
(`reversed-range`), and one moment is named once (`two-moments`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import InvalidInput, NotFound
from projections.stretch import Stretch
from tools.when import parse_moment, parse_place

if TYPE_CHECKING:
    from tools.wiring import Session


def place_of(session: Session, text: str) -> tuple[int | None, int | None]:
    """A place in history as (position, None) or (None, moment)."""
    now = session.now()
    position, moment = parse_place(text, now)
    if position is not None:
        return require_reached(session, position), None
    assert moment is not None
    return None, _require_come(moment, now)


def past_place(
    session: Session, at: str | None, position: int | None
) -> tuple[int | None, int | None]:
    """The same for `--at` and `--position`; neither is now, as (None, None)."""
    require_one_moment(at, position, "--at")
    if position is not None:
        return require_reached(session, position), None
    return None, None if at is None else past_moment(session, at)


def past_moment(session: Session, text: str) -> int:
    """A moment of before, microseconds UTC."""
    now = session.now()
    return _require_come(parse_moment(text, now), now)


def stretch_of(
    session: Session,
    since: str | None,
    until: str | None,
    position: int | None,
    option: str = "--until",
) -> Stretch:
    """The range that `--since`, `--until` and `--position` name; `option` is the second's name."""
    require_one_moment(until, position, option)
    begin = None if since is None else past_moment(session, since)
    end = None if until is None else past_moment(session, until)
    if position is not None:
        require_reached(session, position)
    stretch = Stretch(begin, end, position)
    if begin is not None and end is not None and begin > end:
        raise InvalidInput("reversed-range", f"--since lies after {option}.")
    if begin is not None and position is not None:
        with session.store.reading() as reading:
            if stretch.before(reading) >= position:
                raise InvalidInput("reversed-range", "--since lies after --position.")
    return stretch


def require_one_moment(time: object, position: object, option: str) -> None:
    """`two-moments` where a time and a position are both given."""
    if time is not None and position is not None:
        raise InvalidInput("two-moments", f"{option} and --position name two moments.")


def require_reached(session: Session, position: int) -> int:
    """The position; `beyond-the-log` past its end."""
    if position > session.ledger.status().position:
        raise NotFound(
            "beyond-the-log",
            "The log does not reach that position yet.",
            hint="`credledger status` shows the newest position.",
        )
    return position


def require_cursor(session: Session, stretch: Stretch, after: int | None) -> None:
    """Refuse a position behind which no answer about this range can go on.

    `cursor-outside` where it lies outside of the range, `beyond-the-log` past the end of the log. A
    cursor from another question about the same range is a place in the log like any other.
    """
    if after is None:
        return
    require_reached(session, after)
    with session.store.reading() as reading:
        is_in_it = stretch.before(reading) < after <= stretch.last(reading)
    if not is_in_it:
        raise InvalidInput(
            "cursor-outside",
            "The position of --after lies outside of the range that is asked about.",
            hint="Ask with the range that the page was of; spans such as 7d move on with the clock,"
            " so name its times.",
        )


def _require_come(moment: int, now: int) -> int:
    if moment > now:
        raise InvalidInput(
            "future-time", "That moment has not come yet, so nobody knows what holds then."
        )
    return moment
