"""The ledger's works: one ledger with a thousand mappings, on whatever engine."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ledger.aggregates.access import AuditQueried
from ledger.claims import parse_claim
from ledger.codec.mapper import EventMapper
from ledger.log.memory import HostMemory, memory_path
from ledger.log.transaction import Transaction
from ledger.policy import Caller
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import Argon2Cost, new_passphrase, passphrase
from ledger.usecases.acting import Acting
from ledger.usecases.credentials import ImportItem
from ledger.usecases.founding import found_ledger
from ledger.usecases.ledger import Ledger
from ledger.usecases.opening import open_ledger
from ledger.values import FieldValue
from projections.moment import state_at
from projections.views import Views
from tools.bench.places import Place
from tools.wiring import clock

_PASSPHRASE = "benchmarks only, never real"
_OWNERS = 1000


class SaveMany:
    """A thousand events in one request."""

    def __init__(self, ledger: Ledger) -> None:
        self._desk = ledger._desk  # noqa: SLF001 # one of its own

    def decide(self, transaction: Transaction) -> None:
        """Append them."""
        actor = self._desk.actor(transaction, Acting())
        for number in range(1000):
            transaction.append_access(AuditQueried("x" * 120, number), actor, "")


def _side_by_side(callers: int, times: int, work: Callable[[int], object]) -> int:
    """Callers that each do their share, one after the other."""

    def share(first: int) -> None:
        for number in range(first, times, callers):
            work(number)

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(share, range(callers)))
    return times


class Ours:
    """The ledger's works; each answers how much it did."""

    def __init__(self, place: Place, applications: int = 1) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="credledger-bench-keys-"))
        self.store = place.store()
        self.keyring = self._folder / "keyring"
        found_ledger(
            self.store,
            self.keyring,
            label="bench",
            account="bench",
            holding=new_passphrase(_PASSPHRASE),
            clock=clock,
            random=os.urandom,
            cost=Argon2Cost(19 * 1024, 2, 1),
            following=lambda mapper, streams: (Views(self.store, mapper, streams),),
        )
        self.ledger, self.views, self.mapper = self.opened()
        acting = Acting()
        for number in range(applications):
            self.ledger.create_application(acting, f"bench{number}", kind="individual")
        values = {
            "Windows User Name": FieldValue("CONTOSO\\someone"),
            "Windows Password": FieldValue("a password of usual length"),
        }
        self.owners = [parse_claim(f"user:u{number}") for number in range(_OWNERS)]
        items = [ImportItem("bench0", owner, values) for owner in self.owners]
        for start in range(0, len(items), 500):
            self.ledger.import_batch(acting, items[start : start + 500])

    def opened(self) -> tuple[Ledger, Views, EventMapper]:
        """The ledger, opened anew."""
        unlocked = read_keyring(self.keyring).unlock(passphrase(_PASSPHRASE))
        mapper = EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom)
        views = Views(self.store, mapper, unlocked.stream_names())
        ledger = open_ledger(
            self.store,
            self.keyring,
            unlocked,
            account="bench",
            clock=clock,
            random=os.urandom,
            mapper=mapper,
            maintainers=(views,),
            memory=HostMemory(
                memory_path(self.keyring),
                unlocked.ledger_id,
                unlocked.stream_names().memory_key(),
            ),
        )
        return ledger, views, mapper

    def append(self, callers: int, appends: int = 4000) -> int:
        """One recorded question at a time, from many callers."""
        with ThreadPoolExecutor(callers) as pool:
            list(
                pool.map(lambda n: self.ledger.record_query(Acting(), "x" * 120, n), range(appends))
            )
        return appends

    def save(self, saves: int = 15) -> int:
        """A thousand events a request."""
        for _ in range(saves):
            self.ledger._writer.run(SaveMany(self.ledger))  # noqa: SLF001 # one of its own
        return saves * 1000

    def read(self, callers: int, reads: int = 8000) -> int:
        """Whole audited reads: decided, recorded durably, and opened; each caller a coroutine."""
        asking = [Caller(owner) for owner in self.owners]

        async def share(first: int) -> None:
            for number in range(first, reads, callers):
                await self.ledger.retrieve_async(asking[number % _OWNERS], "bench0")

        async def all_shares() -> None:
            await asyncio.gather(*(share(first) for first in range(callers)))

        asyncio.run(all_shares())
        return reads

    def read_by_threads(self, callers: int, reads: int = 8000) -> int:
        """The same, each caller a thread."""
        asking = [Caller(owner) for owner in self.owners]
        return _side_by_side(
            callers, reads, lambda n: self.ledger.retrieve(asking[n % _OWNERS], "bench0")
        )

    def replay(self) -> int:
        """The state folded from the whole log."""
        return int(state_at(self.store, self.mapper)["position"])

    def close(self) -> None:
        """Let go of everything."""
        self.ledger.close()
        self.store.close()
        shutil.rmtree(self._folder, ignore_errors=True)
