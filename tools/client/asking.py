"""Sending calls, at once or awaited, and again where that is safe.

A call that never left is sent again, whatever it is. One that may have arrived is sent again if it
changes nothing, or carries a retry key by which the service knows it. So is one for which the
service, or its store, has no time now (429, 503). Waits grow, with chance in them; where the
service says how long, that long is waited.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import httpx
import msgspec
import stamina

from ledger.errors import LedgerError, Refused, Unavailable
from ledger.values import FieldValue
from tools.client import calls
from tools.client.calls import Call
from tools.client.problems import error_of
from tools.client.server import Server

P = ParamSpec("P")
S = TypeVar("S", bound=OSError)
T = TypeVar("T")
MSGPACK = "application/msgpack"
WAIT_S_MAX = 10.0
_SLOWED = 429
"""More was asked than the caller's share, and nothing was done."""
_BUSY = {_SLOWED, 503}
_HUNG_UP = httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}
"""What OpenSSL says of certificates whose chain leads to none that is trusted (its `X509_V_ERR_`
numbers)."""


class _Busy(Exception):
    """The service has no time now; what it answered, and how long to wait."""

    def __init__(self, status: int, error: LedgerError, wait_s: float | None) -> None:
        super().__init__()
        self.status = status
        self.error = error
        self.wait_s = wait_s


class _Attempts(Generic[T]):
    """The answers to one call that may be sent again.

    A token that is good for one use may have been used up by an attempt that then failed. What was
    said of that one is worth more than that the token is refused now.
    """

    def __init__(self, call: Call[T]) -> None:
        self._call = call
        self._failed: LedgerError | None = None

    def read(self, answer: httpx.Response) -> T:
        """What the service answered, or the error that it told."""
        try:
            return _read(self._call, answer)
        except _Busy as busy:
            if busy.status != _SLOWED:
                self._failed = busy.error
            raise
        except Refused as refused:
            if refused.code != "token-refused" or self._failed is None:
                raise
            raise self._failed from refused


