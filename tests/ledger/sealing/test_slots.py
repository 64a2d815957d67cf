"""Ways to unlock: what is accepted, what is refused, what is bound to what."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from ledger.errors import InvalidInput, KeyUnavailable
from ledger.sealing.slots import (
    AUDITOR,
    OPERATOR,
    Argon2Cost,
    key_file,
    new_passphrase,
    new_slot,
    open_slot,
    passphrase,
    reseal_private_key,
    seal_root,
)
from tests.ledger.sealing.counted import CHEAP, KEY, OTHER_KEY, WORDS, Counted

LEDGER, ROOT = b"l" * 32, b"r" * 32


def _slot(holding, number=1, **settings):
    settings = {"created_at": 1, "random": Counted("slot"), "cost": CHEAP} | settings
    return new_slot(LEDGER, number, "first", OPERATOR, holding, ROOT, **settings)


def _refusal(call, family=KeyUnavailable):
    with pytest.raises(family) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("holding", [KEY, WORDS], ids=["key file", "passphrase"])
def test_a_holder_gets_root_and_signing_key(holding):
    """The slot opens with what it was made for."""
    slot = _slot(holding)
    opened = open_slot(LEDGER, slot, holding)
    assert opened.root == ROOT
    assert opened.signing_key.public_key().public_bytes_raw() == slot.signing_public_key


def test_another_holding_does_not_open():
    """Wrong words, a wrong file and the wrong kind are told as such."""
    assert _refusal(lambda: open_slot(LEDGER, _slot(WORDS), passphrase("no"))) == "wrong-passphrase"
    assert _refusal(lambda: open_slot(LEDGER, _slot(WORDS), KEY)) == "wrong-key-file"
    assert _refusal(lambda: open_slot(LEDGER, _slot(KEY), OTHER_KEY)) == "wrong-key-file"
    assert _refusal(lambda: open_slot(LEDGER, _slot(KEY), WORDS)) == "wrong-passphrase"


def test_seals_are_bound_to_ledger_slot_and_purpose():
    """No seal opens for another ledger, under another number, or in another one's place."""
    slot = _slot(KEY)
    assert _refusal(lambda: open_slot(b"m" * 32, slot, KEY)) == "wrong-key-file"
    assert _refusal(lambda: open_slot(LEDGER, replace(slot, id=2), KEY)) == "wrong-key-file"
    swapped = replace(
        slot, sealed_root=slot.sealed_signing_key, sealed_signing_key=slot.sealed_root
    )
    assert _refusal(lambda: open_slot(LEDGER, swapped, KEY)) == "keyring-damaged"
    other = _slot(KEY, 2, random=Counted("other"))
    grafted = replace(slot, sealed_root=other.sealed_root)
    assert _refusal(lambda: open_slot(LEDGER, grafted, KEY)) == "keyring-damaged"


def test_a_new_root_needs_no_holder():
    """The public half is enough to hand over a root."""
    slot = _slot(KEY)
    resealed = replace(slot, sealed_root=seal_root(LEDGER, slot, b"n" * 32))
    assert open_slot(LEDGER, resealed, KEY).root == b"n" * 32


def test_a_slot_can_change_hands():
    """After resealing, the new holding opens, the old one does not, and the keys stay."""
    slot = _slot(KEY)
    kind, cost, salt, sealed = reseal_private_key(LEDGER, slot, KEY, WORDS, Counted("new"), CHEAP)
    changed = replace(slot, kind=kind, cost=cost, salt=salt, sealed_private_key=sealed)
    assert open_slot(LEDGER, changed, WORDS).root == ROOT
    assert _refusal(lambda: open_slot(LEDGER, changed, KEY)) == "wrong-key-file"
    assert _refusal(
        lambda: reseal_private_key(LEDGER, slot, OTHER_KEY, WORDS, Counted(), CHEAP)
    ) == ("wrong-key-file")


