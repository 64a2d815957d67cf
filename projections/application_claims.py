"""Which claims can reach which application: its members, its redeemers, or whoever owns.

place (key), claim: digests | stream of the application | position

So that what one person can read is asked of the applications that have to do with them, however
many others there are. A row says only that it is worth while to open the application; what it
allows is for the rules to say. One that is open to every owner has a row for `EVERY_OWNER`.
Administrators read nothing and have none.

An answer of many lines opens as many applications. Each line names one, and no column holds its ID;
a sealed copy here would have to be opened just the same, and held against the newest row of the
stream besides, since whoever writes to the database can put an older copy back (decision 32).

Claims have digests of a kind of their own here, other than those of callers and owners: whoever
sees the tables sees how many claims an application names and which others name the same, and not
who of those that read they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType

from ledger.aggregates.application import (
    Application,
    ApplicationClosed,
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationGranted,
    ApplicationOpened,
    ApplicationRevoked,
)
from ledger.aggregates.recorded import Recorded
from ledger.claims import OWNER_TYPES, Claim, parse_claim
from ledger.log.upserts import Columns
from projections.digests import Digests
from projections.view import PUT, Operation

EVERY_OWNER = ""
"""Stands for whoever has something set there; the text of no claim."""
_MEMBER, _REDEEMER = "member", "ticket-redeemer"
_REACHING = frozenset({_MEMBER, _REDEEMER})
_TAKE = "DELETE FROM {table} WHERE place = ?"
_TAKE_ALL = "DELETE FROM {table} WHERE stream = ?"


class ApplicationClaims:
    """The fold of `application.*` by claim."""

    name = "application_claims"
    fold_version = 1
    columns: Columns = MappingProxyType(
        {
            "place": bytes,
            "claim": bytes,
            "stream": bytes,
            "position": int,
        }
    )
    prefixes: tuple[str, ...] = ("application.",)
    migration = "0003_application_claims.sql"
    needs_no_index = False

    def fold(self, recorded: Recorded, digests: Digests) -> Iterable[Operation]:
        """Whoever is named gets a row, and loses it with the naming or the application."""
        match recorded.event:
            case ApplicationCreated() as created:
                for role, named in (
                    (_MEMBER, created.members),
                    (_REDEEMER, created.ticket_redeemers),
                    (_MEMBER, (EVERY_OWNER,) if created.open else ()),
                ):
                    yield from (_put(recorded, digests, role, _compared(one)) for one in named)
            case ApplicationGranted(role=role, claim=claim) if role in _REACHING:
                yield _put(recorded, digests, role, _compared(claim))
                if role == _MEMBER:  # naming a member closes
                    yield _take(recorded, digests, _MEMBER, EVERY_OWNER)
            case ApplicationRevoked(role=role, claim=claim) if role in _REACHING:
                yield _take(recorded, digests, role, _compared(claim))
            case ApplicationOpened():
                yield _put(recorded, digests, _MEMBER, EVERY_OWNER)
            case ApplicationClosed():
                yield _take(recorded, digests, _MEMBER, EVERY_OWNER)
            case ApplicationDeleted():
                yield _TAKE_ALL, (recorded.stream,)


def asked_by(claims: Sequence[Claim]) -> Iterator[str]:
    """Under which texts a caller who presents these claims, their own first, may be named."""
    if claims[0].type in OWNER_TYPES:
        yield EVERY_OWNER
    yield from dict.fromkeys(map(str, claims))


def is_named(state: Application | None, text: str) -> bool:
    """Whether the application is there and reaches whoever is named so."""
    if state is None or state.deleted:
        return False
    if text == EVERY_OWNER:
        return state.open
    claim = parse_claim(text)
    return claim in state.members or claim in state.ticket_redeemers


def _compared(text: str) -> str:
    """A claim's text in the form in which the application's fold compares it."""
    return text and str(parse_claim(text))


def _put(recorded: Recorded, digests: Digests, role: str, text: str) -> Operation:
    place = digests.naming(recorded.stream, role, text)
    return PUT, (place, digests.named(text), recorded.stream, recorded.position)


def _take(recorded: Recorded, digests: Digests, role: str, text: str) -> Operation:
    return _TAKE, (digests.naming(recorded.stream, role, text),)
