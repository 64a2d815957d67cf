"""Whatever a keyring's file holds, it opens as it was written, or with one of our errors."""

from __future__ import annotations

import hashlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from ledger.errors import KeyUnavailable
from ledger.sealing.keyring import MAGIC, create_keyring
from ledger.sealing.keyring_parsing import BYTES_MAX, parse_keyring
from ledger.sealing.slots import seal_root
from ledger.sealing.wrapped_keys import _cipher
from tests.ledger.sealing.counted import CHEAP, KEY, OTHER_KEY, Counted

UNLOCKED = create_keyring("first", KEY, created_at=1, random=Counted("hostile"), cost=CHEAP)
CONTENT = UNLOCKED.keyring.to_bytes()
START = len(MAGIC) + 32
BODY = CONTENT[START:]
WRAPPED = BODY.index(UNLOCKED.keyring.wrapped)
DAMAGE = {"keyring-damaged", "keyring-newer", "keyring-weak", "wrong-key-file", "wrong-passphrase"}


def _file(body):
    return MAGIC + hashlib.sha256(body).digest() + body


def _open(content):
    return parse_keyring(content).unlock(KEY)


def _refusal(content):
    with pytest.raises(KeyUnavailable) as caught:
        _open(content)
    return caught.value.code


def test_every_byte_is_under_the_checksum():
    """One altered byte anywhere is damage, before anybody is asked for a passphrase."""
    for index in range(len(CONTENT)):
        altered = bytearray(CONTENT)
        altered[index] ^= 0x01
        with pytest.raises(KeyUnavailable) as caught:
            parse_keyring(bytes(altered))
        version = index == len(b"CREDLEDGER-KEYRING ")
        assert caught.value.code == ("keyring-newer" if version else "keyring-damaged")


def test_every_truncation_is_damage_and_never_a_wrong_passphrase():
    """A file cut at any byte is told apart from a wrong passphrase, and so is a longer one."""
    for length in range(len(CONTENT)):
        with pytest.raises(KeyUnavailable) as caught:
            parse_keyring(CONTENT[:length])
        assert caught.value.code == "keyring-damaged"
    assert _refusal(CONTENT + b"\0") == "keyring-damaged"


def _places():
    yield from range(WRAPPED + 64)
    yield from range(WRAPPED + 64, len(BODY) - 64, 61)
    yield from range(len(BODY) - 64, len(BODY))


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_byte_is_under_the_root(mask):
    """An attacker who mends the checksum still changes nothing that opens."""
    for index in _places():
        altered = bytearray(BODY)
        altered[index] ^= mask
        assert _refusal(_file(bytes(altered))) in DAMAGE, index


def test_truncations_with_a_mended_checksum_are_damage():
    """A body cut at any byte is no map of ours."""
    for length in range(0, len(BODY), 7):
        assert _refusal(_file(BODY[:length])) == "keyring-damaged"


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(body):
    """Noise, with and without the outer shape."""
    for content in (body, MAGIC + body, _file(body)):
        with pytest.raises(KeyUnavailable):
            parse_keyring(content)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
ENTRIES = ("generation", "ledger_id", "salt", "kind", "slots", "next_slot", "wrapped")
SLOT_ENTRIES = tuple(asdict(UNLOCKED.slot))


@given(st.sampled_from(ENTRIES), VALUES)
def test_any_value_in_any_entry_is_refused(entry, value):
    """Types, lengths and ranges are checked before use."""
    document = msgpack.unpackb(BODY)
    if document[entry] != value or type(document[entry]) is not type(value):
        document[entry] = value
        assert _refusal(_file(msgpack.packb(document))) in DAMAGE


@given(st.sampled_from(SLOT_ENTRIES), VALUES)
def test_any_value_in_any_entry_of_a_slot_is_refused(entry, value):
    """The same within a slot."""
    document = msgpack.unpackb(BODY)
    slot = document["slots"][0]
    if slot[entry] != value or type(slot[entry]) is not type(value):
        slot[entry] = value
        assert _refusal(_file(msgpack.packb(document))) in DAMAGE


@pytest.mark.parametrize("entry", [*ENTRIES, "surplus"])
def test_entries_are_neither_missing_nor_surplus(entry):
    """The map has exactly the drawn keys."""
    document = msgpack.unpackb(BODY)
    if entry in document:
        del document[entry]
    else:
        document[entry] = 1
    assert _refusal(_file(msgpack.packb(document))) == "keyring-damaged"


@pytest.mark.parametrize(
    ("changes", "of_slot"),
    [
        ({}, {"id": 0}),
        ({}, {"id": -1}),
        ({}, {"id": 2**32}),
        ({}, {"id": 2}),
        ({}, {"label": ""}),
        ({}, {"label": "\x1b[2J"}),
        ({}, {"kind": "fingerprint"}),
        ({}, {"opens": "everything"}),
        ({}, {"salt": b""}),
        ({}, {"public_key": bytes(31)}),
        ({}, {"sealed_private_key": bytes(61)}),
        ({}, {"sealed_root": bytes(79)}),
        ({"generation": 0}, {}),
        ({"ledger_id": bytes(31)}, {}),
        ({"salt": b""}, {}),
        ({"kind": "emperor"}, {}),
        ({"slots": ()}, {}),
        ({"slots": UNLOCKED.keyring.slots * 2}, {}),
        ({"next_slot": 1}, {}),
    ],
)
def test_shapes_out_of_the_format_are_damage(changes, of_slot):
    """Refused at parsing, so that nothing is derived, shown or allocated for them."""
    slots = (replace(UNLOCKED.slot, **of_slot),)
    keyring = replace(UNLOCKED.keyring, **({"slots": slots} | changes))
    with pytest.raises(KeyUnavailable) as caught:
        parse_keyring(keyring.to_bytes())
    assert caught.value.code == "keyring-damaged"


