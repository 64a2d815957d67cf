"""The service's key pair lies in the operators' keyring, is published, and rotates with overlap."""

from __future__ import annotations

import json
import shutil

import pytest
from jwcrypto import jwk
from msgspec.structs import replace

from ledger.errors import KeyUnavailable, Refused, Unavailable
from ledger.sealing.keyring import GivenUp
from ledger.sealing.keyring_file import changing, read_keyring
from ledger.sealing.service_keys import ServicePair, new_pair, pair_from
from ledger.sealing.slots import new_passphrase, passphrase
from ledger.usecases.acting import Acting
from tests.conftest import CHEAP, PASSPHRASE, unlocked_by_passphrase
from tests.ledger.tokens.conftest import Counter, StillClock, trusting
from tests.ledger.tokens.hostile import SEALED
from tests.ledger.tokens.minting import encrypt, mint

FURTHER = "another long passphrase here"


@pytest.fixture
def counter(prepared_file):
    house = prepared_file(trusting)
    house.clock = StillClock()
    made = Counter(house)
    yield made
    made.ledger.close()


def held(counter) -> tuple[ServicePair, ...]:
    return unlocked_by_passphrase(counter.house.keyring_path).service


def sealed_to(counter, published, now=None):
    """A token encrypted to what was published."""
    to = json.loads(published.jwks)["keys"][0]
    return encrypt(mint(now or counter.scene.now, iss=SEALED), to)


def test_the_pair_before_opens_until_the_pair_after(counter):
    """Two are held: what was published while a token was made still opens it, and older not."""
    trust = counter.ledger.trust
    first = trust.published().newest()
    tokens = [sealed_to(counter, first)]
    for expected in ([True, True], [False, True, True]):
        tokens.append(sealed_to(counter, trust.new_service_pair(Acting())))
        opened = []
        for token in tokens:
            try:
                counter.another().verify(token.encode())
                opened.append(True)
            except Refused:
                opened.append(False)
        assert opened == expected
        assert len(held(counter)) == 2
        assert [one.made_at for one in held(counter)] == [
            one.made_at for one in trust.published().kept
        ]


def test_what_is_published_is_public(counter):
    """Both keys for encryption, each with its thumbprint, and no private part of either."""
    published = counter.ledger.trust.published().newest()
    elliptic, rsa = json.loads(published.jwks)["keys"]
    assert set(elliptic) == {"kty", "crv", "x", "y", "kid", "use"}
    assert set(rsa) == {"kty", "n", "e", "kid", "use"}
    assert (elliptic["kid"], rsa["kid"]) == published.kids
    for key in (elliptic, rsa):
        assert jwk.JWK(**key).thumbprint() == key["kid"]


def test_an_auditors_keyring_has_no_pair(counter):
    """What tokens are encrypted to is no part of what an auditor sees."""
    place = counter.house.keyring_path.parents[1] / "auditor" / "keyring"
    counter.ledger.add_slot(
        Acting(),
        label="ada",
        opens="auditor",
        holding=new_passphrase(FURTHER),
        auditor_file=place,
        cost=CHEAP,
    )
    assert read_keyring(place).unlock(passphrase(FURTHER)).service == ()
    assert len(held(counter)) == 1


def test_the_pair_is_kept_through_everything_that_changes_the_keyring(counter):
    """A slot added and removed, a passphrase changed, keys rotated: the pair is the same."""
    ledger, before = counter.ledger, held(counter)
    slot = ledger.add_slot(
        Acting(), label="two", opens="operator", holding=new_passphrase(FURTHER), cost=CHEAP
    ).slot
    assert read_keyring(counter.house.keyring_path).unlock(passphrase(FURTHER)).service == before
    ledger.rotate(Acting(), without_backup=True)
    ledger.remove_slot(Acting(), slot, mislaid=True)
    ledger.rotate(Acting(), without_backup=True, destroy_previous=True)
    ledger.change_passphrase(Acting(), passphrase(PASSPHRASE), new_passphrase(FURTHER), CHEAP)
    found = read_keyring(counter.house.keyring_path).unlock(passphrase(FURTHER))
    assert found.service == before
    assert counter.verify(sealed_to(counter, ledger.trust.published().newest()))


def test_a_key_backup_brings_the_pair_back(counter, tmp_path):
    """A restored keyring opens what is encrypted to what is published."""
    copy = tmp_path / "safe" / "keyring"
    copy.parent.mkdir(mode=0o700)
    shutil.copy2(counter.house.keyring_path, copy)
    assert read_keyring(copy).unlock(passphrase(PASSPHRASE)).service == held(counter)


