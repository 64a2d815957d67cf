"""The service's own log: one JSON document a line, to standard error.

What may stand in it is listed here and nowhere else: operations, statuses, codes, addresses, times,
the hosts where issuers' keys are fetched, and at the start the paths of files with secrets that are
open to others.
No claim, application, reason, token, ticket or value ever does; who asked for what is in the
ledger. Failures, and what the HTTP server has to say, are written up to a rate, for strangers
cause them; how many were left out is told. Nobody waits for whoever reads it; see `outlet.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO, cast
from urllib.parse import urlsplit

import structlog

from tools.service.outlet import Outlet
from tools.service.shares import Shares

if TYPE_CHECKING:
    from ledger.errors import LedgerError

_RATE = 20.0
_BURST = 200


class Journal:
    """Writes the lines."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._log = structlog.wrap_logger(
            # Its type asks for a whole text stream; all it does is write and flush, as here.
            structlog.WriteLogger(cast("TextIO", outlet)),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.BoundLogger,
        )
        self._shares = Shares(_RATE, _BURST, time.monotonic)
        self._left_out = 0

    @property
    def dropped(self) -> int:
        """Lines that could not be handed on."""
        return self._outlet.dropped

    def close(self) -> None:
        """Let the last lines leave."""
        self._outlet.close()

    def listening(self, places: list[str], *, sealed: bool) -> None:
        """The service answers from now on."""
        self._log.info("listening", places=places, sealed=sealed)

    def unsealed(self, slot: int) -> None:
        """Somebody unlocked the ledger."""
        self._log.info("unsealed", slot=slot)

    def front_ended(self, status: int, again_in_s: float) -> None:
        """A process that spoke HTTP ended by itself; another one is started by then."""
        self._log.warning("front-ended", status=status, again_in_s=again_in_s)

    def front_silent(self) -> None:
        """A process that spoke HTTP took nothing more, and was ended."""
        self._log.warning("front-silent")

    def front_not_started(self, sentence: str, again_in_s: float) -> None:
        """Another one did not start, and is tried again by then."""
        self._log.error("front-not-started", message=sentence, again_in_s=again_in_s)

    def front_not_confined(self) -> None:
        """The kernel does not keep a front from the files of the service's account."""
        self._log.warning("front-not-confined")

    def few_open_files(self, limit: int, wanted: int) -> None:
        """The system lets this process open fewer files than its connections may need."""
        self._log.warning("few-open-files", limit=limit, wanted=wanted)

    def open_to_others(self, option: str, path: str) -> None:
        """A file with a secret, which this option names, may be read by others than its owner."""
        self._log.warning("open-to-others", option=option, path=path)

    def keys_not_fetched(self, url: str, error: LedgerError) -> None:
        """An issuer's keys were asked for and not got; of each issuer that is so twice a minute."""
        host = urlsplit(url).netloc
        self._log.warning("keys-not-fetched", host=host, code=error.code, message=error.message)

    def stopping(self) -> None:
        """No more connections are taken."""
        self._log.info("stopping")

    def stopped(self, unremembered: str) -> None:
        """All that was acknowledged is durable; the code of what could not be remembered, if so."""
        self._log.info("stopped", unremembered=unremembered)

    def failed(self, operation: str, status: int, code: str, source: str, seconds: float) -> None:
        """A request that was not done as asked."""
        self._write(
            self._log.error if status >= 500 else self._log.warning,
            "request-failed",
            operation=operation,
            status=status,
            code=code,
            source=source,
            milliseconds=round(seconds * 1000, 1),
        )

    def server_said(self, message: str, exception: str = "") -> None:
        """Something that the HTTP server has to say, without what it would fill in."""
        told = {"exception": exception} if exception else {}
        self._write(self._log.warning, "server", message=message, **told)

    def _write(self, write: Callable[..., Any], event: str, **told: Any) -> None:
        if self._shares.wait_s("") > 0:
            self._left_out += 1
            return
        if self._left_out:
            told["left_out"] = self._left_out
        self._left_out = 0
        write(event, **told)
