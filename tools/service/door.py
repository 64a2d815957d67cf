"""The door: each request comes in here, and leaves with one answer.

    head ─▶ share of the address ─▶ whose it is, share of the caller ─▶ forms ─▶ body ─▶ operation

Whose it is and that a share allows it is known from the head, before the rest of that is judged
and a body is waited for or looked through: that is work and room that strangers would take. Of the
body only the application that it names is held against the token behind that. Whatever goes wrong
leaves as a problem document with one of our codes; an unforeseen error tells its type and place and
nothing else, because its text may hold anything.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from ledger.errors import InvalidInput, KeyUnavailable, LedgerError, Tampered, Unavailable
from ledger.usecases.acting import RetryKey
from tools.processes.unforeseen import unforeseen
from tools.service import bodies, pages
from tools.service.answers import Answer
from tools.service.callers import Callers, shown_token
from tools.service.counter import Question
from tools.service.description import description
from tools.service.forms import Form, forms_for
from tools.service.journal import Journal
from tools.service.media_types import liked_best, type_of
from tools.service.metrics import Metrics
from tools.service.operations import OPERATIONS, Operation
from tools.service.pages import HEALTH
from tools.service.patterns import RETRY_KEY_LENGTH_MAX
from tools.service.peers import NOBODY, Peer
from tools.service.problems import status_of
from tools.service.protocol import ANSWER, HAS_COME, PEER
from tools.service.reading import (
    IN_HAND_MAX,
    Bodies,
    ClientGone,
    each_once,
    headers_by_name,
    not_yet,
)
from tools.service.replies import (
    JSON,
    TO_ASK,
    TO_LOOK,
    Answered,
    Receive,
    Scope,
    Send,
    deliver,
    encode,
    failed,
    health,
    no_such_path,
    require_method,
    too_busy,
)
from tools.service.seal import Seal
from tools.service.unsealing import UNSEAL_PATH, Unseal, Unsealed, let_unseal, unseal

_USUAL_TYPES = (b"application/json", b"application/json; charset=utf-8", b"application/msgpack")
_USUAL_ACCEPTS = (b"", b"*/*", b"application/json", b"application/msgpack")
"""What clients say mostly is looked at once, and nothing that comes is remembered."""
_NO_KEYS = b'{"keys":[]}'
Reading = Callable[[bytes], Awaitable[bytes]]
"""Reads the body whose length the head tells; see `Bodies.read`."""


class Request(NamedTuple):
    """One request, whose body may still be on its way."""

    method: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    peer: Peer
    read: Reading


class Door:
    """The application that the server calls."""

    def __init__(
        self,
        seal: Seal,
        callers: Callers,
        metrics: Metrics,
        journal: Journal,
        is_reachable: Callable[[], bool],
    ) -> None:
        """`is_reachable` tells whether all places that should be answered at are."""
        self._is_reachable = is_reachable
        self._seal = seal
        self._callers = callers
        self._metrics = metrics
        self._journal = journal
        self._bodies, self._local_bodies = Bodies(), Bodies()
        """Large ones over TCP take no room of those at the unix socket."""
        self._in_hand = 0
        asked = (one.body for one in OPERATIONS.values())
        self._json, self._msgpack = forms_for((*asked, Unseal))
        self._usual = {
            said: self._chosen(*said) for said in itertools.product(_USUAL_TYPES, _USUAL_ACCEPTS)
        }
        self._plain: dict[str, Callable[[], Awaitable[Answered]]] = {
            **dict(zip(HEALTH, (self._live, self._ready), strict=True)),
            pages.DESCRIPTION: self._description,
            pages.PUBLIC_KEYS: self._public_keys,
        }
        self._described = msgspec.json.encode(description())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of a connection that this process holds."""
        state = scope["state"]
        # Taken out of the scope, or the two would hold each other.
        whole = state.pop(ANSWER, None)
        peer = state.get(PEER, NOBODY)
        bodies_of = self._bodies if peer.uid is None else self._local_bodies
        read = functools.partial(
            bodies_of.read,
            receive=receive,
            source=peer.source,
            has_come=state.get(HAS_COME, not_yet),
        )
        request = Request(scope["method"], scope["path"], scope["headers"], peer, read)
        try:
            await self.answer(request, functools.partial(deliver, whole=whole, send=send))
        except ClientGone:
            return

    async def answer(self, request: Request, send: Callable[[Answered], Awaitable[None]]) -> None:
        """Answer one request; `ClientGone` where nobody waits for that any more."""
        path, started = request.path, time.perf_counter()
        counts = path not in HEALTH  # nobody is turned away for those who watch
        self._in_hand += counts
        try:
            answered = await self._answered(request)
        finally:
            self._in_hand -= counts
        await send(answered)
        seconds = time.perf_counter() - started
        operation = path if path in OPERATIONS or path == UNSEAL_PATH else "other"
        if path not in self._plain:
            self._metrics.answered(operation, answered.status, answered.code, seconds)
        if answered.status >= 400:
            source = request.peer.source
            self._journal.failed(operation, answered.status, answered.code, source, seconds)

    def hurry(self) -> None:
        """Wait for bodies that are on their way only shortly from now on: the service stops."""
        self._bodies.hurry()
        self._local_bodies.hurry()

    def turned_away(self, front: int, count: int) -> None:
        """Requests that never came here, as a front says that answered them by itself."""
        if count:
            self._metrics.turned_away(front, count)

    async def _answered(self, request: Request) -> Answered:
        try:
            return await self._answer(request)
        except LedgerError as error:
            return failed(error, TO_LOOK if request.path in self._plain else TO_ASK)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 # its text may hold anything
            return failed(unforeseen(error), TO_ASK)

    async def _answer(self, request: Request) -> Answered:
        path = request.path
        if path not in HEALTH:
            if self._in_hand > IN_HAND_MAX:
                raise too_busy()
            self._callers.let_in(request.peer)
        plain = self._plain.get(path)
        if plain is not None:
            require_method(request.method, TO_LOOK)
            if path not in HEALTH:
                self._callers.let_look(request.peer)
            return await plain()
        if path == UNSEAL_PATH:
            return await self._unseal(request)
        operation = OPERATIONS.get(path)
        if operation is None:
            raise no_such_path()
        return await self._operate(operation, request)

    async def _operate(self, operation: Operation, request: Request) -> Answered:
        require_method(request.method, TO_ASK)
        counter, peer = self._seal.counter, request.peer
        given = headers_by_name(request.headers)
        token = shown_token(given.get(b"authorization", ()))
        verifier, threads = counter.verifier, counter.threads
        found = await self._callers.identify(peer, token, verifier, threads)
        headers = each_once(given)
        asked_in, answered_in = self._forms(headers)
        body = asked_in.decode(operation.body, await self._body(request, headers))
        named = getattr(body, "application", None)
        found = await self._callers.bind(peer, token, found, named, verifier, threads)
        caller, application = found.caller, found.application
        key = headers.get(b"idempotency-key")
        retry = None if key is None else _retry(operation, key, body, application)
        question = Question(body, caller, application, retry, answered_in.has_bytes)
        if found.is_good_once:
            question.check()
            await self._callers.use(peer, found, verifier, threads)
            answer = await _behind_use(operation.function(counter, question))
        else:
            answer = await operation.function(counter, question)
        return Answered(200, answered_in.media_type, answered_in.encoder.encode(answer))

    def _forms(self, headers: dict[bytes, bytes]) -> tuple[Form, Form]:
        """What the body is in, and what the answer is to be in."""
        if b"content-encoding" in headers:
            raise InvalidInput(
                "content-encoding-not-taken",
                "A body is sent as it is, without a Content-Encoding.",
                hint="Send it again without that header, and not compressed.",
            )
        said = headers.get(b"content-type", b""), headers.get(b"accept", b"")
        return self._usual.get(said) or self._chosen(*said)

    def _chosen(self, content_type: bytes, accepted: bytes) -> tuple[Form, Form]:
        forms = {form.media_type: form for form in (self._json, self._msgpack)}
        asked = forms.get(type_of(content_type))
        if asked is None:
            raise InvalidInput(
                "unknown-media-type",
                "A body is application/json or application/msgpack.",
                hint="Say which one with Content-Type.",
            )
        return asked, forms[liked_best(accepted, forms, asked.media_type)]

    async def _body(self, request: Request, headers: dict[bytes, bytes]) -> bytes:
        """The body; whoever lets it wait has nothing in hand, or a few could keep all others out.

        How many may do so is bounded by their connections.
        """
        self._in_hand -= 1
        try:
            body = await request.read(headers.get(b"content-length", b"0"))
        finally:
            self._in_hand += 1
        if self._in_hand > IN_HAND_MAX:
            raise too_busy()
        return body

    async def _unseal(self, request: Request) -> Answered:
        require_method(request.method, TO_ASK)
        let_unseal(request.peer)
        headers = each_once(headers_by_name(request.headers))
        asked_in, _ = self._forms(headers)
        body = asked_in.decode(Unseal, await self._body(request, headers))
        opened = await unseal(self._seal, body)
        if opened.was_sealed:
            self._journal.unsealed(opened.slot)
        return Answered(200, JSON, encode(Unsealed(*opened)))

    async def _live(self) -> Answered:
        return health(200, "live")

    async def _ready(self) -> Answered:
        try:
            await self._seal.require_ready()
        except LedgerError as error:
            status = status_of(error)
            word = "sealed" if error.code == "sealed" else "unavailable"
            return health(status, word)
        if not self._is_reachable():
            return health(503, "unreachable")
        return health(200, "ready")

    async def _description(self) -> Answered:
        return Answered(200, JSON, self._described)

    async def _public_keys(self) -> Answered:
        counter = self._seal.counter
        newest = (await counter.wait(counter.ledger.trust.published)).newest()
        jwks = _NO_KEYS if newest is None else newest.jwks.encode()
        return Answered(200, pages.JWKS.encode(), jwks)


