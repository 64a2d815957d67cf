"""Reading a keyring's file: every type and length is checked before anything is believed."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgpack

from ledger.errors import KeyUnavailable
from ledger.sealing.keyring import MAGIC, SLOTS_MAX, Keyring
from ledger.sealing.slots import AUDITOR, OPERATOR, Argon2Cost, Slot
from ledger.sealing.wrapped_keys import keyring_damaged

BYTES_MAX = 4 * 1024 * 1024
_OTHER_VERSION = re.compile(rb"CREDLEDGER-KEYRING [0-9]{1,9}\n")
_LEDGER_ID_BYTES = 32
_SALT_BYTES = 16


def parse_keyring(content: bytes) -> Keyring:
    """Read a keyring file; `keyring-damaged` or `keyring-newer` for anything that is none."""
    if not content.startswith(MAGIC):
        if _OTHER_VERSION.match(content):
            raise KeyUnavailable("keyring-newer", "The keyring is of a newer format.")
        raise keyring_damaged()
    digest, body = content[len(MAGIC) :][:32], content[len(MAGIC) + 32 :]
    if len(content) > BYTES_MAX or hashlib.sha256(body).digest() != digest:
        raise keyring_damaged()
    try:
        document = msgpack.unpackb(body, strict_map_key=True)
        slots = tuple(_slot_from(entry) for entry in document.pop("slots"))
        keyring = Keyring(slots=slots, **document)
        _check_types(keyring)
        _check_shape(keyring)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise keyring_damaged() from error
    for slot in keyring.slots:
        slot.cost.check()
    return keyring


def _slot_from(entry: dict[str, Any]) -> Slot:
    cost = Argon2Cost(**entry.pop("cost"))
    slot = Slot(cost=cost, **entry)
    _check_types(slot)
    _check_types(cost)
    slot.check()
    return slot


def _check_shape(keyring: Keyring) -> None:
    ids = [slot.id for slot in keyring.slots]
    fits = (
        keyring.generation >= 1
        and len(keyring.ledger_id) == _LEDGER_ID_BYTES
        and len(keyring.salt) == _SALT_BYTES
        and keyring.kind in (OPERATOR, AUDITOR)
        and 1 <= len(ids) <= SLOTS_MAX
        and len(set(ids)) == len(ids)
        and keyring.next_slot > max(ids)
    )
    if not fits:
        raise ValueError("no keyring")


def _check_types(value: Any) -> None:
    kinds = {"int": int, "bytes": bytes, "str": str}
    for name, annotation in type(value).__annotations__.items():
        kind = kinds.get(annotation)
        if kind is not None and type(getattr(value, name)) is not kind:
            raise TypeError(name)
