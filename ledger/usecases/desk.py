"""What every request needs at hand: stream names, ciphers of secrets, and who acts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import ClassVar

import msgspec

from ledger.aggregates.actor import Actor
from ledger.aggregates.application import Application, fold_application
from ledger.aggregates.issuers import NO_ISSUERS, Issuers, fold_issuers
from ledger.aggregates.keys import KeyHistory, fold_keys
from ledger.aggregates.mapping import CredentialMapping, mapping_from
from ledger.aggregates.presented import PresentedToken
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retry_keys import RetryKeyTaken
from ledger.aggregates.roles import NO_ROLES, Roles, fold_roles
from ledger.claims import Claim
from ledger.codec.mapper import EventMapper
from ledger.discreet import Discreet
from ledger.errors import InvalidInput, NotFound, Refused, Tampered
from ledger.identifiers import application_key
from ledger.log.transaction import Transaction
from ledger.policy import Caller, Verb, decide, is_believed
from ledger.sealing.envelope import NONCE_BYTES
from ledger.sealing.keyring import UnlockedKeyring
from ledger.sealing.secrets import SecretBox
from ledger.sealing.streams import StreamNames
from ledger.tokens.doubt import token_refused
from ledger.usecases.acting import Acting, RetryKey
from ledger.usecases.decisions import Decisions, Policy
from ledger.values import FieldValue, pack_values, unpack_values

Random = Callable[[int], bytes]


class Desk(Discreet, msgspec.Struct, frozen=True):
    """The unlocked ledger as requests use it."""

    SHOWN: ClassVar = ("account",)

    unlocked: UnlockedKeyring
    """Who unlocked; the keys themselves are in `box` and `mapper`, which let go of some in time."""
    streams: StreamNames
    box: SecretBox
    mapper: EventMapper
    account: str
    random: Random
    decisions: Decisions = msgspec.field(default_factory=Decisions)

    @property
    def slot(self) -> Actor:
        """The slot that is unlocked, as an author."""
        slot = self.unlocked.slot
        return _actor(slot.opens, slot.id, slot.label, self.account, slot.opens)

    def author(self, transaction: Transaction, caller: Caller) -> Actor:
        """The slot as the author of an access record, with the token that spoke for the caller.

        `token-refused` where that has expired by now: it may have waited since it was verified.
        """
        self._require_alive(transaction, caller)
        slot = self.unlocked.slot
        return _actor(
            slot.opens, slot.id, slot.label, self.account, slot.opens, caller.token, caller.peer
        )

    def actor(self, transaction: Transaction, acting: Acting) -> Actor:
        """The author of what is appended.

        `not-allowed` where a token spoke for who acts and is not believed at this position: nothing
        is ever appended in the name of somebody whom a token merely claims to be. `token-refused`
        where it has expired by now.
        """
        slot, caller = self.unlocked.slot, acting.caller
        if caller is None:
            return _actor(slot.opens, slot.id, slot.label, self.account, slot.opens)
        issuers = self.issuers(transaction)
        if not is_believed(issuers, caller):
            raise not_allowed()
        self._require_alive(transaction, caller)
        claim = str(issuers.canonical(caller.claim))
        return _actor(
            claim, slot.id, slot.label, self.account, slot.opens, caller.token, caller.peer
        )

    def _require_alive(self, transaction: Transaction, caller: Caller) -> None:
        token = caller.token
        if token is not None:
            issuers = self.issuers(transaction)
            if not issuers.lives(token, transaction.clock_reading):
                raise token_refused()

    def application(self, transaction: Transaction, application: str) -> Application | None:
        """The application as its stream tells it, deleted ones included."""
        stream = self.streams.application(application_key(application))
        found = transaction.load(stream, fold_application)
        if found is not None and found.key != application_key(application):
            raise Tampered("wrong-stream", "An application's stream tells of another one.")
        return found

    def live_application(self, transaction: Transaction, application: str) -> Application:
        """The application; `no-such-application` if there is none at present."""
        found = self.application(transaction, application)
        if found is None or found.deleted:
            raise no_such_application()
        return found

    def roles(self, transaction: Transaction) -> Roles:
        """The service-level rights."""
        return transaction.load(self.streams.roles(), fold_roles) or NO_ROLES

    def issuers(self, transaction: Transaction) -> Issuers:
        """Whose tokens are trusted."""
        return transaction.load(self.streams.issuers(), fold_issuers) or NO_ISSUERS

    def policy(self, transaction: Transaction, application: Application) -> Policy:
        """The states that decisions about this application rest on, as the transaction has them."""
        roles_stream, issuers_stream = self.streams.roles(), self.streams.issuers()
        return Policy(
            self.streams.application(application.key),
            application,
            roles_stream,
            transaction.load(roles_stream, fold_roles),
            issuers_stream,
            transaction.load(issuers_stream, fold_issuers),
        )

    def key_history(self, transaction: Transaction) -> KeyHistory:
        """Epochs and slots."""
        return transaction.load(self.streams.keyring(), fold_keys) or KeyHistory()

    def permitted_application(
        self,
        transaction: Transaction,
        acting: Acting,
        verb: Verb,
        application: str,
        owner: Claim | None = None,
    ) -> Application:
        """The live application, if who acts may do this with it.

        The operator is told the truth; anybody else is refused alike whether it exists or not.
        """
        found = self.application(transaction, application)
        decision = decide(
            verb,
            found,
            self.roles(transaction),
            acting.caller,
            owner=owner,
            issuers=self.issuers(transaction),
        )
        if not decision.allowed:
            raise not_allowed()
        if found is None or found.deleted:
            raise no_such_application()
        return found

    def mapping_stream(self, application: Application, owner: Claim | None) -> bytes:
        """The stream of one mapping."""
        return self.streams.mapping(application.key, str(owner) if owner else None)

    def mapping(
        self, transaction: Transaction, application: Application, owner: Claim | None
    ) -> CredentialMapping | None:
        """The mapping as its newest row tells it, checked to be this owner's."""
        found = mapping_from(transaction.newest(self.mapping_stream(application, owner)))
        owner_text = str(owner) if owner else None
        if found is not None and (
            found.owner != owner_text or application_key(found.application) != application.key
        ):
            raise Tampered("wrong-stream", "A mapping's stream tells of another one.")
        return found

    def owner_of(
        self,
        transaction: Transaction,
        application: Application,
        acting: Acting,
        owner: Claim | None,
    ) -> Claim | None:
        """Whose mapping is meant: the one named, or the caller's own, or the group's."""
        if application.is_group:
            if owner is not None:
                raise InvalidInput(
                    "owner-not-used", "A group application has one shared set and no owners."
                )
            return None
        owner = owner or (acting.caller.claim if acting.caller else None)
        if owner is None:
            raise InvalidInput(
                "owner-required",
                "An individual application needs the owner of the credentials.",
                hint="Add --owner user:NAME.",
            )
        if owner.type not in ("user", "service"):
            raise InvalidInput("invalid-owner", "Credentials are owned by a user or a service.")
        return self.issuers(transaction).canonical(owner)

    def seal_values(
        self,
        transaction: Transaction,
        stream: bytes,
        topic: str,
        values: dict[str, FieldValue],
    ) -> bytes:
        """The values, sealed for the very next event of this stream."""
        place = transaction.place(stream, topic)
        aad = self.mapper.associated_data(place)
        return self.box.seal(place.epoch, pack_values(values), aad, self.random(NONCE_BYTES))

    def open_values(self, carrying: Recorded, secret: bytes) -> dict[str, FieldValue]:
        """The values in the row that carries them."""
        place = self.mapper.associated_data(carrying)
        return unpack_values(self.box.open(carrying.epoch, secret, place))

    def repeated(self, transaction: Transaction, acting: Acting, stream: bytes) -> Recorded | None:
        """The last event that the very same request appended when it was sent before, if it was.

        Nobody but who sent it is told. `retry-key-reused` where the key came with another request,
        whatever that one changed. No history is read for it, which would be under the lock, and
        longer with every change: a key is taken right behind the first change that came with it.
        """
        if acting.retry is None:
            return None
        author = self.actor(transaction, acting).claim
        taken = transaction.newest(self._key_stream(author, acting.retry))
        if taken is None:
            return None
        acting.retry.require_same(taken.event)
        found: Recorded | None = None
        position = taken.position - 1
        while (recorded := transaction.event_at(position, stream)) is not None:
            if recorded.actor.claim != author or not acting.retry.is_of(recorded.request):
                break
            found = recorded
            position += 2 if position == taken.position - 1 else 1
        return found

    def take_key(self, transaction: Transaction, acting: Acting) -> None:
        """Append, once and behind what the request appended, that its retry key is taken."""
        if acting.retry is None:
            return
        actor = self.actor(transaction, acting)
        stream = self._key_stream(actor.claim, acting.retry)
        if not transaction.version(stream):
            transaction.append(stream, RetryKeyTaken(acting.retry.asked), actor)

    def _key_stream(self, author: str, retry: RetryKey) -> bytes:
        return self.streams.retry_key(author, retry.operation, retry.key)

    def versions(self, transaction: Transaction, stream: bytes) -> Iterator[CredentialMapping]:
        """A mapping at each of its events, oldest first."""
        for recorded in transaction.history(stream):
            mapping = mapping_from(recorded)
            if mapping is not None:
                yield mapping


@functools.lru_cache(maxsize=256)
def _actor(
    claim: str,
    slot: int,
    label: str,
    account: str,
    opens: str,
    token: PresentedToken | None = None,
    peer: int | None = None,
) -> Actor:
    return Actor(claim, slot, label, account, opens, token, peer)


def no_such_application() -> NotFound:
    """For those who may be told."""
    return NotFound("no-such-application", "There is no target application of this ID.")


def not_allowed() -> Refused:
    """For everybody else, whether the thing exists or not."""
    return Refused(
        "not-allowed",
        "You may not do this.",
        hint="Ask the application's administrator or the ledger's operator.",
    )
