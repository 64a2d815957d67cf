"""The one place where the parts are put together.

    settings ─▶ store, keyring file ─▶ unlock ─▶ mapper, views ─▶ ledger

A *session* is an open ledger for one command: it unlocks at its start and closes at its end,
whatever happens. Time comes from the system's clock, randomness from the system.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ledger.aggregates.keys import SlotAdded
from ledger.archive.reading import Archive
from ledger.codec.mapper import EventMapper
from ledger.discreet import Discreet
from ledger.errors import NEEDS_OPERATOR, InvalidInput, KeyUnavailable, Refused
from ledger.log.checked_store import CheckedStore
from ledger.log.file_urls import sqlite_url
from ledger.log.memory import HostMemory, memory_path
from ledger.log.rows import END
from ledger.log.sqlite import SqliteStore
from ledger.log.store import Store
from ledger.replacing import replace
from ledger.sealing.keyring import UnlockedKeyring
from ledger.sealing.keyring_file import read_keyring, refuse_beside_store
from ledger.sealing.shares import Scheme
from ledger.sealing.slots import Holding
from ledger.sealing.streams import StreamNames
from ledger.usecases import opening
from ledger.usecases.acting import Acting
from ledger.usecases.founding import found_ledger
from ledger.usecases.ledger import Ledger
from ledger.usecases.recovery_shares import SharesMade
from projections.tiles import StoredTiles
from projections.views import Views
from tools.people.documents import StandardInput
from tools.people.holdings import argon2_cost, first_holding, present_holding
from tools.settings import Settings, account
from tools.stores import MIGRATIONS, existing_store, store_of

if TYPE_CHECKING:
    from ledger.tokens.issuer_keys import Missed
    from ledger.tokens.verifier import TokenVerifier

SHARES_LABEL = "recovery shares"
"""What the slot of recovery shares is called unless told otherwise."""

Unlock = Callable[[Settings, StandardInput], tuple[Holding, UnlockedKeyring]]
"""What somebody has, and the keyring that it opens."""


class Session(Discreet, msgspec.Struct, frozen=True):
    """An open ledger with its views."""

    SHOWN: ClassVar = ("settings", "store", "ledger", "views")

    settings: Settings
    store: CheckedStore
    """What questions are answered from."""
    holding: Holding
    unlocked: UnlockedKeyring
    """Who unlocked, as the keyring was then; without the keys, which `ledger` holds."""
    streams: StreamNames
    mapper: EventMapper
    ledger: Ledger
    views: Views

    def now(self) -> int:
        """Microseconds UTC."""
        return clock()

    def record_query(self, acting: Acting, question: str, rows: int) -> None:
        """Record that the history was read."""
        self.ledger.record_query(acting, question, rows)


def token_verifier(ledger: Ledger, missed: Missed | None = None) -> TokenVerifier:
    """What verifies tokens for this process; close it before the ledger.

    `missed` is told of each fetch of an issuer's keys that got none.
    """
    from ledger.tokens.verifier import TokenVerifier
    from tools.jwks_over_https import fetch_jwks

    return TokenVerifier(ledger.trust, fetch_jwks, clock, missed)


def clock() -> int:
    """The system's clock in microseconds UTC."""
    return time.time_ns() // 1000


def found(
    settings: Settings,
    standard_input: StandardInput,
    label: str,
    argon2_memory_mib: int,
    reason: str,
    scheme: Scheme | None = None,
) -> tuple[dict[str, object], SharesMade | None]:
    """Create keyring and store; go on where an earlier `init` was killed.

    With a `scheme` there is a slot of recovery shares from the beginning.
    """
    if scheme is not None and label == SHARES_LABEL:
        raise InvalidInput("invalid-label", "That label is the one of the recovery shares' slot.")
    store = store_of(settings)
    _keep_apart(settings)
    try:
        holding = first_holding(settings, standard_input)
        founded = found_ledger(
            store,
            settings.keyring,
            label=label,
            account=account(),
            holding=holding,
            clock=clock,
            random=os.urandom,
            cost=argon2_cost(argon2_memory_mib),
            reason=reason,
            following=lambda mapper, streams: (Views(store, mapper, streams),),
        )
        made = None
        if scheme is not None:
            unlocked = read_keyring(settings.keyring).unlock(holding)
            ledger = _session(settings, store, holding, unlocked).ledger
            try:
                made = ledger.shares.create(Acting(reason=reason), scheme, SHARES_LABEL)
            finally:
                ledger.close()
        document: dict[str, object] = {
            "ledger_id": founded.ledger_id.hex(),
            "store": store.address,
            "keyring": str(settings.keyring),
            "epoch": founded.epoch,
        }
        return document, made
    finally:
        store.close()


