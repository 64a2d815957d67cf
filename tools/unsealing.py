"""Handing a passphrase or key to a service over its unix socket."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from pathlib import Path
from typing import Any

from ledger.errors import (
    Conflict,
    InvalidInput,
    KeyUnavailable,
    LedgerError,
    NotFound,
    Refused,
    Tampered,
    Unavailable,
)
from ledger.sealing.slots import PASSPHRASE, Holding

UNSEAL_PATH = "/v1/unseal"
_ANSWER_S = 120
"""Deriving a key takes seconds, catching up with a long log more."""
_ANSWER_BYTES_MAX = 64 * 1024
_BY_TITLE = {
    "Invalid": InvalidInput,
    "Not found": NotFound,
    "Refused": Refused,
    "Conflict": Conflict,
    "Key unavailable": KeyUnavailable,
    "Unavailable": Unavailable,
    "Tampered": Tampered,
}


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket of this path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def hand_over(path: Path, holding: Holding, slot: int | None) -> dict[str, Any]:
    """Unseal the service at this socket; its error is ours, `service-unreachable` without one."""
    body: dict[str, object] = {} if slot is None else {"slot": slot}
    if holding.kind == PASSPHRASE:
        body["passphrase"] = holding.secret.decode()
    else:
        body["key"] = base64.b64encode(holding.secret).decode()
    connection = _UnixConnection(path)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", UNSEAL_PATH, json.dumps(body), headers)
        answer = connection.getresponse()
        document = json.loads(answer.read(_ANSWER_BYTES_MAX))
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise Unavailable(
            "service-unreachable",
            f"No service answers at {path}{f' ({why})' if why else ''}.",
            hint="Its own account or root unseals a service, while `credledger serve` runs."
            if isinstance(error, PermissionError)
            else "Check --socket, and whether `credledger serve` runs.",
        ) from None
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise _error_in(document)
    return dict(document)


def _error_in(problem: dict[str, Any]) -> LedgerError:
    family = _BY_TITLE.get(str(problem.get("title")), LedgerError)
    return family(
        str(problem.get("code")), str(problem.get("detail")), hint=str(problem.get("hint", ""))
    )
