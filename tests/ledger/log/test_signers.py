"""Signer rows held against each other: an operator's signature makes up for no rule."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import Tampered
from ledger.log.rows import AUDITOR, BEGIN, END, OPERATOR
from ledger.log.signers import SignerBook
from ledger.tree import Frontier
from tests.ledger.log.in_lists import InLists

BEN = Ed25519PrivateKey.from_private_bytes(bytes([5]) * 32).public_key().public_bytes_raw()


@pytest.mark.parametrize(
    "wrong",
    [
        [(OPERATOR, END)],
        [(AUDITOR, END), (AUDITOR, END)],
        [(AUDITOR, END), (AUDITOR, BEGIN)],
        [(AUDITOR, BEGIN)],
    ],
    ids=["ended as another class", "ended twice", "begun after its end", "begun twice"],
)
def test_a_key_begins_once_and_ends_once_as_what_it_began(wrong):
    log = InLists(1, 1)
    *right, last = [
        log.signer.introduce(BEN, signer_class, change, Frontier())
        for signer_class, change in [(AUDITOR, BEGIN), *wrong]
    ]
    rows = (log.introduced, *right)
    SignerBook(log.row, rows, lambda _: None)
    with pytest.raises(Tampered) as caught:
        SignerBook(log.row, (*rows, last), lambda _: None)
    assert caught.value.code == "bad-signer"
