"""The ceiling of a service: the same server, the same form of question and answer, no ledger.

python -m tools.bench.trivial    says the port that it listens at, and answers until it is ended
"""

from __future__ import annotations

import socket
from typing import Any

import msgspec
import uvicorn

from tools.service.answers import Retrieved
from tools.service.bodies import Get
from tools.service.http_server import uvicorn_config

_decode = msgspec.json.Decoder(Get).decode
_encode = msgspec.json.Encoder().encode
_FIELDS: dict[str, Any] = {
    "Windows User Name": "CONTOSO\\someone",
    "Windows Password": "a password of usual length",
}


async def handler(_: Any, receive: Any, send: Any) -> None:
    """One body in, one answer out."""
    message = await receive()
    asked = _decode(message["body"])
    answer = Retrieved(asked.application or "", "user:u1", 1, _FIELDS, True, (), 1)
    content = _encode(answer)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def main() -> None:
    """Listen at any port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn_config(handler)).run([listening])


if __name__ == "__main__":
    main()
