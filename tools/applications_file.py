"""Applications as code: a TOML file, compared with what is there, and applied.

    [application."payroll"]
    kind = "individual"
    name = "Payroll"
    fields = ["User:user-name", {name = "Password", type = "password", masked = true}]
    administrators = ["user:alice"]

Keys are those of `app show`; a key that the file leaves out is left alone, and those the ledger
itself writes (`version`, `created_at`, ...) are read over. Kind, ticketing, restricted and the
types of fields are fixed at creation; fields are added and never taken away. A file is applied as
a whole or not at all, and applying it twice changes nothing the second time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.aggregates.application import Field, make_field, parse_field, readers
from ledger.claims import parse_claim
from ledger.errors import InvalidInput
from ledger.identifiers import application_key, field_key
from ledger.replacing import replace
from tools.people.documents import (
    TOML_BYTES_MAX,
    StandardInput,
    decode_text,
    parse_toml,
    read_bytes,
    shown,
    within,
)

if TYPE_CHECKING:
    from ledger.claims import Claim
    from ledger.log.transaction import Request
    from ledger.usecases.acting import Acting
    from ledger.usecases.ledger import Ledger
    from ledger.usecases.outcomes import Outcome

TEXTS = ("name", "contact", "credential_page")
FIXED = ("kind", "ticketing", "restricted")
ROLES = {
    "administrators": "administrator",
    "members": "member",
    "ticket_redeemers": "ticket-redeemer",
}
WRITTEN_BY_LEDGER = ("application", "version", "created_at", "updated_at", "updated_by")
_TYPES: dict[str, type] = {
    "kind": str,
    "ticketing": bool,
    "restricted": bool,
    "open": bool,
    "name": str,
    "contact": str,
    "credential_page": str,
    "ticket_timeout_s": int,
    "fields": list,
    "administrators": list,
    "members": list,
    "ticket_redeemers": list,
}
_PURPOSE = "applications"


class Change(msgspec.Struct, frozen=True):
    """One step from what is there to what the file says."""

    application: str
    action: str
    """`create`, `update`, `add-field`, `grant`, `revoke`, `open` or `delete`; or `follows`, for
    what is no step of its own: who may read behind the others."""
    what: str
    before: object
    after: object

    def as_document(self) -> dict[str, object]:
        """The JSON shape; for creations the settings, for grants the claim."""
        after = self.after
        if isinstance(after, Field):
            after = {"name": after.name, "type": after.type, "masked": after.masked}
        elif self.action == "create":
            assert isinstance(after, dict)
            after = {key: after[key] for key in _TYPES if key in after}
        return {
            "application": self.application,
            "action": self.action,
            "what": self.what,
            "from": self.before,
            "to": after,
        }


def doomed(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The IDs of the applications that changes delete, by their documents."""
    return [str(one["application"]) for one in changes if one["action"] == "delete"]


def change_row(document: Mapping[str, Any]) -> dict[str, object]:
    """A change for a table: a creation's settings as `KEY VALUE; ...`, fields as written."""
    after = document["to"]
    if document["action"] == "add-field":
        return {**document, "to": _field_text(Field(after["name"], after["type"], after["masked"]))}
    if document["action"] != "create":
        return dict(document)
    told = (f"{key} {_setting_text(key, value)}" for key, value in after.items())
    return {**document, "to": "; ".join(told)}


def read_applications(place: str, standard_input: StandardInput) -> dict[str, dict[str, Any]]:
    """The file's tables by application ID, checked for unknown keys and types."""
    purpose = within(_PURPOSE, place)
    content = read_bytes(place, _PURPOSE, TOML_BYTES_MAX, standard_input)
    document = parse_toml(decode_text(content, purpose), purpose)
    tables = document.pop("application", {})
    if document or not isinstance(tables, dict):
        raise InvalidInput(
            "invalid-applications",
            f'{shown(place)} may hold [application."ID"] tables only.',
        )
    return checked_tables(tables)