def _asked(make: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    """The method that makes this call and sends it."""

    @functools.wraps(make)
    def ask(self: Client, /, *said: P.args, **named: P.kwargs) -> T:
        return self.send(make(*said, **named))

    return ask


def _awaited(
    make: Callable[P, Call[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """The same, awaited."""

    @functools.wraps(make)
    async def ask(self: AsyncClient, /, *said: P.args, **named: P.kwargs) -> T:
        return await self.send(make(*said, **named))

    return ask


class Client:
    """A service that is asked; close it, or use it in `with`.

    `token` and `token_file` say who asks; at a unix socket the account does, without either. Every
    method raises errors of `ledger.errors`; `service-unreachable` where there is no connection.
    """

    def __init__(
        self,
        server: Server | str,
        *,
        token: FieldValue | None = None,
        token_file: Path | None = None,
    ) -> None:
        self.server = _server(server, token, token_file)
        self._http = httpx.Client(
            base_url=self.server.base_url,
            transport=httpx.HTTPTransport(verify=_verify(self.server), uds=self.server.socket),
            timeout=self.server.timeout_s,
            trust_env=False,
        )
        self._retrying = stamina.RetryingCaller(
            self.server.attempts, timeout=None, wait_max=WAIT_S_MAX
        )

    get = _asked(calls.get)
    set = _asked(calls.set_)
    issue_ticket = _asked(calls.issue_ticket)
    redeem_ticket = _asked(calls.redeem_ticket)

    def send(self, call: Call[T]) -> T:
        """Any other operation; `calls` has one function for each."""
        attempts = _Attempts(call)

        def once() -> T:
            headers, content = _headers(call, self.server), _content(call)
            return attempts.read(self._http.post(call.path, content=content, headers=headers))

        try:
            return self._retrying(_judge(call), once)
        except (_Busy, httpx.HTTPError) as error:
            raise _failure(error, self.server, call) from error

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient:
    """The same, awaited."""

    def __init__(
        self,
        server: Server | str,
        *,
        token: FieldValue | None = None,
        token_file: Path | None = None,
    ) -> None:
        self.server = _server(server, token, token_file)
        self._http = httpx.AsyncClient(
            base_url=self.server.base_url,
            transport=httpx.AsyncHTTPTransport(verify=_verify(self.server), uds=self.server.socket),
            timeout=self.server.timeout_s,
            trust_env=False,
        )
        self._retrying = stamina.AsyncRetryingCaller(
            self.server.attempts, timeout=None, wait_max=WAIT_S_MAX
        )

    get = _awaited(calls.get)
    set = _awaited(calls.set_)
    issue_ticket = _awaited(calls.issue_ticket)
    redeem_ticket = _awaited(calls.redeem_ticket)

    async def send(self, call: Call[T]) -> T:
        """Any other operation; `calls` has one function for each."""
        attempts = _Attempts(call)

        async def once() -> T:
            headers, content = _headers(call, self.server), _content(call)
            answer = await self._http.post(call.path, content=content, headers=headers)
            return attempts.read(answer)

        try:
            return await self._retrying(_judge(call), once)
        except (_Busy, httpx.HTTPError) as error:
            raise _failure(error, self.server, call) from error

    async def close(self) -> None:
        """Let the connections go."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _server(server: Server | str, token: FieldValue | None, token_file: Path | None) -> Server:
    if isinstance(server, Server):
        return server
    return Server(server, token=token, token_file=token_file)


def _verify(server: Server) -> ssl.SSLContext | bool:
    return server.tls() if server.base_url.startswith("https:") else True


def _judge(call: Call[T]) -> Callable[[Exception], bool | timedelta]:
    """Whether to send this call again after a failure, and after how long."""
    again = call.repeatable or call.retry_key is not None

    def judge(error: Exception) -> bool | timedelta:
        if isinstance(error, _Busy):
            if not again and error.status != _SLOWED:
                return False
            return True if error.wait_s is None else timedelta(seconds=error.wait_s)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            return not _is_distrust(error)
        return again and isinstance(error, httpx.TransportError)

    return judge


def _content(call: Call[T]) -> bytes:
    return msgspec.msgpack.encode(call.body)


def _headers(call: Call[T], server: Server) -> dict[str, str]:
    key = {} if call.retry_key is None else {"Idempotency-Key": call.retry_key}
    return {"Content-Type": MSGPACK, "Accept": MSGPACK, **key, **server.authorization()}


def _read(call: Call[T], answer: httpx.Response) -> T:
    if answer.status_code == httpx.codes.OK:
        return call.read(answer.content)
    error = error_of(answer.status_code, answer.content)
    if answer.status_code in _BUSY and isinstance(error, Unavailable):
        wait_s = _wait_s(answer.headers.get("Retry-After"))
        raise _Busy(answer.status_code, error, wait_s)
    raise error


def _wait_s(told: str | None) -> float | None:
    return min(float(told), WAIT_S_MAX) if told is not None and told.isdecimal() else None


def _is_distrust(error: Exception) -> bool:
    """Whether it comes from a certificate that did not pass the check."""
    return _cause(error, ssl.SSLCertVerificationError) is not None


def _cause(error: BaseException | None, kind: type[S]) -> S | None:
    """What is behind an error, where it is of this kind."""
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None


def _failure(error: Exception, server: Server, call: Call[T]) -> LedgerError:
    if isinstance(error, _Busy):
        return error.error
    distrust = _cause(error, ssl.SSLCertVerificationError)
    if distrust is not None:
        return _not_trusted(distrust)
    if server.base_url.startswith("https:") and _is_cut_off(error):
        return Unavailable(
            "service-unreachable",
            f"What is at {server.address} ended the connection without an answer.",
            hint="A service that asks for certificates does so to whoever shows none of its"
            " authority: give `--client-cert FILE`, or `certificate` of `Server`.",
        )
    return _unreachable(error, server, call)


def _unreachable(error: Exception, server: Server, call: Call[T]) -> Unavailable:
    cause = _cause(error, OSError)
    why = cause.strerror if cause is not None and cause.strerror else ""
    if isinstance(error, httpx.TimeoutException):
        why = "it did not answer in time"
    if isinstance(error, _HUNG_UP):  # in order or by a reset, as it happens to be seen
        why = "it ended the connection without an answer"
    told = f" ({why})" if why else ""
    if isinstance(cause, PermissionError) and server.socket is not None:
        return Unavailable(
            "service-unreachable",
            f"The service at {server.address} cannot be reached{told}.",
            hint="Its socket is open to the service's account and its group; be one of them.",
        )
    return Unavailable(
        "service-unreachable",
        f"The service at {server.address} cannot be reached{told}.",
        hint="Check the address and that it runs; the change may have happened if it was sent."
        if call.is_change
        else "Check the address and that it runs.",
    )


def _is_cut_off(error: Exception) -> bool:
    """Whether somebody was there, and hung up."""
    return isinstance(error, _HUNG_UP) or _cause(error, ssl.SSLError) is not None


def _not_trusted(error: ssl.SSLCertVerificationError) -> Unavailable:
    return Unavailable(
        "server-not-trusted",
        f"The service's certificate is not trusted here: {error.verify_message.rstrip('.')}."
        " Nothing was sent.",
        hint="Name the authority it is from: `--ca-file FILE`, or `ca_file` of `Server`."
        if error.verify_code in _UNKNOWN_AUTHORITY
        else "Ask by a name that stands in the certificate, and have it renewed before its end.",
    )
