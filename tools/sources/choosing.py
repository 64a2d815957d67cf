"""Which reader a file to import gets, and what it may be told besides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec

from ledger.aggregates.application import Application
from ledger.discreet import Discreet
from ledger.errors import InvalidInput
from tools.people import prompts
from tools.people.documents import STANDARD_INPUT, StandardInput
from tools.settings import real_path
from tools.sources.entry import Source
from tools.sources.importing import ImportFile, Lines, open_import
from tools.sources.rules import KEEPASS_RULES, Rule, read_rules

KEEPASS, VAULT = "keepass", "vault"
KEEPASS_SUFFIX = ".kdbx"


class Told(msgspec.Struct, frozen=True):
    """What was said about the source; None where nothing was."""

    format: str | None
    rules: str | None
    password_file: str | None
    key_file: str | None


class ToImport(Discreet, msgspec.Struct, frozen=True):
    """A source that is opened, and how its entries become lines."""

    SHOWN: ClassVar = ("path",)

    path: str | None
    """The file or folder to destroy afterwards; None for standard input."""
    _content: ImportFile | tuple[Source, Sequence[Rule]]

    def lines(self, application: Callable[[str], Application]) -> Lines:
        """The lines to import; `application` finds one by its ID or raises `NotFound`."""
        if isinstance(self._content, ImportFile):
            return self._content
        from tools.sources.placing import place_entries

        source, rules = self._content
        return place_entries(source, rules, application)


def open_source(place: str, told: Told, standard_input: StandardInput) -> ToImport:
    """The source; `option-not-used` for what its format has no use for."""
    chosen = told.format or (KEEPASS if place.lower().endswith(KEEPASS_SUFFIX) else None)
    path = None if place == STANDARD_INPUT else str(real_path(place))
    if chosen != KEEPASS and (told.password_file or told.key_file):
        raise _not_used("A password or key file opens a KeePass database only.")
    if chosen == KEEPASS:
        return ToImport(path, (_keepass(place, told, standard_input), _rules(told, standard_input)))
    if chosen == VAULT:
        from tools.sources.vault import VaultDump

        return ToImport(path, (VaultDump(place, standard_input), _rules(told, standard_input)))
    if told.rules is not None:
        raise _not_used("Lines of JSON and CSV say themselves where they belong.")
    return ToImport(path, open_import(place, chosen, standard_input))


def _rules(told: Told, standard_input: StandardInput) -> tuple[Rule, ...]:
    if told.rules is not None:
        return read_rules(told.rules, standard_input)
    if told.format == VAULT:
        raise InvalidInput(
            "rules-required",
            "Which application and owner a path of Vault's belongs to must be told.",
            hint="Give --map FILE.toml; the how-to on moving in shows one.",
        )
    return KEEPASS_RULES


def _keepass(place: str, told: Told, standard_input: StandardInput) -> Source:
    from tools.sources.keepass import KeePassFile

    file = KeePassFile(place, told.key_file, standard_input)
    password = prompts.source_password(
        told.password_file, standard_input, key_file=told.key_file is not None
    )
    return file.opened_with(password)


def _not_used(message: str) -> InvalidInput:
    return InvalidInput("option-not-used", message)
