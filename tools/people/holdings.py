"""What a slot's holder has: reading a passphrase or a key file, or making a new one."""

from __future__ import annotations

import os
from pathlib import Path

from ledger.private_files import clear_leftovers, read_private
from ledger.sealing import slots
from ledger.sealing.keyring_file import create_key_file
from ledger.sealing.slots import KEY_FILE_BYTES, Argon2Cost, Holding
from tools.people import prompts
from tools.people.documents import StandardInput
from tools.settings import Settings


def argon2_cost(memory_mib: int) -> Argon2Cost:
    """What guessing a new passphrase is made to cost."""
    return Argon2Cost(memory_kib=memory_mib * 1024)


def present_holding(settings: Settings, standard_input: StandardInput) -> Holding:
    """What unlocks now: the key file if one is set, else the passphrase."""
    if settings.key_file is not None:
        return slots.key_file(_read_key_file(settings.key_file))
    return slots.passphrase(prompts.passphrase(settings, standard_input))


def first_holding(settings: Settings, standard_input: StandardInput) -> Holding:
    """What the first slot is given at `init`; a missing key file is made."""
    if settings.new_passphrase_file is None and settings.key_file is not None:
        return _present_or_new(settings.key_file)
    if settings.new_passphrase_file is None and settings.passphrase_file is not None:
        return slots.new_passphrase(prompts.passphrase(settings, standard_input))
    return new_passphrase(settings, standard_input)


def new_holding(
    settings: Settings, standard_input: StandardInput, key_file: Path | None
) -> Holding:
    """What a further slot is given: a new key file, one that is there, or a new passphrase."""
    if key_file is None:
        return new_passphrase(settings, standard_input)
    return _present_or_new(key_file)


def new_passphrase(settings: Settings, standard_input: StandardInput) -> Holding:
    """A new passphrase, from its file or asked for; `weak-passphrase` by the file only."""
    rule = f"at least {slots.PASSPHRASE_LENGTH_MIN} characters"
    return prompts.new_passphrase(settings, standard_input, rule, slots.new_passphrase)


def _present_or_new(path: Path) -> Holding:
    clear_leftovers(path)
    if path.exists():
        return slots.key_file(_read_key_file(path))
    content = os.urandom(KEY_FILE_BYTES)
    create_key_file(path, content)
    return slots.key_file(content)


def _read_key_file(path: Path) -> bytes:
    return read_private(path, "key-file", bytes_max=KEY_FILE_BYTES)