@contextmanager
def open_session(
    settings: Settings,
    standard_input: StandardInput,
    *,
    operator: bool = True,
    unlock: Unlock | None = None,
    of_key_backup: bool = False,
    only_asks: bool = False,
) -> Iterator[Session]:
    """Unlock and open; `operator-needed` for an auditor's slot where an operator's is needed.

    `unlock` takes the place of the keyring with its passphrase or key file; with `of_key_backup` it
    gives a key backup that is to be put back. With `only_asks` a store in which nothing can be
    recorded serves, too.
    """
    store = existing_store(settings)
    try:
        if unlock is not None:
            _keep_apart(settings)
        holding, unlocked = (unlock or _unlock)(settings, standard_input)
        if operator:
            _require_operator(unlocked)
        session = _session(
            settings, store, holding, unlocked, of_key_backup=of_key_backup, only_asks=only_asks
        )
        try:
            yield session
        finally:
            session.ledger.close()
    finally:
        store.close()


class Restoring(Discreet, msgspec.Struct, frozen=True):
    """What a store is restored with, before there is a ledger in it."""

    SHOWN: ClassVar = ("settings", "store", "views", "memory")

    settings: Settings
    store: Store
    holding: Holding
    unlocked: UnlockedKeyring
    streams: StreamNames
    mapper: EventMapper
    views: Views
    memory: HostMemory
    """This host's, of before."""
    of_key_backup: bool = False
    """Whether the keys are those of a key backup that is to be put back."""

    @contextmanager
    def opened(self, fresh: HostMemory) -> Iterator[Ledger]:
        """The restored ledger, with another memory than the host's, for its record to be made."""
        ledger = _ledger(
            self.settings,
            self.store,
            self.unlocked,
            self.mapper,
            self.views,
            fresh,
            of_restore=True,
            of_key_backup=self.of_key_backup,
        )
        try:
            yield ledger
        finally:
            ledger.close()

    @contextmanager
    def asked(self) -> Iterator[Session]:
        """The restored ledger, to be asked and not written to."""
        with self.opened(self.memory) as ledger:
            who = self.unlocked.without_keys()
            yield Session(
                self.settings,
                CheckedStore(self.store, ledger),
                self.holding,
                who,
                self.streams,
                self.mapper,
                ledger,
                self.views,
            )


@contextmanager
def open_restoring(
    settings: Settings,
    standard_input: StandardInput,
    ledger_id: bytes,
    unlock: Unlock | None = None,
) -> Iterator[Restoring]:
    """Unlock as an operator of this ledger; the store may have no tables yet.

    `unlock` takes the place of the keyring with its passphrase or key file, and gives a key backup
    that is to be put back.
    """
    store = store_of(settings)
    try:
        _keep_apart(settings)
        holding, unlocked = (unlock or _unlock)(settings, standard_input)
        _require_operator(unlocked)
        _require_ledger(unlocked, ledger_id)
        restoring = _restoring(settings, store, holding, unlocked)
        yield replace(restoring, of_key_backup=unlock is not None)
    finally:
        store.close()


@contextmanager
def open_scratch(
    settings: Settings,
    standard_input: StandardInput,
    ledger_id: bytes,
    folder: Path,
    *,
    operator: bool,
) -> Iterator[Restoring]:
    """The same with an empty store in a file of that folder, for whoever asks, an auditor too.

    What a host keeps beside its keyring lies in the folder as well; the keyring does not, and
    neither it nor this host's memory is written to. `operator-needed` where an `operator` is.
    """
    holding, unlocked = _unlock(settings, standard_input)
    if operator:
        _require_operator(unlocked)
    _require_ledger(unlocked, ledger_id)
    file = folder / "ledger.db"
    apart = replace(
        settings,
        store=sqlite_url(file),
        keyring=folder / "no-keyring",
        accept_clock=False,
        accept_async=False,
    )
    store = SqliteStore(file, migration_packages=MIGRATIONS)
    try:
        store.create()
        yield _restoring(apart, store, holding, unlocked)
    finally:
        store.close()


def _restoring(
    settings: Settings, store: Store, holding: Holding, unlocked: UnlockedKeyring
) -> Restoring:
    streams = unlocked.stream_names()
    mapper = EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom)
    views = Views(store, mapper, streams)
    memory = _memory(settings, unlocked)
    return Restoring(settings, store, holding, unlocked, streams, mapper, views, memory)


def _require_ledger(unlocked: UnlockedKeyring, ledger_id: bytes) -> None:
    if unlocked.ledger_id != ledger_id:
        raise KeyUnavailable(
            "keyring-foreign",
            "The keyring belongs to another ledger than the archive's.",
            hint="Check the archive's folder and --keyring.",
        )


def archive_opener(
    settings: Settings, standard_input: StandardInput, archive: Archive
) -> EventMapper:
    """What opens an archive's rows without any store, for a slot that its log has not ended.

    `keyring-foreign` for a keyring of another ledger, `slot-removed`.
    """
    _, unlocked = _unlock(settings, standard_input)
    _require_ledger(unlocked, archive.ledger().id)
    rows = archive.signers()
    live = {row.public_key for row in rows} - {row.public_key for row in rows if row.change == END}
    if unlocked.preferring(live).slot.signing_public_key not in live:
        raise KeyUnavailable(
            "slot-removed",
            "The log does not know the slot that is unlocked, or calls it removed.",
            hint="Unlock with another slot; the operator can add this one again.",
        )
    return EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom)