def checked_tables(tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The tables, wherever they came from, checked for unknown keys and types."""
    known: set[str] = set()
    for identifier, table in tables.items():
        if application_key(identifier) in known:
            raise InvalidInput("invalid-applications", "An application is named twice.")
        known.add(application_key(identifier))
        _check_table(identifier, table)
    return tables


def plan_changes(
    wanted: Mapping[str, Mapping[str, Any]],
    present: Sequence[Mapping[str, Any]],
    *,
    prune: bool,
    canonical: Callable[[Claim], Claim],
) -> list[Change]:
    """All steps, in an order in which they can be taken.

    `canonical` is how the ledger compares claims.
    """
    there = {application_key(str(one["application"])): one for one in present}
    changes: list[Change] = []
    for identifier, table in wanted.items():
        named = _with_canonical_claims(table, canonical)
        current = there.pop(application_key(identifier), None)
        if current is None:
            if "kind" not in table:
                raise InvalidInput("invalid-applications", "A new application needs a kind.")
            changes.append(Change(identifier, "create", "application", None, named))
        else:
            changes.extend(_differences(str(current["application"]), named, current))
    if prune:
        changes.extend(
            Change(str(one["application"]), "delete", "application", None, None)
            for one in there.values()
        )
    return changes


def _with_canonical_claims(
    table: Mapping[str, Any], canonical: Callable[[Claim], Claim]
) -> dict[str, Any]:
    claims = {
        key: [str(canonical(parse_claim(text))) for text in table[key]]
        for key in ROLES
        if key in table
    }
    return {**table, **claims}


def apply_changes(ledger: Ledger, acting: Acting, changes: Sequence[Change]) -> int | None:
    """Take all steps in one transaction; the position of the last one, None without any."""
    requests = [request for change in changes for request in _requests(ledger, acting, change)]
    if not requests:
        return None
    return ledger.change_together(requests)[-1].position


def to_toml(documents: Sequence[Mapping[str, Any]]) -> str:
    """The applications as a file that reads back to the same."""
    return "\n".join("\n".join(_table(document)) + "\n" for document in documents)


def _setting_text(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        listed = [_field_text(_field(one)[0]) for one in value] if key == "fields" else value
        return ", ".join(map(str, listed))
    return str(value)


def _field_text(field: Field) -> str:
    return f"{field.name}:{field.type}{':masked' if field.masked else ''}"


def _requests(ledger: Ledger, acting: Acting, change: Change) -> Iterator[Request[Outcome]]:
    name, after, make = change.application, change.after, ledger.changes
    if change.action == "create":
        assert isinstance(after, dict)
        settings: dict[str, Any] = {k: value for k, value in after.items() if k in _TYPES}
        is_open = settings.pop("open", None)
        listed = settings.get("fields", ())
        assert isinstance(listed, list | tuple)
        settings["fields"] = tuple(_field(entry)[0] for entry in listed)
        yield make.create(acting, name, **settings)
        if is_open and after.get("members"):
            yield make.update(acting, name, changes={}, open_to_all=True)
    elif change.action == "update":
        yield make.update(acting, name, changes={change.what: after})
    elif change.action == "add-field":
        assert isinstance(after, Field)
        yield make.update(acting, name, changes={}, add_fields=(after,))
    elif change.action == "open":
        yield make.update(acting, name, changes={}, open_to_all=True)
    elif change.action == "grant":
        yield make.grant(acting, name, change.what, str(after))
    elif change.action == "revoke":
        yield make.revoke(acting, name, change.what, str(change.before))
    elif change.action == "delete":
        yield make.delete(acting, name)


def _differences(
    name: str, table: Mapping[str, Any], current: Mapping[str, Any]
) -> Iterator[Change]:
    for key in FIXED:
        if key in table and table[key] != current[key]:
            raise InvalidInput(
                "fixed-setting",
                f"The {key} of an application is fixed at its creation.",
                hint="Create another application, or take the key out of the file.",
            )
    for key in (*TEXTS, "ticket_timeout_s"):
        if key in table and table[key] != current[key]:
            yield Change(name, "update", key, current[key], table[key])
    if "fields" in table:
        yield from _field_differences(name, table["fields"], current["fields"])
    for key, role in ROLES.items():
        if key in table:
            yield from _claim_differences(name, role, table[key], current[key])
    yield from _openness(name, table, current)


def _openness(name: str, table: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Change]:
    """Opening, where it is said, and what then follows for who may read."""
    members = table.get("members", current["members"])
    is_open = current["open"] and set(members) <= set(current["members"])
    if table.get("open", is_open) != is_open:
        if not table["open"]:
            raise InvalidInput(
                "closing-needs-member",
                "An open application is closed by naming a member.",
                hint="Name at least one member in the file.",
            )
        yield Change(name, "open", "open", False, True)
        is_open = True
    before = readers(current["members"], is_open=current["open"])
    after = readers(members, is_open=is_open)
    if before != after:
        yield Change(name, "follows", "readers", before, after)


def _field_differences(
    name: str, wanted: Sequence[Any], current: Sequence[Mapping[str, Any]]
) -> Iterator[Change]:
    there = {field_key(str(one["name"])): one for one in current}
    for entry in wanted:
        setting, told = _field(entry)
        known = there.pop(field_key(setting.name), None)
        if known is None:
            yield Change(name, "add-field", setting.name, None, setting)
        elif known["type"] != setting.type:
            raise InvalidInput("fixed-setting", "The type of a field is fixed when it is added.")
        elif told and known["masked"] != setting.masked:
            shown = str(known["name"])
            yield Change(
                name, "update", "masked", {shown: known["masked"]}, {shown: setting.masked}
            )
    if there:
        raise InvalidInput(
            "fixed-setting",
            "A field cannot be taken away from an application.",
            hint="List all its fields in the file, or leave the key out.",
        )


def _claim_differences(
    name: str, role: str, wanted: Sequence[str], current: Sequence[str]
) -> Iterator[Change]:
    for claim in sorted(set(wanted) - set(current)):
        yield Change(name, "grant", role, None, claim)
    for claim in sorted(set(current) - set(wanted)):
        yield Change(name, "revoke", role, claim, None)


def _check_table(identifier: str, table: object) -> None:
    if not isinstance(table, dict):
        raise InvalidInput("invalid-applications", "An application must be a table.")
    if "application" in table and table["application"] != identifier:
        raise InvalidInput("invalid-applications", "A table names another application than itself.")
    for key, value in table.items():
        if key in WRITTEN_BY_LEDGER:
            continue
        kind = _TYPES.get(key)
        if kind is None:
            raise InvalidInput(
                "invalid-applications",
                "The file holds a key that no application has.",
                hint=f"Keys are {', '.join(_TYPES)}.",
            )
        if type(value) is not kind:
            raise InvalidInput("invalid-applications", f"The key {key} has a wrong type.")
        if key in ROLES and isinstance(value, list):
            _check_claims(key, value)
    for entry in table.get("fields", ()):
        _field(entry)


def _check_claims(key: str, claims: list[object]) -> None:
    for claim in claims:
        if not isinstance(claim, str):
            raise InvalidInput("invalid-applications", f"{key} must list claims.")
        parse_claim(claim)


def _field(entry: object) -> tuple[Field, bool]:
    """The field that an entry names, and whether the entry says if it is masked."""
    if isinstance(entry, str):
        return parse_field(entry), entry.endswith(":masked")
    if (
        isinstance(entry, dict)
        and set(entry) <= {"name", "type", "masked"}
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("type"), str)
        and isinstance(entry.get("masked"), bool | None)
    ):
        field = make_field(entry["name"], entry["type"])
        masked = entry.get("masked")
        return (field, False) if masked is None else (replace(field, masked=masked), True)
    raise InvalidInput("invalid-field", 'A field is "NAME:TYPE[:masked]" or {name, type, masked}.')


def _table(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"[application.{_toml(str(document['application']))}]"
    for key in _TYPES:
        if key == "open" and document["kind"] != "individual":
            continue
        if key == "fields":
            yield "fields = ["
            for field in document["fields"]:
                inner = ", ".join(f"{k} = {_toml(field[k])}" for k in ("name", "type", "masked"))
                yield f"    {{ {inner} }},"
            yield "]"
        else:
            yield f"{key} = {_toml(document[key])}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