async def _behind_use(answer: Awaitable[Answer]) -> Answer:
    """The same; what does not serve says also that the token is used up, which nobody can undo."""
    try:
        return await answer
    except (Unavailable, KeyUnavailable, Tampered) as error:
        hint = f"{error.hint} The token is used up: come again with a new one, and a change with"
        raise type(error)(
            error.code,
            error.message,
            hint=f"{hint} the same Idempotency-Key.",
            position=error.position,
        ) from error


def _retry(
    operation: Operation, key: bytes, body: bodies.Body, application: str | None
) -> RetryKey:
    if not operation.takes_retry_key:
        raise InvalidInput(
            "retry-key-not-taken",
            "This operation takes no Idempotency-Key.",
            hint="Sent again it is another request, with a record of its own.",
        )
    text = key.decode("latin-1")
    if not 1 <= len(text) <= RETRY_KEY_LENGTH_MAX or not (text.isascii() and text.isprintable()):
        raise InvalidInput(
            "malformed-header",
            f"An Idempotency-Key has 1 to {RETRY_KEY_LENGTH_MAX} visible characters.",
        )
    if " " in text:
        raise InvalidInput("malformed-header", "An Idempotency-Key has no blanks.")
    return RetryKey(operation.path, text, _asked(body, application))


def _asked(body: bodies.Body, application: str | None) -> str:
    """A digest of what is asked for, without any value."""
    if isinstance(body, bodies.Set):
        body = msgspec.structs.replace(body, fields=dict.fromkeys(sorted(body.fields)))
    try:
        content = msgspec.msgpack.encode((application, body))
    except OverflowError:  # a number that msgpack has no place for, and that the ledger refuses
        content = msgspec.json.encode((application, body))
    return hashlib.sha256(content).hexdigest()[:32]
