"""Asking people: passphrases, values and consent, on a terminal only.

What is typed never shows when it is secret. Where standard input is no terminal nothing is asked:
each question then names the option that answers it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledger.errors import InvalidInput, KeyUnavailable, LedgerError
from tools.people.documents import StandardInput, decode_text, read_bytes, within
from tools.settings import STANDARD_INPUT, Settings
from tools.showing import show

if TYPE_CHECKING:
    from ledger.sealing.slots import Holding

PASSPHRASE_BYTES_MAX = 4096


def on_terminal() -> bool:
    """Whether somebody sits there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def passphrase(settings: Settings, standard_input: StandardInput) -> str:
    """The passphrase that unlocks; `no-passphrase` (exit 6) where nobody can be asked."""
    if settings.passphrase_file is not None:
        return _from_file(settings.passphrase_file, "the passphrase", standard_input)
    if not on_terminal():
        raise KeyUnavailable(
            "no-passphrase",
            "The keyring is locked and there is no terminal to ask for its passphrase.",
            hint="Give --passphrase-file or --key-file.",
        )
    return _hidden("Passphrase")


def source_password(
    place: str | None, standard_input: StandardInput, *, key_file: bool
) -> str | None:
    """The password of another store's file; None where a key file alone opens it.

    `no-source-password` (exit 6) where nobody can be asked.
    """
    if place is not None:
        return _from_file(place, "the source's password", standard_input)
    if on_terminal():
        told = "Password of the file (empty where only a key file opens it)"
        return _typed(told) or None
    if key_file:
        return None
    raise KeyUnavailable(
        "no-source-password",
        "The file to import has a password and there is no terminal to ask for it.",
        hint="Give --source-password-file.",
    )


def new_passphrase(
    settings: Settings, standard_input: StandardInput, rule: str, check: Callable[[str], Holding]
) -> Holding:
    """A passphrase to be set, as `check` makes it; `no-new-passphrase` where nobody can be asked.

    On a terminal `rule` is told first, and whoever types one that `check` refuses is asked again.
    """
    if settings.new_passphrase_file is not None:
        return check(_from_file(settings.new_passphrase_file, "the new passphrase", standard_input))
    if not on_terminal():
        raise KeyUnavailable(
            "no-new-passphrase",
            "A new passphrase is needed and there is no terminal to ask for it.",
            hint="Give --new-passphrase-file.",
        )
    while True:
        text = _hidden(f"New passphrase ({rule})")
        try:
            made = check(text)
        except InvalidInput as error:
            show.print_note(f"{error.message} {error.hint}")
            continue
        if _hidden("The same again") == text:
            return made
        show.print_note("The two are not the same.")


def typed_shares(read: Callable[[str, int], int]) -> None:
    """Recovery shares, one at a prompt, until `read` says that no more are needed.

    `read` takes the words and the share's number and tells how many are still needed; what it
    refuses is asked for again. `no-shares` (exit 6) where nobody can be asked.
    """
    if not on_terminal():
        raise KeyUnavailable(
            "no-shares",
            "Recovery shares are needed and there is no terminal to ask for them.",
            hint="Give --shares-file; - is standard input.",
        )
    number, needed = 1, 1
    while needed:
        words = _hidden(f"Share {number}, all its words on one line")
        try:
            needed = read(words, number)
        except InvalidInput as error:
            show.print_note(f"{error.message} {error.hint}")
            continue
        number += 1


def field_value(name: str, *, masked: bool) -> str:
    """A field's text; hidden and typed twice when it is masked.

    Nothing is what a key pressed too early gives, over a value that works: it is asked about.
    """
    while not (typed := _typed(name, hidden=masked, twice=masked)):
        if _confirmed(f"Leave {show.printable(name)} empty?"):
            break
    return typed


def must_ask(*, yes: bool) -> bool:
    """Whether consent has to be asked for; `not-confirmed` where there is nobody to ask."""
    if yes:
        return False
    if not on_terminal():
        raise InvalidInput(
            "not-confirmed",
            "This destroys something and there is no terminal to ask for consent.",
            hint="Give --yes if you mean it; nothing was changed.",
        )
    return True


def consent(question: str, *, yes: bool) -> None:
    """Go on only with consent; `not-confirmed` (exit 2, nothing changed) otherwise."""
    if must_ask(yes=yes) and not _confirmed(question):
        raise InvalidInput("not-confirmed", "Not confirmed.", hint="Nothing was changed.")


def _confirmed(question: str) -> bool:
    with _told_as_text():
        return click.confirm(question, default=False, err=True)


def _hidden(text: str) -> str:
    while not (typed := _typed(text)):
        show.print_note("Nothing was typed.")
    return typed


def _typed(text: str, *, hidden: bool = True, twice: bool = False) -> str:
    with _told_as_text():
        return str(
            click.prompt(
                text,
                hide_input=hidden,
                confirmation_prompt=twice,
                default="",
                show_default=False,
                err=True,
            )
        )


@contextmanager
def _told_as_text() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise InvalidInput(
            "typed-no-text",
            "What was typed is no text in the encoding that the locale names.",
            hint="Set LANG to what the terminal sends, or give a file; nothing was changed.",
        ) from None  # its text quotes what was typed


def _from_file(place: str, purpose: str, standard_input: StandardInput) -> str:
    path = place if place == STANDARD_INPUT else str(Path(place).expanduser())
    try:
        content = read_bytes(path, purpose, PASSPHRASE_BYTES_MAX, standard_input)
    except LedgerError as error:
        if error.code not in {"no-such-file", "file-unreadable"}:
            raise
        raise KeyUnavailable(
            "no-passphrase-file", error.message, hint="Check the path and its permissions."
        ) from error
    text = decode_text(content, within(purpose, path))
    for ending in ("\r\n", "\n"):
        if text.endswith(ending):
            return text[: -len(ending)]
    return text
