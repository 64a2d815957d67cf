"""The OpenAPI description, made of the tables of operations and pages.

Whatever the service can answer stands here, so that the reference page and clients can be made of
it: each status, and each header besides those that every HTTP message has.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import msgspec

from tools.service import pages, patterns
from tools.service.bodies import Body
from tools.service.forms import BODY_BYTES_MAX
from tools.service.operations import OPERATIONS, Operation
from tools.service.pages import PAGES, Page
from tools.service.problems import CLOSING, STATUSES, Problem
from tools.service.unsealing import UNSEAL_PATH, Unseal, Unsealed

_SCHEMA = "#/components/schemas/{name}"
HEAD_TOO_LARGE = 431
UNREADABLE = 400
ANSWERED = (*STATUSES, HEAD_TOO_LARGE)
"""All statuses besides 200."""
REASONS = {
    400: "The body or a header is malformed; as plain text, what came is no HTTP at all.",
    401: "There is no caller: no token, or none that is accepted.",
    403: "A passphrase or key opens no slot; or the rules say no: `access-denied` carries the"
    " position of the record, and a stranger hears the same whether the application exists or not.",
    404: "Nothing of that name is here, or nothing is set: `credentials-not-set` carries the page"
    " where they can be set.",
    405: "The path takes another method.",
    408: "The request did not come to its end in time.",
    409: "Something is there already, or was changed meanwhile.",
    413: f"The body has more than {BODY_BYTES_MAX} bytes.",
    415: "The body is in neither of the two forms, or compressed.",
    422: "The words or values are off.",
    423: "The service is sealed: nobody has unlocked it yet.",
    429: "More is asked than the share of the caller or the address.",
    431: "The head of the request is too large; there is no content.",
    500: "Something unforeseen happened, which tells its type and place only.",
    503: "The store does not serve, the keyring does not fit, stored bytes are not what was signed,"
    " or too much is asked at once; nothing was released.",
}
HEADERS = {
    "Cache-Control": ("Nobody keeps an answer.", {"const": "no-store"}),
    "Allow": ("The methods that the path takes.", {"enum": ["POST", "GET, HEAD"]}),
    "Connection": ("The connection ends behind this answer.", {"const": "close"}),
    "Retry-After": ("Seconds after which to come again.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": (
        "A challenge (RFC 6750); the same for every fault of a token.",
        {"type": "string", "pattern": "^Bearer "},
    ),
}
"""What each is for, and its schema."""
_OF_STATUS = {401: ("WWW-Authenticate",), 405: ("Allow",), 429: ("Retry-After",)}
_SEALED_OUT = (401, 423)
"""What unsealing never answers: it asks for no token, and is there for what is sealed."""
_ABOUT = (
    "A credential ledger: nothing is released unrecorded. Each operation is one `POST` to a path of"
    " its own with one body, and means what the command of the same name means: the same rules, the"
    " same records, the same error codes. Names, claims, tickets and reasons stand in bodies only,"
    " never in a path or a query, because those end up in the logs of whatever lies between."
    " Without a token, the caller at the unix socket is the account of the process that connected;"
    " over TCP every operation needs one."
)
_UNSEAL = (
    "Opens a sealed service; taken over the unix socket only, and only from the service's own"
    " account or root. Anybody else is answered 403 (`not-allowed-to-unseal`)."
)


def description() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "credledger",
            "version": version("credledger"),
            "description": _ABOUT,
        },
        "paths": {
            **{one.path: {"post": _operation(one)} for one in OPERATIONS.values()},
            UNSEAL_PATH: {"post": _unseal()},
            **{one.path: _page(one) for one in PAGES.values()},
        },
        "components": {
            "schemas": _schemas(),
            "responses": {f"Problem{status}": _problem(status) for status in ANSWERED},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _schemas() -> dict[str, Any]:
    """All shapes; those of bodies say also what their keys are together."""
    kinds = [kind for one in OPERATIONS.values() for kind in (one.body, one.answer)]
    shown = [kind for page in PAGES.values() for kind in page.answers.values() if kind is not str]
    wanted = [*kinds, Unseal, Unsealed, Problem, *shown]
    _, schemas = msgspec.json.schema_components(wanted, ref_template=_SCHEMA)
    for kind in _bodies(Body):
        if kind.__name__ in schemas:
            schemas[kind.__name__] = {**schemas[kind.__name__], **kind.TOGETHER}
    return dict(sorted(schemas.items()))


def _bodies(kind: type[Body]) -> Iterable[type[Body]]:
    for one in kind.__subclasses__():
        yield one
        yield from _bodies(one)


def _operation(one: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": one.path.removeprefix("/v1/").replace("/", "-"),
        "tags": [one.path.split("/")[2]],
        "summary": one.summary,
        "requestBody": {"required": True, "content": _contents(one.body)},
        "responses": _responses(_contents(one.answer), ANSWERED),
    }
    if one.takes_retry_key:
        told["parameters"] = [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Sent again with the same key, a request has its first outcome.",
                "schema": {"type": "string", "pattern": patterns.RETRY_KEY},
            }
        ]
    return told


def _unseal() -> dict[str, Any]:
    statuses = tuple(one for one in ANSWERED if one not in _SEALED_OUT)
    return {
        "operationId": "unseal",
        "tags": ["unseal"],
        "summary": "A sealed service opens.",
        "description": _UNSEAL,
        "requestBody": {"required": True, "content": _contents(Unseal)},
        "responses": _responses({pages.JSON: _reference(Unsealed)}, statuses),
        "security": [],
    }


def _page(one: Page) -> dict[str, Any]:
    """Both methods; HEAD is answered without the content."""
    name = one.path.strip("/.").replace("/", "-").replace(".", "-")
    contents = {media: _reference(kind) for media, kind in one.answers.items()}
    told = {"tags": ["pages"], "summary": one.summary, "security": []}
    whole = _responses(contents, one.statuses)
    for status, meaning in one.own.items():
        told_of = {"description": meaning, "headers": _headers(status), "content": contents}
        whole[str(status)] = told_of
    heads = {status: _without_content(one) for status, one in whole.items()}
    return {
        "get": {"operationId": name, **told, "responses": whole},
        "head": {"operationId": f"{name}-head", **told, "responses": heads},
    }


def _without_content(response: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in response:
        return {key: one for key, one in response.items() if key != "content"}
    return _without_content(_problem(int(response["$ref"][-3:])))


def _responses(contents: dict[str, Any], statuses: Iterable[int]) -> dict[str, Any]:
    done = {"description": "Done.", "headers": _headers(200), "content": contents}
    problems = {
        str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in statuses
    }
    return {"200": done, **problems}


def _headers(status: int) -> dict[str, Any]:
    """`Connection` may come with any answer; some never come without it."""
    closes = status in CLOSING or status == HEAD_TOO_LARGE
    told = {"Cache-Control": True, "Connection": closes}
    told |= dict.fromkeys(_OF_STATUS.get(status, ()), True)
    return {
        name: {"description": HEADERS[name][0], "required": always, "schema": HEADERS[name][1]}
        for name, always in told.items()
    }


def _contents(kind: type) -> dict[str, Any]:
    return {media: _reference(kind) for media in (pages.JSON, "application/msgpack")}


def _reference(kind: type) -> dict[str, Any]:
    if kind is str:
        return {"schema": {"type": "string"}}
    return {"schema": {"$ref": _SCHEMA.format(name=kind.__name__)}}


def _problem(status: int) -> dict[str, Any]:
    told: dict[str, Any] = {"description": REASONS[status], "headers": _headers(status)}
    if status == HEAD_TOO_LARGE:
        return told
    told["content"] = {"application/problem+json": _reference(Problem)}
    if status == UNREADABLE:
        told["content"]["text/plain"] = _reference(str)
    return told
