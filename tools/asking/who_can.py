"""What `audit who-can` asks of the read side: of now, or of any moment.

Now is asked of the log's own policy (applications and rights as a read would find them) and of the
view of what is set. A moment is folded from the log up to there, every row checked into a signed
head on the way.

The answer is given page by page, since it may be as long as the ledger is large: whoever prints it
records each page before it. Of now, no more is held than the page, what `projections.matrix` says,
and the rows of the application at hand; of a moment, besides, what stood then. For one person, who
has a line or two in an application, it is the applications that they reach.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ledger.claims import Claim, parse_claim, parse_owner
from ledger.errors import InvalidInput, NotFound
from ledger.identifiers import application_key
from ledger.policy import Caller
from projections.moment import past_at
from projections.who_can import Way, every_owner_may, way_by_ticket, way_of, ways
from tools.asking.moments import past_place, require_one_moment
from tools.showing.listing import PAGE_ROWS
from tools.showing.show import progress

if TYPE_CHECKING:
    from ledger.aggregates.application import Application
    from ledger.aggregates.roles import Roles
    from tools.wiring import Session

COLUMNS = {
    "application": "Application",
    "claim": "Claim",
    "through": "Through",
    "restricted_through": "Restricted through",
    "credential_owner": "Owner",
    "set": "Set",
    "by_ticket": "By ticket",
}
_NAMED_MAX = 5


class Wanted(msgspec.Struct, frozen=True):
    """Which part of the whole matrix is asked for, and of when."""

    application: str | None = None
    user: str | None = None
    further: tuple[str, ...] = ()
    """What the user presents besides, such as groups."""
    everything: bool = False
    owner: str | None = None
    at: str | None = None
    position: int | None = None

    def __post_init__(self) -> None:
        """Raise `who-can-what` unless exactly one thing is asked for."""
        if (self.application, self.user, self.everything or None).count(None) != 2:
            raise InvalidInput(
                "who-can-what",
                "Ask about one application, about one person, or about all.",
                hint="Give an ID, or --user CLAIM, or --all.",
            )
        if self.further and self.user is None:
            raise InvalidInput("with-without-user", "--with needs --user.")
        require_one_moment(self.at, self.position, "--at")

    def as_filter(self) -> dict[str, object]:
        """What is recorded of the question."""
        said = {
            "app": self.application,
            "user": self.user,
            "with": list(self.further) or None,
            "all": self.everything or None,
            "owner": self.owner,
            "at": self.at,
            "position": self.position,
        }
        return {name: value for name, value in said.items() if value is not None}


class Page(NamedTuple):
    """Rows that are answered together."""

    rows: list[dict[str, Any]]
    after: str | None
    """The ID of the application behind which they begin; None for the first."""


class OpenApplications(msgspec.Struct):
    """Applications met on the way in which every owner may read."""

    _named: list[str] = msgspec.field(default_factory=list)
    _count: int = 0

    def add(self, application: str) -> None:
        """One more."""
        self._count += 1
        if len(self._named) < _NAMED_MAX:
            self._named.append(application)

    def sentence(self) -> str | None:
        """What must be said besides the rows; None where nothing must."""
        if not self._count:
            return None
        named, further = ", ".join(self._named), self._count - len(self._named)
        if further:
            named += f" and {further} more"
        verb = "is" if self._count == 1 else "are"
        return (
            f"{named} {verb} open: every user and service may read their own credentials there;"
            " listed are those who have some."
        )


def pages(session: Session, wanted: Wanted, found_open: OpenApplications) -> Iterator[Page]:
    """The answer page by page, in order of applications; at least one page, which may be empty.

    A page ends with the application that fills it up to `PAGE_ROWS`: no application's rows are
    parted. Open applications that were asked about are told to `found_open`, but where the question
    is about one owner or person.
    """
    rows: list[dict[str, Any]] = []
    after = last = None
    for application, found in _by_application(session, wanted, found_open):
        rows += [way.as_document() for way in found]
        last = application.application
        if len(rows) >= PAGE_ROWS:
            yield Page(rows, after)
            rows, after = [], last
    if rows or after is None:
        yield Page(rows, after)


def _by_application(
    session: Session, wanted: Wanted, found_open: OpenApplications
) -> Iterator[tuple[Application, Iterable[Way]]]:
    """The ways to read in each application that is asked about."""
    owner = None
    if wanted.owner is not None:
        owner = session.ledger.canonical(parse_owner(wanted.owner))
    facts = _facts(session, wanted)
    caller = None
    if wanted.user is not None:
        own, *further = _presented(session, wanted)
        caller = Caller(own, tuple(further))
    for state, owners in facts.cells:
        if caller is not None:
            yield state, _of_person(state, facts.roles, owners, caller, owner)
            continue
        if wanted.application is not None and owner is not None and state.is_group:
            raise InvalidInput(
                "owner-not-used", "A group application has one shared set and no owners."
            )
        yield state, ways(state, facts.roles, owners, owner)
        if owner is None and every_owner_may(state, facts.roles):
            found_open.add(state.application)


class _Facts(NamedTuple):
    """What the rules rest on at one moment."""

    roles: Roles
    cells: Iterable[tuple[Application, Collection[str | None]]]
    """The applications that are asked about, in order of IDs, and who has something set in each,
    as far as the question needs it."""


def _of_person(
    state: Application,
    roles: Roles,
    owners: Collection[str | None],
    caller: Caller,
    owner: Claim | None,
) -> Iterator[Way]:
    way = way_of(state, roles, caller, owners)
    if way is not None and owner in {None, way.owner}:
        yield way
    by_ticket = way_by_ticket(state, roles, caller, owners, owner)
    if by_ticket is not None:
        yield by_ticket


def _presented(session: Session, wanted: Wanted) -> list[Claim]:
    """The claims of the person asked about, their own first, as they are compared."""
    texts = (wanted.user or "", *wanted.further)
    return [session.ledger.canonical(parse_claim(text)) for text in texts]


def _facts(session: Session, wanted: Wanted) -> _Facts:
    if wanted.at is None and wanted.position is None:
        return _now(session, wanted)
    position, moment = past_place(session, wanted.at, wanted.position)
    stream = None
    if wanted.application is not None:
        stream = session.streams.application(application_key(wanted.application))
    with progress("Replaying") as show:
        past = past_at(
            session.store,
            session.mapper,
            position=position,
            at=moment,
            progress=show,
            application=stream,
        )
    if stream is not None and not past.applications:
        raise NotFound("no-such-application", "There was no target application of this ID then.")
    owners = defaultdict[str, set[str | None]](set)
    for mapping, state in past.mappings:
        owners[state.key].add(mapping.owner)
    return _Facts(
        past.roles,
        [(past.applications[key], owners.get(key, ())) for key in sorted(past.applications)],
    )


def _now(session: Session, wanted: Wanted) -> _Facts:
    """The present: policy as a read would find it, and what is set by its view."""
    roles = session.ledger.roles()
    if wanted.application is not None:
        state = session.ledger.application(wanted.application)
        return _Facts(roles, [(state, session.views.owners(state))])
    if wanted.user is not None:
        presented = _presented(session, wanted)
        applications = session.views.reachable(presented)
        theirs = _theirs(session, presented, applications)
        return _Facts(roles, [(state, theirs.get(state.key, ())) for state in applications])
    return _Facts(roles, session.views.matrix())


def _theirs(
    session: Session, presented: Sequence[Claim], applications: Sequence[Application]
) -> Mapping[str, Collection[str | None]]:
    """What of one person's own is set where, and what of the groups that they are members by.

    Where they redeem tickets, what anybody has.
    """
    claims = set(presented)
    groups = [one for one in applications if one.is_group and not claims.isdisjoint(one.members)]
    found: dict[str, set[str | None]] = {
        key: {None} for key in session.views.set_for_groups(groups)
    }
    own = [one for one in applications if not one.is_group]
    found |= {key: {str(presented[0])} for key in session.views.set_for_owner(presented[0], own)}
    for state in applications:
        if not claims.isdisjoint(state.ticket_redeemers):
            found[state.key] = session.views.owners(state)
    return found
