"""The difference between two states, as rows for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Words(NamedTuple):
    """What is said of things that are there only after, only before, or otherwise than before."""

    added: str
    removed: str
    changed: str


RESTORING = Words("restore", "delete", "restore")
HAPPENED = Words("added", "removed", "changed")


def difference_rows(difference: dict[str, Any], words: Words) -> list[dict[str, object]]:
    """The difference as rows of a table: what happens to what, from, and to.

    As `projections.moment.diff` tells it, or with what a plan of a restoration knows besides.
    """
    rows: list[dict[str, object]] = []
    recreated = difference.get("recreated", [])
    for kind, name in (("applications", "application"), ("credentials", "credentials")):
        parts = difference[kind]
        rows += [_row(f"{words.added} {name}", one, None, _brief(one)) for one in parts["added"]]
        rows += [
            _row(f"{words.removed} {name}", one, _brief(one), None) for one in parts["removed"]
        ]
        for pair in parts["changed"]:
            rows += _changed(name, pair["before"], pair["after"], recreated, words)
    roles = difference.get("roles", {"granted": [], "revoked": []})
    rows += [_right("grant", one) for one in roles["granted"]]
    rows += [_right("revoke", one) for one in roles["revoked"]]
    for one in difference.get("staying", []):
        names = [field["name"] for field in one["fields"]]
        rows.append(_row("field stays", one, names, names))
    rows += [
        _row("cannot restore", one, None, "key destroyed") for one in difference.get("lost", [])
    ]
    return rows


_UNTOLD = ("version", "created_at", "updated_at", "updated_by")


def _changed(
    name: str,
    before: dict[str, Any],
    after: dict[str, Any],
    recreated: list[str],
    words: Words,
) -> Iterator[dict[str, object]]:
    if name == "credentials":
        yield _row(f"{words.changed} credentials", after, _brief(before), _brief(after))
        return
    if before["application"] in recreated:
        yield _row("create again", after, _brief(before), _brief(after))
    for key, old in before.items():
        new = after[key]
        if key not in _UNTOLD and old != new:
            if isinstance(old, list):
                yield _row(key.replace("_", " "), after, _only(old, new), _only(new, old))
            else:
                yield _row(key.replace("_", " "), after, old, new)


def _only(these: list[Any], those: list[Any]) -> list[Any]:
    kept = [one for one in these if one not in those]
    return [_field(one) if isinstance(one, dict) else one for one in kept]


def _field(field: dict[str, Any]) -> str:
    return f"{field['name']}:{field['type']}{':masked' if field['masked'] else ''}"


def _brief(document: dict[str, Any]) -> str:
    return f"version {document['version']}" if "owner" in document else str(document["kind"])


def _row(action: str, document: dict[str, Any], before: object, after: object) -> dict[str, object]:
    return {
        "action": action,
        "application": document["application"],
        "owner": document.get("owner"),
        "from": before,
        "to": after,
    }


def _right(action: str, held: dict[str, str]) -> dict[str, object]:
    return {
        "action": f"{action} {held['right']}",
        "application": None,
        "owner": held["claim"],
        "from": None,
        "to": None,
    }