@contextmanager
def scratch_views(session: Session, folder: Path) -> Iterator[tuple[Store, EventMapper, Views]]:
    """An empty store in a file of that folder, with views, opened with the same keys."""
    scratch = SqliteStore(folder / "ledger.db", migration_packages=MIGRATIONS)
    try:
        scratch.create()
        mapper = EventMapper(session.unlocked.ledger_id, session.ledger.key_set(), os.urandom)
        yield scratch, mapper, Views(scratch, mapper, session.streams)
    finally:
        scratch.close()


def accept_rollback(
    settings: Settings, standard_input: StandardInput, acting: Acting
) -> dict[str, object]:
    """Go on from the store as it is; recorded with the fork and the abandoned head."""
    with _by_operator(settings, standard_input, acting) as parts:
        outcome = opening.accept_rollback(**parts)
    return {
        "position": outcome.position,
        "fork": outcome.fork,
        "abandoned_size": outcome.abandoned_size,
        "revived": revived_document(outcome.revived),
    }


def revived_document(slots: Iterable[SlotAdded]) -> list[dict[str, object]]:
    """Slots that live again in an older log."""
    return [{"slot": one.slot, "label": one.label} for one in slots]


def accept_new_memory(settings: Settings, standard_input: StandardInput, acting: Acting) -> int:
    """Give this host a new memory; the position where that is recorded."""
    with _by_operator(settings, standard_input, acting) as parts:
        return opening.accept_new_memory(**parts)


@contextmanager
def _by_operator(
    settings: Settings, standard_input: StandardInput, acting: Acting
) -> Iterator[dict[str, Any]]:
    """What the ledger takes to be opened against this host's memory."""
    store = existing_store(settings)
    try:
        _, unlocked = _unlock(settings, standard_input)
        yield {
            "store": store,
            "keyring_path": settings.keyring,
            "unlocked": unlocked,
            "account": account(),
            "clock": clock,
            "random": os.urandom,
            "mapper": EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom),
            "memory": _memory(settings, unlocked),
            "acting": acting,
            "accept_async": settings.accept_async,
            "accept_clock": settings.accept_clock,
        }
    finally:
        store.close()


def _session(
    settings: Settings,
    store: Store,
    holding: Holding,
    unlocked: UnlockedKeyring,
    *,
    of_key_backup: bool = False,
    only_asks: bool = False,
) -> Session:
    streams = unlocked.stream_names()
    mapper = EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom)
    asked = CheckedStore(store)
    views = Views(asked, mapper, streams)
    memory = _memory(settings, unlocked)
    ledger = _ledger(
        settings,
        store,
        unlocked,
        mapper,
        views,
        memory,
        of_key_backup=of_key_backup,
        only_asks=only_asks,
    )
    asked.know(ledger)
    who = unlocked.without_keys()
    return Session(settings, asked, holding, who, streams, mapper, ledger, views)


def _ledger(
    settings: Settings,
    store: Store,
    unlocked: UnlockedKeyring,
    mapper: EventMapper,
    views: Views,
    memory: HostMemory,
    *,
    of_restore: bool = False,
    of_key_backup: bool = False,
    only_asks: bool = False,
) -> Ledger:
    return opening.open_ledger(
        store,
        settings.keyring,
        unlocked,
        account=account(),
        clock=clock,
        random=os.urandom,
        maintainers=(views,),
        tiles=StoredTiles(store),
        memory=memory,
        mapper=mapper,
        accept_clock=settings.accept_clock,
        accept_async=settings.accept_async,
        accept_ahead=of_restore,
        accept_restoring=of_restore,
        of_key_backup=of_key_backup,
        only_asks=only_asks,
    )


def _require_operator(unlocked: UnlockedKeyring) -> None:
    if not unlocked.is_operator:
        raise Refused(
            "operator-needed",
            "An auditor's unlock may not do this.",
            hint=NEEDS_OPERATOR,
        )


def _unlock(settings: Settings, standard_input: StandardInput) -> tuple[Holding, UnlockedKeyring]:
    _keep_apart(settings)
    keyring = read_keyring(settings.keyring)
    holding = present_holding(settings, standard_input)
    return holding, keyring.unlock(holding, settings.slot)


def _keep_apart(settings: Settings) -> None:
    path = settings.sqlite_path
    if path is not None:
        refuse_beside_store(settings.keyring, path)


def _memory(settings: Settings, unlocked: UnlockedKeyring) -> HostMemory:
    key = unlocked.stream_names().memory_key()
    return HostMemory(memory_path(settings.keyring), unlocked.ledger_id, key)
