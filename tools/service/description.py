"""The OpenAPI description, made of the table of operations."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec

from tools.service.forms import BODY_BYTES_MAX
from tools.service.operations import OPERATIONS, Operation
from tools.service.problems import STATUSES, Problem

_REF = "#/components/schemas/{name}"
_REASONS = {
    400: "The body or a header is malformed.",
    401: "There is no caller: no token, or none that is accepted.",
    403: "The rules say no.",
    404: "Nothing of that name is here, or nothing is set.",
    405: "The path takes another method.",
    408: "The request did not come to its end in time.",
    409: "Something is there already, or was changed meanwhile.",
    413: f"The body has more than {BODY_BYTES_MAX} bytes.",
    415: "The body is in neither of the two forms.",
    422: "The words or values are off.",
    423: "The service is sealed.",
    429: "More is asked than the share of the caller or the address.",
    500: "Something unforeseen happened.",
    503: "Store, keyring or clock do not serve; nothing was released.",
}


def description() -> dict[str, Any]:
    """The whole document."""
    kinds = [kind for one in OPERATIONS.values() for kind in (one.body, one.answer)]
    _, schemas = msgspec.json.schema_components([*kinds, Problem], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "credledger",
            "version": version("credledger"),
            "description": "A credential ledger: nothing is released unrecorded.",
        },
        "paths": {one.path: {"post": _operation(one)} for one in OPERATIONS.values()},
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {f"Problem{status}": _problem(status) for status in STATUSES},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _operation(one: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": one.path.removeprefix("/v1/").replace("/", "-"),
        "summary": one.summary,
        "requestBody": {"required": True, "content": _contents(one.body)},
        "responses": {
            "200": {"description": "Done.", "content": _contents(one.answer)},
            **{
                str(status): {"$ref": f"#/components/responses/Problem{status}"}
                for status in STATUSES
            },
        },
    }
    if one.takes_retry_key:
        told["parameters"] = [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Sent again with the same key, a request has its first outcome.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
            }
        ]
    return told


def _contents(kind: type) -> dict[str, Any]:
    schema = {"schema": {"$ref": _REF.format(name=kind.__name__)}}
    return {"application/json": schema, "application/msgpack": schema}


def _problem(status: int) -> dict[str, Any]:
    schema = {"schema": {"$ref": _REF.format(name=Problem.__name__)}}
    return {
        "description": _REASONS[status],
        "content": {"application/problem+json": schema},
    }
