"""Whose tokens are trusted, and the key pair that they may be encrypted to.

Whoever names an issuer lets it speak for everybody of that issuer's, and for everybody at all if it
speaks for `local`. So only an operator may, as the slot itself: no right implies it.

A new pair of the service is made like a slot: the keyring's file first and the log second, under
one hold of the file's lock. Killed in between, the file has a pair that was never published; the
next one to be made takes its place, and the one that is published stays beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from ledger.aggregates import issuers as trusted
from ledger.aggregates.event import Event
from ledger.aggregates.issuers import Issuers, Settings
from ledger.aggregates.presented import PresentedToken
from ledger.aggregates.service_pairs import (
    PublishedPair,
    PublishedPairs,
    ServiceKeyMade,
    fold_service_pairs,
)
from ledger.aggregates.token_use import TokenUsed
from ledger.errors import NEEDS_OPERATOR, Refused
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.policy import Caller
from ledger.sealing.keyring import GivenUp
from ledger.sealing.service_keys import ServicePair, new_pair
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk, not_allowed
from ledger.usecases.held_keys import HeldKeys
from ledger.usecases.outcomes import Outcome
from ledger.usecases.slots import require_next_epoch

Change = Callable[[Issuers], tuple[Event, ...]]


class ChangeIssuers(msgspec.Struct, frozen=True):
    """An issuer added, changed or removed."""

    desk: Desk
    acting: Acting
    change: Change

    def decide(self, transaction: Transaction) -> Outcome:
        """Append the change; nothing where it is so already."""
        _require_operator(self.desk, self.acting)
        stream = self.desk.streams.issuers()
        events = self.change(self.desk.issuers(transaction))
        position = transaction.next_position - 1
        for happened in events:
            actor = self.desk.actor(transaction, self.acting)
            position = transaction.append(stream, happened, actor, self.acting.reason).position
        return Outcome(None, bool(events), transaction.version(stream), position)


class RecordServicePair(msgspec.Struct, frozen=True):
    """A new pair of the service's, with what is published of it."""

    desk: Desk
    acting: Acting
    made: ServiceKeyMade

    def decide(self, transaction: Transaction) -> int:
        """Append it; the position."""
        actor = self.desk.actor(transaction, self.acting)
        stream = self.desk.streams.keyring()
        return transaction.append(stream, self.made, actor, self.acting.reason).position


class UseToken(msgspec.Struct, frozen=True):
    """The one use of a token that is good for one."""

    desk: Desk
    caller: Caller

    def decide(self, transaction: Transaction) -> bool:
        """Append it if it is the first; whoever comes second, in any process, is told so."""
        if self.is_used(transaction):
            return False
        token = self._token
        used = TokenUsed(token.issuer, token.id, str(self.caller.claim), token.expires_at)
        transaction.append(self._stream, used, self.desk.author(transaction, self.caller))
        return True

    def is_used(self, transaction: Transaction) -> bool:
        """Whether it was used before."""
        return transaction.next_version(self._stream, TokenUsed.TOPIC) > 1

    @property
    def _token(self) -> PresentedToken:
        assert self.caller.token is not None
        return self.caller.token

    @property
    def _stream(self) -> bytes:
        return self.desk.streams.token(self._token.issuer, self._token.id)


class RecordRefused(msgspec.Struct, frozen=True):
    """Tokens that were refused."""

    desk: Desk
    events: tuple[Event, ...]

    def decide(self, transaction: Transaction) -> None:
        """Append them."""
        for happened in self.events:
            transaction.append_access(happened, self.desk.slot, "")


class TrustKeeper:
    """The issuers that one ledger trusts, and what becomes of their tokens."""

    def __init__(
        self, desk: Desk, writer: Writer, held: HeldKeys, clock: Callable[[], int]
    ) -> None:
        self._desk = desk
        self._writer = writer
        self._held = held
        self._clock = clock

    def issuers(self) -> Issuers:
        """Whose tokens are trusted now."""
        return self._writer.look(self._desk.issuers)

    def add(self, acting: Acting, issuer: str, settings: Settings) -> Outcome:
        """One more; `issuer-exists`, `local-spoken-for`, or what is wrong with the settings."""
        return self._change(acting, lambda state: trusted.add(state, issuer, settings))

    def change(
        self, acting: Acting, issuer: str, settings: Callable[[Settings], Settings]
    ) -> Outcome:
        """Other settings, made of the present ones; `no-such-issuer` and errors as `add`."""
        return self._change(
            acting,
            lambda state: trusted.change(state, issuer, settings(state.get(issuer).settings)),
        )

    def remove(self, acting: Acting, issuer: str) -> Outcome:
        """One less; `no-such-issuer`. From that position on none of its tokens counts."""
        return self._change(acting, lambda state: trusted.remove(state, issuer))

    def service_pairs(self) -> tuple[ServicePair, ...]:
        """The service's pairs, newest last, as the keyring's file has them now."""
        self._held.renew_if_changed()
        return self._held.unlocked.service

    def published(self) -> PublishedPairs:
        """The pairs that the log tells of."""
        return self._writer.look(self._published)

    def new_service_pair(self, acting: Acting) -> PublishedPair:
        """A new pair to be published; tokens for the one before are opened still.

        `operator-needed`, and `keyring-not-newest` where the file lacks the epoch to come.
        """
        _require_operator(self._desk, acting)
        with self._held.changing(lambda: self._writer.look(self._desk.key_history)) as (
            file,
            history,
        ):
            require_next_epoch(file.held, history)
            known = self._writer.look(self._published).newest()
            known_at = None if known is None else known.made_at
            newest = max((one.made_at for one in file.held.service), default=0)
            pair = new_pair(max(self._clock(), newest + 1, (known_at or 0) + 1))
            after = file.held.with_service_pair(pair, known_at)
            dropped = {one.made_at for one in file.held.service} - {known_at}
            file.write(after.keyring, after.root, GivenUp(pairs=frozenset(dropped)))
            keys = pair.public_jwks()
            text = json.dumps({"keys": list(keys)}, separators=(",", ":"))
            made = ServiceKeyMade(pair.made_at, tuple(key["kid"] for key in keys), text)
            position = self._writer.run(RecordServicePair(self._desk, acting, made))
        return PublishedPair(made.made_at, made.kids, made.jwks, position)

    def is_used(self, caller: Caller) -> bool:
        """Whether the one use of the caller's token is recorded already."""
        return self._writer.look(UseToken(self._desk, caller).is_used)

    def use_once(self, caller: Caller) -> bool:
        """Whether this is the first use of the caller's token; durable when it is answered."""
        return self._writer.run(UseToken(self._desk, caller))

    def record_refused(self, events: tuple[Event, ...]) -> None:
        """Record refused tokens; durable on return."""
        self._writer.run(RecordRefused(self._desk, events))

    def _change(self, acting: Acting, change: Change) -> Outcome:
        return self._writer.run(ChangeIssuers(self._desk, acting, change))

    def _published(self, view: Transaction) -> PublishedPairs:
        return view.load(self._desk.streams.keyring(), fold_service_pairs) or PublishedPairs()


def _require_operator(desk: Desk, acting: Acting) -> None:
    if not desk.unlocked.is_operator:
        raise Refused(
            "operator-needed",
            "Only an operator's unlock may say whom to trust.",
            hint=NEEDS_OPERATOR,
        )
    if acting.caller is not None:
        raise not_allowed()
