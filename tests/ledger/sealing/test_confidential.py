"""What holds keys and passphrases does not print or store them."""

from __future__ import annotations

import copy
import pickle

import pytest
from rich.pretty import pretty_repr

from ledger.sealing.slots import open_slot
from tests.ledger.sealing.counted import KEY, WORDS


def _forms(secret):
    return (secret.hex(), repr(secret)[2:-1], secret.decode("latin-1"))


@pytest.fixture
def holders(unlocked):
    keys, box, streams = unlocked.key_set(), unlocked.secret_box(), unlocked.stream_names()
    keys.start({1: 202611})
    keys.state(1), keys.access(1, 202611, bytes(16)), streams.roles()
    opened = open_slot(unlocked.ledger_id, unlocked.slot, KEY)
    return (unlocked, unlocked.epochs[0], keys, box, streams, opened, KEY, WORDS)


def test_no_secret_is_printed(unlocked, holders):
    """Neither `repr`, `str` nor `rich` shows a key, a passphrase or the root of a holder."""
    secrets = [unlocked.root, unlocked.stream_key, KEY.secret, WORDS.secret]
    secrets += [unlocked.signing_key.private_bytes_raw()]
    for keys in unlocked.epochs:
        secrets += [keys.state, keys.secret, *keys.access]
    for holder in (*holders, unlocked.keyring, unlocked.slot):
        shown = repr(holder) + str(holder) + pretty_repr(holder)
        assert not [form for secret in secrets for form in _forms(secret) if form in shown]


def test_no_holder_is_stored_or_copied(holders):
    """Pickling fails in every protocol, and so does a copy, deep or not."""
    for holder in holders:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="never stored"):
                pickle.dumps(holder, protocol)
        for copied in (copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="never stored"):
                copied(holder)


def test_the_file_holds_no_secret_in_clear(unlocked, add):
    """No key, label of a purpose or passphrase is found in the bytes of a keyring."""
    keyring, _, _ = add("second", "operator", WORDS)
    content = keyring.to_bytes()
    secrets = [unlocked.root, unlocked.stream_key, KEY.secret, WORDS.secret]
    secrets += [key for keys in unlocked.epochs for key in (keys.state, keys.secret, *keys.access)]
    assert not [secret for secret in secrets if secret in content]
