"""Of when a question is: moments, places and ranges of history, taken from people's words.

One rule holds for all: nobody is told of a time that has not come (`future-time`) or of a position
that the log does not reach (`beyond-the-log`), a range must not end before it begins
(`reversed-range`), and one moment is named once (`two-moments`).

A clock that once ran ahead dates all rows after it ahead as well, until it is caught up with. So
the present is the clock's or the newest row's time, whichever is later: `now` leaves nothing out,
and every time that the log shows can be named. A time behind which the log goes on with rows that
are dated ahead is refused (`moment-unclear`): any of them may be older than it is dated. A range
may begin there, for that leaves none of them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.aggregates.tickets import CLOCKS_APART_US
from ledger.errors import InvalidInput, NotFound
from projections.streams import signed_place_at
from projections.stretch import Stretch
from tools.numbers import is_digits
from tools.when import is_now, parse_moment, parse_place

if TYPE_CHECKING:
    from ledger.log.signed_rows import Place
    from tools.wiring import Session


def place_of(session: Session, text: str) -> tuple[int | None, int | None]:
    """A place in history as (position, None) or (None, moment)."""
    if is_digits(text):
        position, _ = parse_place(text, session.now())
        assert position is not None
        return require_reached(session, position), None
    return None, past_moment(session, text)


def past_place(
    session: Session, at: str | None, position: int | None
) -> tuple[int | None, int | None]:
    """The same for `--at` and `--position`; neither is now, as (None, None)."""
    require_one_moment(at, position, "--at")
    if position is not None:
        return require_reached(session, position), None
    return None, None if at is None else past_moment(session, at)


def past_moment(session: Session, text: str) -> int:
    """A moment of before with which something ends, microseconds UTC; `moment-unclear`."""
    now, newest = session.now(), session.ledger.newest_at()
    if is_now(text):
        return max(now, newest)
    moment = _require_come(parse_moment(text, now), max(now, newest))
    if moment <= now and newest > now + CLOCKS_APART_US:
        with session.store.reading() as reading:
            _require_clear(signed_place_at(reading, session.mapper, moment), moment, now)
    return moment


def stretch_of(
    session: Session,
    since: str | None,
    until: str | None,
    position: int | None,
    option: str = "--until",
) -> Stretch:
    """The range that `--since`, `--until` and `--position` name; `option` is the second's name."""
    require_one_moment(until, position, option)
    begin = None if since is None else _beginning(session, since)
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


def _beginning(session: Session, text: str) -> int:
    """A moment of before with which a range begins, microseconds UTC."""
    now = session.now()
    return _require_come(parse_moment(text, now), max(now, session.ledger.newest_at()))


def _require_clear(place: Place, moment: int, now: int) -> None:
    if place.before is not None and place.before.recorded_at == moment:
        return  # what lies behind a row is younger than it, whatever its date
    if place.behind is not None and place.behind.recorded_at > now + CLOCKS_APART_US:
        raise InvalidInput(
            "moment-unclear",
            f"The rows after position {place.position} are dated ahead of the clock; some may be older than that moment.",
            hint="Name a position instead: `credledger log events` lists them. Check the clock.",
        )


def _require_come(moment: int, now: int) -> int:
    if moment > now:
        raise InvalidInput(
            "future-time", "That moment has not come yet, so nobody knows what holds then."
        )
    return moment