def test_too_many_slots_and_too_many_bytes_are_damage():
    """65 slots, and a file beyond its cap."""
    slots = tuple(replace(UNLOCKED.slot, id=number) for number in range(1, 66))
    crowded = replace(UNLOCKED.keyring, slots=slots, next_slot=66)
    assert _refusal(crowded.to_bytes()) == "keyring-damaged"
    assert _refusal(_file(BODY + bytes(BYTES_MAX))) == "keyring-damaged"


@pytest.mark.parametrize("depth", [100, 1000, 100_000])
def test_deep_nesting_is_damage(depth):
    """Deep lists exhaust nothing."""
    assert _refusal(_file(b"\x91" * depth + b"\xc0")) == "keyring-damaged"


@pytest.mark.parametrize("opener", [b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf" * 5])
def test_announced_sizes_are_not_believed(opener):
    """Four thousand million elements that are not there allocate nothing."""
    assert _refusal(_file(opener)) == "keyring-damaged"


@pytest.mark.parametrize("key", ["memory_kib", "iterations", "lanes"])
@pytest.mark.parametrize("value", [0, -1, 2**63])
def test_derivation_parameters_are_checked_before_anybody_is_asked(key, value):
    """A file cannot make unlocking cheap or stop the host."""
    document = msgpack.unpackb(BODY)
    document["slots"][0]["cost"][key] = value
    with pytest.raises(KeyUnavailable) as caught:
        parse_keyring(_file(msgpack.packb(document)))
    assert caught.value.code == "keyring-weak"


def _forged(document):
    """What somebody without any passphrase can make: HPKE in base mode names no sender."""
    root, nonce = Counted("forged root")(32), bytes(12)
    slot = replace(UNLOCKED.slot, sealed_root=seal_root(UNLOCKED.ledger_id, UNLOCKED.slot, root))
    keyring = replace(UNLOCKED.keyring, slots=(slot,))
    sealed = _cipher(root).encrypt(nonce, msgpack.packb(document), keyring._binding())
    return replace(keyring, wrapped=nonce + sealed).to_bytes()


KEYS = [b"k" * 32] * 120
FAIR = {"stream": bytes(32), "epochs": [[1, bytes(32), None, KEYS]]}


def test_a_forged_keyring_opens_but_is_foreign_to_the_log():
    """Only the commitments in the signed log tell, and they do."""
    from ledger.sealing.epochs import commitments

    opened = _open(_forged(FAIR))
    with pytest.raises(KeyUnavailable) as caught:
        opened.check({1: commitments(UNLOCKED.epochs[0])}, 1)
    assert caught.value.code == "keyring-foreign"


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        FAIR | {"stream": 5},
        FAIR | {"stream": bytes(31)},
        FAIR | {"epochs": []},
        FAIR | {"epochs": 7},
        FAIR | {"epochs": [1]},
        FAIR | {"epochs": [[1, bytes(32), None]]},
        FAIR | {"epochs": [[1, bytes(32), None, KEYS, 0]]},
        FAIR | {"epochs": [[0, bytes(32), None, KEYS]]},
        FAIR | {"epochs": [[-1, bytes(32), None, KEYS]]},
        FAIR | {"epochs": [[2**32, bytes(32), None, KEYS]]},
        FAIR | {"epochs": [["1", bytes(32), None, KEYS]]},
        FAIR | {"epochs": [[True, bytes(32), None, KEYS]]},
        FAIR | {"epochs": [[1, None, None, KEYS]]},
        FAIR | {"epochs": [[1, bytes(16), None, KEYS]]},
        FAIR | {"epochs": [[1, bytes(32), "s" * 32, KEYS]]},
        FAIR | {"epochs": [[1, bytes(32), None, KEYS[1:]]]},
        FAIR | {"epochs": [[1, bytes(32), None, [*KEYS[1:], 1]]]},
        FAIR | {"epochs": [[1, bytes(32), None, 120]]},
        FAIR | {"epochs": FAIR["epochs"] * 2},
    ],
)
def test_forged_keys_out_of_shape_are_damage(document):
    """What a root opens is read with as much suspicion as the file."""
    assert _refusal(_forged(document)) == "keyring-damaged"


def test_parts_of_two_keyrings_do_not_mix():
    """Slots, keys and names of one file in another one do not open."""
    other = create_keyring("first", OTHER_KEY, created_at=1, random=Counted("two"), cost=CHEAP)
    ours, theirs = UNLOCKED.keyring, other.keyring
    for mixed in (
        replace(ours, wrapped=theirs.wrapped),
        replace(ours, ledger_id=theirs.ledger_id),
        replace(ours, salt=theirs.salt),
        replace(ours, generation=2),
        replace(ours, kind="auditor"),
        replace(ours, next_slot=3),
        replace(theirs, slots=ours.slots),
        replace(ours, slots=(replace(ours.slots[0], opens="auditor"),)),
        replace(ours, slots=(*ours.slots, replace(theirs.slots[0], id=2)), next_slot=3),
    ):
        assert _refusal(mixed.to_bytes()) in DAMAGE