def test_a_pair_that_was_never_published_gives_way(counter, monkeypatch):
    """Cut off between file and log, the file holds one more; the next one takes its place."""
    published = counter.ledger.trust.published().newest()
    token = sealed_to(counter, published)

    def cut_off(*_):
        raise Unavailable("store-unreachable", "The store is gone.")

    monkeypatch.setattr("ledger.usecases.trust.RecordServicePair.decide", cut_off)
    for _ in range(3):
        with pytest.raises(Unavailable):
            counter.ledger.trust.new_service_pair(Acting())
        assert len(held(counter)) == 2
        assert held(counter)[0].made_at == published.made_at
        assert counter.another().verify(token.encode())
    monkeypatch.undo()
    newest = counter.ledger.trust.new_service_pair(Acting())
    assert [one.made_at for one in held(counter)] == [published.made_at, newest.made_at]
    assert counter.another().verify(token.encode())


def test_another_process_opens_with_the_new_pair(counter):
    """What one process makes, one that runs beside it uses without being started again."""
    beside = counter.house.open()
    made = counter.ledger.trust.new_service_pair(Acting())
    token = sealed_to(counter, made)
    counter.ledger, ledger = beside, counter.ledger
    assert counter.another().verify(token.encode())
    counter.ledger = ledger
    beside.close()


def test_no_change_of_the_file_drops_a_pair_unsaid(counter):
    """As with every key: what is to be written must hold what the file held."""
    unlocked = unlocked_by_passphrase(counter.house.keyring_path)
    with changing(counter.house.keyring_path, unlocked) as file:
        bare = replace(file.held, service=())._with_epochs(file.held.epochs)
        with pytest.raises(KeyUnavailable) as caught:
            file.write(bare.keyring, bare.root)
        assert caught.value.code == "keyring-would-lose-keys"
        other = replace(file.held, service=(new_pair(file.held.service[0].made_at),))
        with pytest.raises(KeyUnavailable):
            file.write(other._with_epochs(other.epochs).keyring, other.root)
        given_up = GivenUp(pairs=frozenset({unlocked.service[0].made_at}))
        file.write(bare.keyring, bare.root, given_up)
    assert held(counter) == ()


@pytest.mark.parametrize("order", [(2, 1), (1, 1), (1, 2, 3)])
def test_pairs_that_no_writer_leaves_make_a_keyring_damaged(counter, order):
    """They are two at most, and the last one is the newest."""
    unlocked = unlocked_by_passphrase(counter.house.keyring_path)
    made = {number: new_pair(number) for number in set(order)}
    odd = replace(unlocked, service=tuple(made[number] for number in order))
    keyring = odd._with_epochs(odd.epochs).keyring
    with pytest.raises(KeyUnavailable) as caught:
        keyring.unlock(passphrase(PASSPHRASE))
    assert caught.value.code == "keyring-damaged"


def test_who_unlocked_is_known_without_the_pair(counter):
    """What is handed round in a process to say who acts holds no private key."""
    unlocked = unlocked_by_passphrase(counter.house.keyring_path)
    assert len(unlocked.service) == 1
    assert unlocked.without_keys().service == ()


def test_a_keyring_without_a_pair_is_written_as_before(house):
    """Byte for byte as a keyring that never had one: no entry says that there is none."""
    ledger = house.open()
    keyring = read_keyring(house.keyring_path)
    unlocked = keyring.unlock(passphrase(PASSPHRASE))
    assert unlocked.service == ()
    again = unlocked._with_epochs(unlocked.epochs).keyring
    assert again.to_bytes() == keyring.to_bytes()
    assert ledger.trust.published().newest() is None
    ledger.close()


def test_a_pair_is_not_printed_or_stored(counter):
    """Its representation tells when it was made and no more."""
    (pair,) = held(counter)
    shown = repr(pair) + str(pair) + repr(unlocked_by_passphrase(counter.house.keyring_path))
    for secret in (pair.elliptic, pair.rsa):
        assert secret[40:60].hex() not in shown
        assert repr(secret[40:60])[2:-1] not in shown


@pytest.mark.parametrize(
    "stored",
    [
        [],
        [1, b"a"],
        [1, b"a", b"b", b"c"],
        ["1", b"a", b"b"],
        [True, b"a", b"b"],
        [-1, b"a", b"b"],
        [1, "a", b"b"],
        [1, b"", b"b"],
        [1, b"a", b"b" * 9000],
    ],
)
def test_what_cannot_be_a_pair_is_none(stored):
    """Its shape is looked at before it is used, although the root authenticated it."""
    with pytest.raises((ValueError, TypeError)):
        pair_from(stored)


def test_bytes_that_are_no_keys_are_told(counter):
    """As damage of the keyring, when somebody wants to open a token with them."""
    (pair,) = held(counter)
    for damaged in (
        ServicePair(1, b"a", pair.rsa),
        ServicePair(1, pair.elliptic, b"b"),
        ServicePair(1, pair.rsa, pair.elliptic),
    ):
        with pytest.raises(KeyUnavailable) as caught:
            damaged.opened()
        assert caught.value.code == "keyring-damaged"
