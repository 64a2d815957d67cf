"""Cosignatures: another program can check them, and one that is not right is none."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.anchors.cosignature import WitnessKey, cosign, parse_witness_key
from ledger.anchors.signed_note import NoteSignature
from ledger.errors import InvalidInput
from ledger.log.checkpoint import head_text
from tests.ledger.anchors.from_the_page import cosigned_at, witness_key

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OWN = WitnessKey("witness.example/w1", KEY.public_key().public_bytes_raw())
TEXT = head_text(bytes(32), 7, b"r" * 32, b"s" * 32)
TIME_S = 1_679_315_147
VKEY = "witness.example/w1+e75f6532+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"


def test_a_cosignature_is_the_one_that_another_program_makes_of_the_page():
    """Key, message and line follow from the page, and checking by the page agrees."""
    line = cosign(OWN.name, KEY, TEXT, TIME_S)
    assert OWN.to_text() == VKEY
    key = witness_key(VKEY)
    message = b"cosignature/v1\ntime 1679315147\n" + TEXT
    expected = key[1] + TIME_S.to_bytes(8, "big") + KEY.sign(message)
    assert line.line() == f"— witness.example/w1 {base64.b64encode(expected).decode()}\n"
    told = (line.name, line.key_id, line.content)
    assert cosigned_at(TEXT.decode(), told, key) == TIME_S
    assert OWN.time_signed(TEXT, line) == TIME_S


@given(st.data())
def test_one_bit_altered_anywhere_makes_it_none(data):
    line = cosign(OWN.name, KEY, TEXT, TIME_S)
    content = bytearray(line.key_id + line.content)
    at = data.draw(st.integers(0, len(content) * 8 - 1))
    content[at // 8] ^= 1 << at % 8
    altered = NoteSignature(line.name, bytes(content[:4]), bytes(content[4:]))
    assert OWN.time_signed(TEXT, altered) is None
    text = bytearray(TEXT)
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1
    assert OWN.time_signed(bytes(text), line) is None


@pytest.mark.parametrize("time_s", [0, 2**62, 2**63, 2**64 - 1])
def test_a_time_that_no_clock_shows_is_told_as_it_was_signed(time_s):
    """Whether it can be is for others to judge: the signature holds."""
    assert OWN.time_signed(TEXT, cosign(OWN.name, KEY, TEXT, time_s)) == time_s


def test_another_length_is_refused():
    line = cosign(OWN.name, KEY, TEXT, TIME_S)
    for content in (line.content[:-1], line.content + b"\0", b"x"):
        assert OWN.time_signed(TEXT, NoteSignature(line.name, line.key_id, content)) is None


NO_KEYS = {
    "nothing": "",
    "a name only": "witness.example/w1",
    "another id": VKEY.replace("+e75f6532+", "+00000000+"),
    "another name": VKEY.replace("w1", "w2", 1),
    "a log's key": f"witness.example/w1+e75f6532+{base64.b64encode(bytes([1, *range(32)])).decode()}",
    "a short key": VKEY[:-4],
    "no base64": VKEY[:-1] + "!",
    "a name with a space": "a b" + VKEY,
}


@pytest.mark.parametrize("name", NO_KEYS)
def test_what_is_no_witness_key_is_refused(name):
    with pytest.raises(InvalidInput) as caught:
        parse_witness_key(NO_KEYS[name])
    assert caught.value.code == "invalid-witness-key"


def test_a_key_is_read_as_it_was_written():
    assert parse_witness_key(f" {VKEY}\n") == OWN
