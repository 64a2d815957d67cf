"""Written bytes that must stay as they are, read by the ledger and by code from the page alone.

The vectors in `tests/golden/` are never made anew: a change that needs other bytes is a new format.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from ledger.sealing.compartments import Compartment
from ledger.sealing.envelope import open_sealed, seal
from ledger.sealing.epochs import EpochKeys, commitments
from ledger.sealing.keyring_parsing import parse_keyring
from ledger.sealing.keys import KeySet
from ledger.sealing.secrets import SecretBox
from ledger.sealing.slots import key_file, passphrase, shares_of
from ledger.sealing.streams import StreamNames
from tests.ledger.sealing import from_the_page

GOLDEN = Path(__file__).parents[2] / "golden"
SEALING = json.loads((GOLDEN / "sealing.json").read_text(encoding="utf-8"))
KEYRINGS = ("keyring-operator", "keyring-auditor")


def _keyring(name):
    told = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return (GOLDEN / f"{name}.bin").read_bytes(), told


@pytest.mark.parametrize("vector", SEALING["envelopes"])
def test_envelopes(vector):
    """Key, nonce, place and plaintext give these bytes, and these bytes give the plaintext."""
    key, nonce, aad, plaintext, sealed = (
        bytes.fromhex(vector[name])
        for name in ("key", "nonce", "associated_data", "plaintext", "sealed")
    )
    compartment = Compartment(vector["compartment"])
    assert seal(AESGCM(key), plaintext, aad, nonce, compartment) == sealed
    assert open_sealed(AESGCM(key), sealed, aad) == plaintext
    assert from_the_page.open_envelope(key, sealed, aad) == plaintext


def test_field_values():
    """The inner blob is bound to its label and the row that carries it."""
    vector = {name: bytes.fromhex(value) for name, value in SEALING["secret"].items()}
    key, row, sealed = vector["key"], vector["row_associated_data"], vector["sealed"]
    box = SecretBox([EpochKeys(1, bytes(32), key, (None,) * 120)])
    assert box.seal(1, vector["plaintext"], row, vector["nonce"]) == sealed
    assert box.open(1, sealed, row) == vector["plaintext"]
    opened = from_the_page.open_envelope(key, sealed, b"credledger/v1/secret" + row)
    assert opened == vector["plaintext"]


@pytest.mark.parametrize("vector", SEALING["commitments"])
def test_commitments(vector):
    """Epoch, compartment, index and key give this digest."""
    key, told = bytes.fromhex(vector["key"]), bytes.fromhex(vector["commitment"])
    epoch, name, index = vector["epoch"], vector["compartment"], vector["index"]
    ours = commitments(EpochKeys(epoch, key, key, (key,) * 120))
    assert (ours.access[index] if name == "access" else getattr(ours, name)) == told
    assert from_the_page.commitment(epoch, name, index, key) == told


@pytest.mark.parametrize("vector", SEALING["streams"])
def test_streams(vector):
    """Each kind of stream has this name under this key."""
    names = StreamNames(bytes.fromhex(SEALING["stream_key"]))
    arguments = vector["arguments"]
    if vector["call"] in ("access", "audit"):
        arguments = [bytes.fromhex(arguments[0])]
    assert getattr(names, vector["call"])(*arguments).hex() == vector["stream"]


def test_derived_keys():
    """Access streams, views and host memory have these keys."""
    derived = SEALING["derived"]
    names = StreamNames(bytes.fromhex(SEALING["stream_key"]))
    assert names.views_key().hex() == derived["views"]
    assert names.memory_key().hex() == derived["host_memory"]
    access = {name: bytes.fromhex(value) for name, value in derived["access"].items()}
    keys = KeySet([EpochKeys(1, bytes(32), None, (access["month_key"],) + (None,) * 119)])
    keys.start({1: 202611})
    cipher = keys.access(1, 202611, access["stream"])
    sealed = seal(cipher, b"record", b"", bytes(12), Compartment.ACCESS)
    assert from_the_page.open_envelope(access["key"], sealed, b"") == b"record"


@pytest.mark.parametrize("name", KEYRINGS)
def test_keyrings_open(name):
    """Every holder gets the keys that are written down, and the file is written again alike."""
    content, told = _keyring(name)
    keyring = parse_keyring(content)
    assert keyring.to_bytes() == content
    assert (keyring.kind, keyring.generation, keyring.next_slot) == (
        told["kind"],
        told["generation"],
        told["next_slot"],
    )
    assert [keyring.ledger_id.hex(), keyring.salt.hex()] == [told["ledger_id"], told["salt"]]
    for slot, written in zip(keyring.slots, told["slots"], strict=True):
        shown = {key: getattr(slot, key) for key in ("id", "label", "kind", "opens", "created_at")}
        assert shown | {"signing_public_key": slot.signing_public_key.hex()} == written
    holdings = [passphrase(told["words"])]
    if told["key_file"]:
        holdings.append(key_file(bytes.fromhex(told["key_file"])))
    for holding in holdings:
        opened = keyring.unlock(holding)
        assert [opened.root.hex(), opened.stream_key.hex()] == [told["root"], told["stream_key"]]
        assert _listed(opened.epochs) == told["epochs"]
    signer = keyring.unlock(holdings[0]).signing_key
    assert signer.private_bytes_raw().hex() == told["signing_key_by_words"]


def _listed(epochs):
    return [
        {
            "epoch": keys.epoch,
            "state": keys.state.hex(),
            "secret": keys.secret and keys.secret.hex(),
            "access": [key.hex() for key in keys.access],
        }
        for keys in epochs
    ]


@pytest.mark.parametrize("name", KEYRINGS)
def test_keyrings_open_by_the_page_alone(name):
    """Code that knows only the reference page reads the stored files."""
    content, told = _keyring(name)
    _open_by_the_page(content, told)


def _open_by_the_page(content, told):
    body, root, signing, wrapped = from_the_page.open_keyring(content, words=told["words"])
    assert root.hex() == told["root"]
    assert signing.hex() == told["signing_key_by_words"]
    assert wrapped["stream"].hex() == told["stream_key"]
    assert [epoch[0] for epoch in wrapped["epochs"]] == [1, 2]
    slot = next(slot for slot in body["slots"] if slot["label"] in ("bob", "audit"))
    public = Ed25519PrivateKey.from_private_bytes(signing).public_key().public_bytes_raw()
    assert public == slot["signing_public_key"]


def test_keyrings_written_today_open_by_the_page_alone(unlocked, add):
    """What is written now is what the page draws, for each kind of slot."""
    words, half = "correct planets orbit cafe\u0301", bytes(range(40, 72))
    keyring, _, _ = add("second", "operator", passphrase(words))
    keyring, _, _ = add("third", "operator", shares_of(half), replace(unlocked, keyring=keyring))
    content = keyring.to_bytes()
    for holding in ({"words": words}, {"key_file": bytes(range(32))}, {"half": half}):
        _, root, _, wrapped = from_the_page.open_keyring(content, **holding)
        assert root == unlocked.root
        assert wrapped["stream"] == unlocked.stream_key
        assert wrapped["epochs"][0][1] == unlocked.epochs[0].state
