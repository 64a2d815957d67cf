"""What `audit who-can` asks of the read side: of now, or of any moment.

Now is asked of the log's own policy (applications and rights as a read would find them) and of the
view of what is set. A moment is folded from the log up to there, every row checked into a signed
head on the way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ledger.claims import Claim, parse_claim, parse_owner
from ledger.errors import InvalidInput, NotFound
from ledger.identifiers import application_key
from ledger.policy import Caller
from projections.moment import past_at
from projections.who_can import Way, every_owner_may, way_by_ticket, way_of, ways
from tools.questions import past_place
from tools.show import progress

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


@dataclass(frozen=True, slots=True)
class Wanted:
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
        if self.at is not None and self.position is not None:
            raise InvalidInput("two-moments", "--at and --position name two moments.")

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


def who_can(session: Session, wanted: Wanted) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows, and the IDs of those applications asked about in which every owner may read."""
    owner = None
    if wanted.owner is not None:
        owner = session.ledger.canonical(parse_owner(wanted.owner))
    facts = _facts(session, wanted)
    if wanted.application is not None and owner is not None and facts.applications[0].is_group:
        raise InvalidInput(
            "owner-not-used", "A group application has one shared set and no owners."
        )
    if wanted.user is not None:
        claims = _presented(session, wanted)
        found = list(_of_person(facts, Caller(claims[0], tuple(claims[1:])), owner))
        return [way.as_document() for way in found], []
    rows = [
        way.as_document()
        for state in facts.applications
        for way in ways(state, facts.roles, facts.owners_in(state), owner)
    ]
    is_open = [one.application for one in facts.applications if every_owner_may(one, facts.roles)]
    return rows, [] if owner else is_open


def open_sentence(applications: list[str]) -> str | None:
    """What must be said besides the rows; None where nothing must."""
    if not applications:
        return None
    named, further = ", ".join(applications[:_NAMED_MAX]), len(applications) - _NAMED_MAX
    if further > 0:
        named += f" and {further} more"
    verb = "is" if len(applications) == 1 else "are"
    return (
        f"{named} {verb} open: every user and service may read their own credentials there;"
        " listed are those who have some."
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the rules rest on at one moment."""

    applications: Sequence[Application]
    """Those that are asked about."""
    roles: Roles
    owners: Mapping[str, Collection[str | None]]
    """Who has something set in the application of a key, as far as the question needs it."""

    def owners_in(self, state: Application) -> Collection[str | None]:
        """Who has something set there."""
        return self.owners.get(state.key, ())


def _of_person(facts: _Facts, caller: Caller, owner: Claim | None) -> Iterator[Way]:
    for state in facts.applications:
        owners = facts.owners_in(state)
        way = way_of(state, facts.roles, caller, owners)
        if way is not None and owner in {None, way.owner}:
            yield way
        by_ticket = way_by_ticket(state, facts.roles, caller, owners, owner)
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
    applications = [past.applications[key] for key in sorted(past.applications)]
    return _Facts(applications, past.roles, owners)


def _now(session: Session, wanted: Wanted) -> _Facts:
    """The present: policy as a read would find it, and what is set by its view."""
    roles = session.ledger.roles()
    if wanted.application is not None:
        state = session.ledger.application(wanted.application)
        return _Facts([state], roles, {state.key: session.views.owners(state)})
    if wanted.user is not None:
        presented = _presented(session, wanted)
        applications = session.views.reachable(presented)
        return _Facts(applications, roles, _theirs(session, presented, applications))
    applications = session.views.applications()
    owners = defaultdict[str, set[str | None]](set)
    for row in session.views.credentials():
        owners[application_key(row["application"])].add(row["owner"])
    return _Facts(applications, roles, owners)


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
