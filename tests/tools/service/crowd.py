"""A crowd: people who come over TCP with tokens of their own making and ask without pause."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from tests.ledger.tokens.minting import encrypt, mint
from tests.tools.service.clients import Client

GET = "/v1/credentials/get"
GONE = 0
"""What stands in place of a status where a connection ended before its answer."""
SECONDS_MAX = 60
Tokens = Callable[[], tuple[str, str]]
"""The next token to be shown, and the party by which its records can be told from all others."""


def kept(user: str, party: str, key: str = "EC", **claims: object) -> Tokens:
    """One token, shown again and again: it is known from the second time on."""
    made = _minted(user, party, key, **claims)
    return lambda: (made, party)


def fresh(user: str, party: str, key: str = "EC", **claims: object) -> Tokens:
    """Another one for each request."""
    numbers = itertools.count()

    def make() -> tuple[str, str]:
        one = f"{party}-{next(numbers)}"
        return _minted(user, one, key, **claims), one

    return make


def sealed(tokens: Tokens, to: dict) -> Tokens:
    """The same, encrypted to a key of the service's, each time anew."""

    def make() -> tuple[str, str]:
        token, party = tokens()
        return encrypt(token, to), party

    return make


def _minted(user: str, party: str, key: str, **claims: object) -> str:
    said = {"sub": user, "jti": party, "act": {"sub": party}, **claims}
    return mint(int(time.time()), by=key, alg="EdDSA" if key == "OKP" else "ES256", **said)


@dataclass
class Asker:
    """One of them, and what became of each of its requests, in their order."""

    user: str
    tokens: Tokens
    statuses: list[int] = field(default_factory=list)
    answered: dict[int, str] = field(default_factory=dict)
    """The party of each read that was answered, by its position."""

    def count(self, *statuses: int) -> int:
        return sum(map(self.statuses.count, statuses))

    def ask(self, client: Client, application: str) -> None:
        """Once; an `OSError` or `HTTPException` where the connection ends."""
        token, party = self.tokens()
        reply = client.ask(GET, {"application": application}, authorization=f"Bearer {token}")
        if reply.status == 200:
            position = reply.document["position"]
            assert reply.document["fields"], reply
            assert position not in self.answered
            self.answered[position] = party
        else:
            assert b"fields" not in reply.content
            assert b"canary" not in reply.content
        self.statuses.append(reply.status)


class Crowd:
    """All of them at once, each with a connection of its own, until the end of the block."""

    def __init__(
        self, place: tuple[str, int], *askers: Asker, application: str = "payroll"
    ) -> None:
        self._place, self._application, self.askers = place, application, askers
        self._going = True
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in askers]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._going = False
        for thread in self._threads:
            thread.join(SECONDS_MAX)
        assert not self._failures

    def of(self, *users: str) -> list[Asker]:
        """Those who ask as one of these."""
        return [one for one in self.askers if one.user in users]

    def each(self, more: int, *statuses: int, users: tuple[str, ...] = ()) -> None:
        """Wait until each (of these users) was answered so, so many times more."""
        asked = self.of(*users) if users else self.askers
        before = [one.count(*statuses) for one in asked]
        deadline = time.monotonic() + SECONDS_MAX
        while any(
            one.count(*statuses) < count + more for one, count in zip(asked, before, strict=True)
        ):
            assert not self._failures, self._failures
            assert time.monotonic() < deadline, [set(one.statuses[-20:]) for one in asked]
            threading.Event().wait(0.01)

    @property
    def answered(self) -> dict[int, str]:
        """The party of each read that was answered, by its position."""
        found = [item for one in self.askers for item in one.answered.items()]
        assert len(found) == len(dict(found)), "a position was answered twice"
        return dict(found)

    @property
    def statuses(self) -> set[int]:
        return {status for one in self.askers for status in one.statuses}

    def _run(self, asker: Asker) -> None:
        """Ask on; whoever is cut off comes again."""
        try:
            while self._going:
                try:
                    with contextlib.closing(Client(self._place)) as client:
                        while self._going:
                            asker.ask(client, self._application)
                except (OSError, http.client.HTTPException):
                    asker.statuses.append(GONE)
                    threading.Event().wait(0.01)
        except Exception as error:  # told at the end of the block
            self._failures.append(error)