def test_passphrases_are_compared_after_nfc():
    """How a keyboard composes an accent does not matter."""
    composed, decomposed = "caf\u00e9 planets orbit", "cafe\u0301 planets orbit"
    assert open_slot(LEDGER, _slot(passphrase(composed)), passphrase(decomposed)).root == ROOT


@pytest.mark.parametrize(
    "text",
    [
        "short",
        "elevenchars",
        "e\u0301" * 11,
        "Password1234",
        "password1234",
        "p-a-s-s word 1234",
        " " * 12,
        "\t \u00a0\u2003" * 4,
        "\u200b" * 12,
        "a" * 40,
        "aBbA" * 10,
        "a b c d a b c d",
    ],
)
def test_weak_passphrases_are_refused(text):
    """Under 12 characters as read, common ones however spaced, blanks, hardly any characters."""
    assert _refusal(lambda: new_passphrase(text), InvalidInput) == "weak-passphrase"


def test_no_character_classes_are_demanded():
    """Twelve letters that nobody tries first will do."""
    assert new_passphrase("zweiundvierzigmal").kind == "passphrase"


@pytest.mark.parametrize("text", ["", "x" * 4097, "\udcff" * 12], ids=["empty", "long", "no text"])
def test_what_is_no_passphrase_is_refused_without_quoting_it(text):
    """Not even the cause of the error holds what was typed."""
    with pytest.raises(InvalidInput) as caught:
        new_passphrase(text)
    assert caught.value.code == "invalid-passphrase"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("length", [1, 31, 33])
def test_a_key_file_has_32_bytes(length):
    """Neither more nor fewer."""
    assert _refusal(lambda: key_file(bytes(length))) == "wrong-key-file"


def test_an_empty_key_file_is_told_apart():
    """It was being made and is nobody's yet, so it may be deleted."""
    with pytest.raises(KeyUnavailable) as caught:
        key_file(b"")
    assert caught.value.code == "key-file-empty"
    assert "Delete it" in caught.value.hint


@pytest.mark.parametrize(
    "call", [lambda: key_file(b"x"), lambda: open_slot(LEDGER, _slot(WORDS), KEY)]
)
def test_a_wrong_key_file_is_not_called_a_passphrase(call):
    """The hint speaks of what was given."""
    with pytest.raises(KeyUnavailable) as caught:
        call()
    assert "key file" in caught.value.hint
    assert "passphrase" not in caught.value.hint


@pytest.mark.parametrize(
    "cost",
    [
        Argon2Cost(19 * 1024 - 1, 2, 1),
        Argon2Cost(19 * 1024, 1, 1),
        Argon2Cost(19 * 1024, 2, 0),
        Argon2Cost(4 * 1024 * 1024 + 1, 2, 1),
        Argon2Cost(19 * 1024, 65, 1),
        Argon2Cost(19 * 1024, 2, 65),
        Argon2Cost(-1, -1, -1),
    ],
)
def test_derivation_costs_have_a_floor_and_a_ceiling(cost):
    """Too cheap and ruinously dear parameters are refused before they are used."""
    assert _refusal(lambda: _slot(WORDS, cost=cost)) == "keyring-weak"


@pytest.mark.parametrize("label", ["", "x" * 65, "a\nb", "\x1b[2J", "\udcff"])
def test_a_label_is_printable(label):
    """Labels are shown on terminals."""
    call = lambda: new_slot(
        LEDGER, 1, label, AUDITOR, KEY, ROOT, created_at=1, random=Counted(), cost=CHEAP
    )
    assert _refusal(call, InvalidInput) == "invalid-label"


def test_a_host_without_the_memory_is_told_so():
    """A derivation that does not fit is an error of ours, not of the interpreter."""
    story = """
import resource
from ledger.errors import Unavailable
from ledger.sealing.slots import Argon2Cost, _holding_key
from tests.ledger.sealing.counted import WORDS
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    _holding_key(WORDS, bytes(16), Argon2Cost(2 * 1024 * 1024, 2, 1))
except Unavailable as error:
    print(error.code)
"""
    ran = subprocess.run(
        [sys.executable, "-c", story],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    assert ran.stdout.strip() == "not-enough-memory"
