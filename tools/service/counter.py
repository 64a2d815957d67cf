"""The counter: where the open ledger is asked, and what a question is.

Retrievals are awaited on the event loop, so that thousands share a commit; whatever else waits for
a lock or a disk does so in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import msgspec

from ledger.claims import Claim, parse_claim, parse_owner
from ledger.errors import InvalidInput
from ledger.identifiers import application_key
from ledger.policy import Caller
from ledger.usecases.acting import Acting, RetryKey
from tools.service import bodies
from tools.service.bodies import Body
from tools.service.tally import Tally

if TYPE_CHECKING:
    from ledger.tokens.verifier import TokenVerifier
    from ledger.usecases.ledger import Ledger
    from tools.wiring import Session

B = TypeVar("B", bound=Body)
T = TypeVar("T")


class Question(NamedTuple, Generic[B]):
    """One request, once it is known whose it is."""

    body: B
    caller: Caller
    application: str | None
    """The ID by the body or the token, which agree."""
    retry: RetryKey | None
    as_bytes: bool
    """Whether the answer's form has bytes of its own."""

    @property
    def reason(self) -> str:
        """Why, as far as the body says; `invalid-reason` where that is more than a line."""
        reason: str = getattr(self.body, "reason", "")
        if not reason.isprintable():
            raise InvalidInput("invalid-reason", "A reason is one line of printable text.")
        return reason

    def check(self) -> None:
        """Raise what the words of the body would raise in the operation, whoever asks.

        For who pays for an operation with something that cannot be had back.
        """
        assert self.reason is not None
        if self.body.NAMES_APPLICATION:
            application_key(self.named)
        owner_in(getattr(self.body, "owner", None))
        if isinstance(self.body, bodies.Set):
            self.body.values()
        if isinstance(self.body, bodies.ChangeRole):
            parse_claim(self.body.claim)

    @property
    def acting(self) -> Acting:
        """Who acts and why."""
        return Acting(self.caller, self.reason, self.retry)

    @property
    def named(self) -> str:
        """The application's ID; `application-required` where neither body nor token has one."""
        if self.application is None:
            raise InvalidInput(
                "application-required",
                "Neither the body nor the token names an application.",
                hint='Add "application" to the body.',
            )
        return self.application


class Counter(msgspec.Struct, frozen=True):
    """Where the open ledger is asked."""

    session: Session
    threads: Executor
    verifier: TokenVerifier
    tickets: Tally
    """What became of tickets, as far as it was asked for here."""

    @property
    def ledger(self) -> Ledger:
        """The open ledger."""
        return self.session.ledger

    async def wait(self, work: Callable[[], T]) -> T:
        """What the work answers, in a thread of its own."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


def owner_in(text: str | None) -> Claim | None:
    """The owner that a body names."""
    return None if text is None else parse_owner(text)
