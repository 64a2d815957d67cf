"""Bringing the entries of a source to applications, owners and fields, by rules.

Nothing of a source gets lost unseen: each entry is a line to import, or rejected with its place, or
counted among what is left out, and so is each key with a value that no field takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import msgspec

from ledger.aggregates.application import Application, Field
from ledger.claims import parse_owner
from ledger.errors import InvalidInput, LedgerError, NotFound
from ledger.identifiers import application_key, field_key
from ledger.values import FieldValue, values_from_json
from tools.sources.entry import ENTRIES_MAX, Entry, Source, too_many
from tools.sources.importing import BATCH_LINES_MAX, LeftOut, Line, Rejected
from tools.sources.rules import Rule, Taken, filled

SKIPPED = "skipped"
NO_FIELD = "no-field"


class Placed(msgspec.Struct):
    """All entries of a source as lines to import, kept until the run is over."""

    lines: list[Line | Rejected] = msgspec.field(default_factory=list)
    _left_out: Counter[tuple[str, str | None, str | None]] = msgspec.field(default_factory=Counter)

    def batches(self) -> Iterator[list[Line | Rejected]]:
        """The lines in batches of at most `BATCH_LINES_MAX`, the same at each reading."""
        waiting = iter(self.lines)
        while batch := list(islice(waiting, BATCH_LINES_MAX)):
            yield batch

    def leave_out(self, why: str, application: str | None = None, key: str | None = None) -> None:
        """Count one more entry that is left out, or one of its keys."""
        self._left_out[why, application, key] += 1

    def left_out(self) -> list[LeftOut]:
        """What is not imported, in a settled order."""
        listed = sorted(self._left_out.items(), key=lambda one: tuple(map(str, one[0])))
        return [LeftOut(*what, entries) for what, entries in listed]


def place_entries(
    source: Source, rules: Sequence[Rule], application: Callable[[str], Application]
) -> Placed:
    """Every entry of a source in its place; `application` finds one or raises `NotFound`."""
    placed = Placed()
    desk = _Desk(source, rules, application, placed)
    for number, entry in enumerate(source.entries(), start=1):
        if number > ENTRIES_MAX:
            raise too_many()
        if isinstance(entry, Rejected):
            placed.lines.append(entry)
            continue
        try:
            line = desk.line(entry)
        except LedgerError as error:
            line = Rejected(entry.number, error.code, error.message, entry.place)
        if line is not None:
            placed.lines.append(line)
    return placed


class _Desk(msgspec.Struct):
    source: Source
    rules: Sequence[Rule]
    find: Callable[[str], Application]
    placed: Placed
    _found: dict[str, Application | None] = msgspec.field(default_factory=dict)

    def line(self, entry: Entry) -> Line | Rejected | None:
        """The entry as a line; None when it is left out."""
        if entry.gone is not None:
            self.placed.leave_out(entry.gone)
            return None
        rule, names = self._rule(entry)
        if rule.skip:
            self.placed.leave_out(SKIPPED)
            return None
        named, used = filled(rule.application, names, entry)
        application = self._application(named)
        owner = None
        if not application.is_group:
            if rule.owner is None:
                raise InvalidInput("owner-required", "The rule names no owner.")
            text, more = filled(rule.owner, names, entry)
            owner, used = parse_owner(text), used | more
        values, taken = self._values(entry, rule, application)
        for key in sorted(
            (set(entry.values) | entry.unusable) - used - taken - self.source.name_keys
        ):
            self.placed.leave_out(NO_FIELD, application.application, key)
        return Line(entry.number, application.application, owner, values, entry.place)

    def _rule(self, entry: Entry) -> tuple[Rule, dict[str, str]]:
        for rule in self.rules:
            names = rule.match(entry.path)
            if names is not None:
                return rule, names
        raise InvalidInput("no-rule", "No rule says where the entry belongs.")

    def _application(self, name: str) -> Application:
        key = application_key(name)
        if key not in self._found:
            try:
                self._found[key] = self.find(name)
            except NotFound:
                self._found[key] = None
        found = self._found[key]
        if found is None:
            raise NotFound(
                "no-such-application", "There is no target application of the entry's name."
            )
        return found

    def _values(
        self, entry: Entry, rule: Rule, application: Application
    ) -> tuple[dict[str, FieldValue], set[str]]:
        """The values by field, and the keys that gave them."""
        by_name = {_compared(key): key for key in (*entry.values, *entry.unusable)}
        values: dict[str, FieldValue] = {}
        keys: set[str] = set()
        for one in application.fields:
            told = rule.fields.get(field_key(one.name))
            key = told.key if told else by_name.get(field_key(one.name))
            taken = told or Taken(key or self._by_type(one, application, rule) or "")
            if taken.key in entry.unusable:
                raise InvalidInput(
                    "value-not-text", "A field takes a value that is neither text nor number."
                )
            if taken.key in entry.values:
                values[one.name] = _value(entry.values[taken.key], taken)
                keys.add(taken.key)
        unknown = set(rule.fields) - {field_key(one.name) for one in application.fields}
        if unknown:
            raise InvalidInput(
                "unknown-field", "The rule names a field that the application does not have."
            )
        return values, keys

    def _by_type(self, wanted: Field, application: Application, rule: Rule) -> str | None:
        """The source's own key for a field of this type, if the application has but one such."""
        key = self.source.keys_by_type.get(wanted.type)
        rivals = [
            one
            for one in application.fields
            if self.source.keys_by_type.get(one.type) == key
            and field_key(one.name) not in rule.fields
        ]
        return key if key is not None and len(rivals) == 1 else None


def _compared(key: str) -> str:
    try:
        return field_key(key)
    except InvalidInput:
        return f"\0{key}"  # no field has such a name


def _value(value: FieldValue, taken: Taken) -> FieldValue:
    if not taken.base64:
        return value
    return values_from_json({"value": {"base64": value.reveal()}})["value"]
