"""The reference page of the service, made of its OpenAPI description and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.service.description import description
from tools.service.pages import PAGES

_HOW = (
    "How the service behaves is [a page of its own](http-behaviour.md): who calls, tokens that are"
    " good for one use, limits, unsealing, retry keys, and what the bodies and errors mean."
    " `GET /openapi.json` is this page for programs."
)
_SHAPES = (
    "`?` marks what may be left out. A body that is refused for its words, though it is as"
    " described, is refused for what is there: the codes are among the [errors](errors.md)."
)


def http_page() -> str:
    """The page."""
    document = description()
    paths, schemas = document["paths"], document["components"]["schemas"]
    asked = {path: one["post"] for path, one in paths.items() if "post" in one}
    lines = ["# The service over HTTP", "", document["info"]["description"], "", _HOW, ""]
    lines += ["## Operations", "", _SHAPES, "", "| operation | body | answer |", "|---|---|---|"]
    lines += [_operation_row(path, one, schemas) for path, one in asked.items()]
    lines += ["", "## What each does", "", "| path | does | takes a retry key |", "|---|---|---|"]
    lines += [_meaning_row(path, one, schemas) for path, one in asked.items()]
    lines += ["", "## Keys of bodies", "", "| key | what it is | of |", "|---|---|---|"]
    lines += list(_key_rows(asked, schemas))
    lines += ["", "## Without a caller", "", "Each takes HEAD too, which has no content.", ""]
    lines += ["| path | what | form and shape | statuses |", "|---|---|---|---|"]
    lines += [_page_row(path, paths[path]["get"], schemas) for path in PAGES]
    lines += ["", "## Statuses", "", "| status | when | form | headers |", "|---|---|---|---|"]
    lines += list(_status_rows(document["components"]["responses"]))
    lines += ["", "Every answer has these headers, and those that its status has above.", ""]
    lines += ["| header | what it says | on |", "|---|---|---|", *_header_rows(document)]
    lines += ["", "## Problems", "", schemas["Problem"]["description"], ""]
    lines += ["| key | what it is |", "|---|---|"]
    lines += [
        f"| `{key}`{_mark(key, schemas['Problem'])} | {_meaning(one, schemas)} |"
        for key, one in schemas["Problem"]["properties"].items()
    ]
    return "\n".join(lines) + "\n"


def _operation_row(path: str, one: dict[str, Any], schemas: dict[str, Any]) -> str:
    body = _shape(_schema_of(one["requestBody"]), schemas)
    answer = _shape(_schema_of(one["responses"]["200"]), schemas)
    return f"| `POST {path}` | `{body}` | `{answer}` |"


def _meaning_row(path: str, one: dict[str, Any], schemas: dict[str, Any]) -> str:
    taken = "yes" if one.get("parameters") else ""
    body = schemas[_name_of(_schema_of(one["requestBody"]))]["description"]
    told = [one.get("description", one["summary"])]
    if body != one["summary"]:
        told.append(f"The body says: {body[0].lower()}{body[1:]}")
    return f"| `{path}` | {_in_row(' '.join(told))} | {taken} |"


def _key_rows(asked: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    """Each key once with each of its meanings."""
    found: dict[tuple[str, str], list[str]] = {}
    for path, one in asked.items():
        body = schemas[_name_of(_schema_of(one["requestBody"]))]
        for key, schema in body["properties"].items():
            told = found.setdefault((key, _meaning(schema, schemas)), [])
            told.append(path.removeprefix("/v1/"))
    for (key, meaning), operations in sorted(found.items()):
        of = "most" if len(operations) > 6 else ", ".join(f"`{one}`" for one in operations)
        yield f"| `{key}` | {_in_row(meaning)} | {of} |"


def _meaning(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """Its type with its bounds, and what is said of it."""
    schema = _resolved(_without_null(schema), schemas)
    told = [_type(schema), schema.get("description", "")]
    if schema.get("type") == "array":
        items = _resolved(schema["items"], schemas)
        told.append(items.get("description") or "")
    return " ".join(filter(None, told))


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "One of " + ", ".join(f"`{one}`" for one in schema["enum"]) + "."
    bounds = {
        "maxLength": "at most {:,} characters",
        "maxItems": "at most {:,}",
        "maxProperties": "at most {:,}",
        "minimum": "from {:,}",
        "maximum": "to {:,}",
    }
    kind = str(schema.get("type", "any")).capitalize()
    told = [text.format(schema[key]) for key, text in bounds.items() if key in schema]
    return f"{', '.join([kind, *told])}."


def _page_row(path: str, one: dict[str, Any], schemas: dict[str, Any]) -> str:
    done = one["responses"]["200"]["content"]
    forms = "; ".join(
        f"`{form}`"
        + ("" if "$ref" not in said["schema"] else f" `{_shape(said['schema'], schemas)}`")
        for form, said in done.items()
    )
    return f"| `GET {path}` | {_in_row(one['summary'])} | {forms} | {', '.join(sorted(one['responses']))} |"


def _status_rows(responses: dict[str, Any]) -> Iterator[str]:
    for name, one in sorted(responses.items()):
        forms = ", ".join(f"`{form}`" for form in one.get("content", ())) or "no content"
        own = [header for header in one["headers"] if header not in ("Cache-Control", "Connection")]
        closes = ["Connection"] * one["headers"]["Connection"]["required"]
        headers = ", ".join(f"`{header}`" for header in (*own, *closes))
        status = name.removeprefix("Problem")
        yield f"| {status} | {_in_row(one['description'])} | {forms} | {headers} |"


def _header_rows(document: dict[str, Any]) -> Iterator[str]:
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for name, one in document["components"]["responses"].items():
        for header, said in one["headers"].items():
            found.setdefault(header, (said, []))[1].append(name.removeprefix("Problem"))
    for header, (said, statuses) in sorted(found.items()):
        everywhere = len(statuses) == len(document["components"]["responses"])
        often = "any answer" if header == "Connection" else "every answer"
        on = often if everywhere else ", ".join(statuses)
        yield f"| `{header}` | {_in_row(said['description'])} | {on} |"


def _shape(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """The keys, and those of what lies within."""
    schema = _resolved(_without_null(schema), schemas)
    if schema.get("type") == "array":
        return f"[{_shape(schema['items'], schemas)}]"
    if "anyOf" in schema and "properties" not in schema:
        return " or ".join(filter(None, (_shape(one, schemas) for one in schema["anyOf"])))
    if "properties" not in schema:
        inner = schema.get("additionalProperties")
        named = _shape(inner, schemas) if isinstance(inner, dict) and "$ref" in inner else ""
        return f"{{…: {named}}}" if named else ""
    told = []
    for key, one in schema["properties"].items():
        inner = _shape(one, schemas)
        nested = f": {inner}" if inner.strip("[]") else ""
        told.append(f'"{key}"{_mark(key, schema)}{nested}')
    return f"{{{', '.join(told)}}}"


def _mark(key: str, schema: dict[str, Any]) -> str:
    return "" if key in schema.get("required", ()) else "?"


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    ways = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return ways[0] if len(ways) == 1 and "properties" not in schema else schema


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    return schemas[_name_of(schema)] if "$ref" in schema else schema


def _name_of(schema: dict[str, Any]) -> str:
    return str(schema["$ref"].rpartition("/")[2])


def _schema_of(content: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = content["content"]["application/json"]["schema"]
    return said


def _in_row(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
