"""Where entries of another store belong: rules in a small TOML file.

    [[rule]]
    path = "Payroll/{person}"             # parts between slashes; the first rule that fits is taken
    application = "payroll"
    owner = "user:{person}"               # not looked at in a group application
    fields = { PIN = "Door code", Certificate = { key = "pfx", base64 = true } }

    [[rule]]
    path = "Private/**"
    skip = true

In a path `{name}` stands for one part or for what varies in it, and `**`, once, for any number of
parts. In `application` and `owner` the same `{name}` is what it stood for, or else the entry's
value under that key, unless the source calls it secret: names are read by people, values are not. A
field that a rule does not mention takes the value of the key of its own name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ledger.errors import InvalidInput
from ledger.identifiers import field_key
from tools.people.documents import StandardInput, decode_text, parse_toml, read_bytes, shown, within
from tools.sources.entry import Entry

RULES_BYTES_MAX = 1024 * 1024
RULES_MAX = 1000
ANY_PARTS = "**"
_PURPOSE = "rules"
_NAME = re.compile(r"\{([^{}/]+)\}")
_KEYS = {"path", "application", "owner", "fields", "skip"}
_HINT = "A rule has a path, and either an application (with owner and fields) or skip = true."


class Taken(msgspec.Struct, frozen=True):
    """The key that a field takes its value from, and whether that is base64 of it."""

    key: str
    base64: bool = False


class Rule(msgspec.Struct, frozen=True):
    """What becomes of the entries whose path fits."""

    path: str
    application: str = ""
    """A text with `{names}`; empty where entries are skipped."""
    owner: str | None = None
    fields: Mapping[str, Taken] = msgspec.field(default_factory=dict)
    """By the form in which names of fields are compared."""
    skip: bool = False

    def match(self, path: Sequence[str]) -> dict[str, str] | None:
        """What the names in the path stand for, if it fits."""
        parts = self.path.split("/")
        if ANY_PARTS not in parts:
            return _matched(parts, path) if len(parts) == len(path) else None
        before = parts.index(ANY_PARTS)
        after = len(parts) - before - 1
        if len(path) < before + after:
            return None
        kept = [*path[:before], *path[len(path) - after :]]
        return _matched([part for part in parts if part != ANY_PARTS], kept)


KEEPASS_RULES = (Rule("**/{group}/{title}", "{group}", "user:{UserName}"),)
"""Without a file: an entry's group is the application, its user name the owner."""


def read_rules(place: str, standard_input: StandardInput) -> tuple[Rule, ...]:
    """The rules of a file in their order; `invalid-rules` for what is none."""
    purpose = within(_PURPOSE, place)
    content = read_bytes(place, _PURPOSE, RULES_BYTES_MAX, standard_input)
    document = parse_toml(decode_text(content, purpose), purpose)
    try:
        return _rules(document)
    except InvalidInput as error:
        told = f"{error.message.rstrip('.')}, in {shown(place)}."
        raise InvalidInput(error.code, told, hint=error.hint) from error


def _rules(document: dict[str, Any]) -> tuple[Rule, ...]:
    listed = document.pop("rule", None)
    if document or not isinstance(listed, list) or not 1 <= len(listed) <= RULES_MAX:
        raise _invalid(f"The file holds 1 to {RULES_MAX} [[rule]] tables and nothing else.")
    return tuple(_rule(number, table) for number, table in enumerate(listed, start=1))


def filled(template: str, names: Mapping[str, str], entry: Entry) -> tuple[str, set[str]]:
    """The text with each `{name}` replaced, and the keys whose values it took.

    `no-such-name` where neither path nor entry has it, `secret-in-name` where it is secret.
    """
    used: set[str] = set()

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name in names:
            return names[name]
        if name in entry.protected:
            raise InvalidInput("secret-in-name", "A secret value cannot be part of a name.")
        content = entry.values[name].reveal() if name in entry.values else None
        if not isinstance(content, str):
            raise InvalidInput(
                "no-such-name", "The rule names something that the entry does not have."
            )
        used.add(name)
        return content

    return _NAME.sub(value, template), used


def _matched(parts: Sequence[str], path: Sequence[str]) -> dict[str, str] | None:
    names: dict[str, str] = {}
    for part, given in zip(parts, path, strict=True):
        shown = unicodedata.normalize("NFC", given)
        named = _NAME.search(part)
        if named is None:
            if part != shown:
                return None
            continue
        before, after = part[: named.start()], part[named.end() :]
        if len(shown) <= len(before) + len(after):
            return None
        if not (shown.startswith(before) and shown.endswith(after)):
            return None
        names[named.group(1)] = shown[len(before) : len(shown) - len(after)]
    return names


def _rule(number: int, table: object) -> Rule:
    if not isinstance(table, dict) or not set(table) <= _KEYS:
        raise _invalid(f"Rule {number} has a key that is none of {', '.join(sorted(_KEYS))}.")
    path = _path(number, table.get("path"))
    skip = table.get("skip", False)
    if skip is True and set(table) == {"path", "skip"}:
        return Rule(path, skip=True)
    application, owner = table.get("application"), table.get("owner")
    if skip is not False or not isinstance(application, str) or not application:
        raise _invalid(f"Rule {number} must either name an application or skip.")
    if not isinstance(owner, str | None):
        raise _invalid(f"The owner in rule {number} must be a text.")
    return Rule(path, application, owner, _fields(number, table.get("fields", {})))


def _path(number: int, given: object) -> str:
    if not isinstance(given, str) or not given.strip("/"):
        raise _invalid(f"Rule {number} needs a path.")
    path = unicodedata.normalize("NFC", given.strip("/"))
    parts = path.split("/")
    names = _NAME.findall(path)
    single = all(len(_NAME.findall(part)) <= 1 for part in parts)
    if parts.count(ANY_PARTS) > 1 or not single or len(set(names)) != len(names):
        raise _invalid(
            f"The path in rule {number} may hold ** once, each name once, and one name in a part."
        )
    return path


def _fields(number: int, given: object) -> dict[str, Taken]:
    if not isinstance(given, dict):
        raise _invalid(f"The fields in rule {number} must be a table of field to key.")
    taken: dict[str, Taken] = {}
    for name, told in given.items():
        key = field_key(name)
        if key in taken:
            raise _invalid(f"Rule {number} names a field twice.")
        taken[key] = _taken(number, told)
    return taken


def _taken(number: int, told: Any) -> Taken:
    if isinstance(told, str) and told:
        return Taken(told)
    if isinstance(told, dict) and set(told) <= {"key", "base64"}:
        key, base64 = told.get("key"), told.get("base64", False)
        if isinstance(key, str) and key and isinstance(base64, bool):
            return Taken(key, base64)
    raise _invalid(f'A field in rule {number} is "KEY" or {{key = "KEY", base64 = true}}.')


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("invalid-rules", message, hint=_HINT)
