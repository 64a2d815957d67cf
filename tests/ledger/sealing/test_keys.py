"""Which cipher opens what, and who holds it."""

from __future__ import annotations

import threading

import pytest
from msgspec.structs import replace

from ledger.errors import KeyUnavailable, Tampered
from ledger.sealing import keys as keys_of
from ledger.sealing.compartments import Compartment
from ledger.sealing.envelope import open_sealed, seal
from ledger.sealing.epochs import new_epoch
from ledger.sealing.keys import KeySet
from ledger.sealing.secrets import SecretBox
from tests.ledger.sealing.counted import Counted

NONCE = bytes(12)
STREAM = b"s" * 16


@pytest.fixture
def epochs():
    random = Counted("keys")
    return new_epoch(1, random), new_epoch(2, random)


@pytest.fixture
def keys(epochs):
    keys = KeySet(epochs)
    keys.start({1: 202611})
    return keys


def _code(call):
    with pytest.raises(KeyUnavailable) as caught:
        call()
    return caught.value.code


def test_epochs_months_and_streams_have_ciphers_of_their_own(keys):
    """What one cipher seals, no other one opens."""
    ciphers = [
        keys.state(1),
        keys.state(2),
        keys.access(1, 202611, STREAM),
        keys.access(1, 202612, STREAM),
        keys.access(1, 202611, b"t" * 16),
    ]
    for own in ciphers:
        sealed = seal(own, b"text", b"", NONCE, Compartment.STATE)
        for cipher in ciphers:
            if cipher is own:
                assert open_sealed(cipher, sealed, b"") == b"text"
            else:
                with pytest.raises(Tampered):
                    open_sealed(cipher, sealed, b"")


def test_a_cipher_is_made_once(keys):
    """The same object answers again."""
    assert keys.state(1) is keys.state(1)
    assert keys.access(1, 202611, STREAM) is keys.access(1, 202611, STREAM)


def test_the_cache_of_access_ciphers_is_bounded(keys, monkeypatch):
    """Many streams do not fill the memory."""
    monkeypatch.setattr("ledger.sealing.keys._CACHED_ACCESS_CIPHERS_MAX", 8)
    for number in range(50):
        keys.access(1, 202611, number.to_bytes(16, "big"))
        assert len(keys._held.access) <= 8


def test_no_key_comes_back_that_another_thread_let_go_of_meanwhile(keys, epochs, monkeypatch):
    """While one learns that an epoch begins in another month, the other drops its keys."""
    made, threads = keys_of._Held, []

    def held(*given):
        if not threads:
            threads.append(threading.Thread(target=keys.hold, args=(epochs[1:],)))
            threads[0].start()
            threads[0].join(0.2)
        return made(*given)

    monkeypatch.setattr(keys_of, "_Held", held)
    keys.start({1: 202612})
    threads[0].join()
    assert keys.epochs == (2,)


def test_the_month_of_an_epoch_is_not_unlearned_by_a_row_that_is_opened_late(keys):
    """It may be of a log that was given up, where the epoch began in another one."""
    before = keys.access_key(1, 202612, STREAM)
    keys.meet(1, 202612)
    assert keys.access_key(1, 202612, STREAM) == before
    keys.meet(2, 202612)
    assert keys.knows(2)


def test_keys_that_are_not_held_are_named(keys, epochs):
    """Missing, destroyed, not started and out of its months are told apart from tampering."""
    assert _code(lambda: keys.state(3)) == "key-missing"
    assert _code(lambda: keys.access(2, 202611, STREAM)) == "key-missing"
    assert _code(lambda: keys.access(1, 202610, STREAM)) == "access-key-missing"
    destroyed = KeySet([replace(epochs[0], access=(None,) * 120)])
    destroyed.start({1: 202611})
    assert _code(lambda: destroyed.access(1, 202611, STREAM)) == "key-destroyed"
    box = SecretBox([epochs[0].without_secret()])
    assert _code(lambda: box.open(1, b"", b"")) == "secret-key-missing"
    assert _code(lambda: box.seal(1, b"", b"", NONCE)) == "secret-key-missing"


def test_a_key_set_holds_no_secret_key(keys, epochs):
    """Whoever searches all of a key set finds no key of `secret`."""
    assert all(held.secret is None for held in keys._held.epochs.values())
    assert epochs[0].secret is not None


def test_values_open_in_the_row_that_carries_them(epochs):
    """A blob moved to another row or epoch is refused, and state keys do not open it."""
    box = SecretBox(epochs)
    sealed = box.seal(1, b"packed", b"row", NONCE)
    assert box.open(1, sealed, b"row") == b"packed"
    for call in (
        lambda: box.open(1, sealed, b"another row"),
        lambda: box.open(2, sealed, b"row"),
        lambda: open_sealed(KeySet(epochs).state(1), sealed, b"credledger/v1/secretrow"),
    ):
        with pytest.raises(Tampered):
            call()
