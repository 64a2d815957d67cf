"""The service's key pair through every loss: it comes back with the keyring, to operators only."""

from __future__ import annotations

import json
import time

import pytest

from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import key_file
from tests.ledger.tokens.minting import AUDIENCE, ISSUER, encrypt, jwks, mint
from tests.tools.conftest import auditor_of, found

VALUES = {"User": "ann", "Password": "canary-5d1f"}
FIELDS = ("--field", "User:user-name", "--field", "Password:password")
ALICE = f"{ISSUER}#user:alice"


def seal(cli):
    """Tokens must be encrypted, to a pair that is published; credentials are there for one."""
    cli.ok(*("app", "create", "payroll", "--kind", "individual"), *FIELDS)
    keys = cli.home / "jwks.json"
    keys.write_text(jwks("EC"))
    cli.ok(
        *("issuer", "add", ISSUER, "--audience", AUDIENCE, "--keys", str(keys), "--encrypted-only")
    )
    cli.ok("key", "service", "rotate")
    cli.ok("key", "service", "rotate")
    cli.set("payroll", ALICE, **VALUES)
    (cli.home / "safe").mkdir(mode=0o700)


@pytest.fixture
def sealed(beginnings):
    return beginnings(None).begun(found, seal)


def pairs(cli, key=None, keyring=None):
    """The pairs in a keyring's file."""
    opened = read_keyring(keyring or cli.home / "keys/keyring").unlock(
        key_file((key or cli.home / "secret/key").read_bytes())
    )
    return opened.service


def require_opens(cli):
    """A token that is encrypted to what is published gets what it should."""
    published = cli.ok("key", "service", "jwks")["keys"]
    for to in published:
        alg = "ECDH-ES" if to["kty"] == "EC" else "RSA-OAEP-256"
        path = cli.home / "token"
        path.write_text(encrypt(mint(int(time.time())), to, alg))
        got = cli.ok("credential", "get", "payroll", "--token-file", str(path))
        assert got["fields"] == VALUES


def test_a_key_backup_brings_the_pair_back(sealed):
    """The keyring is lost; what `key restore` puts in its place opens tokens as before."""
    before = pairs(sealed)
    assert len(before) == 2
    sealed.ok("key", "backup", str(sealed.home / "safe/one"))
    (sealed.home / "keys/keyring").unlink()
    sealed.ok("key", "restore", str(sealed.home / "safe/one"))
    assert pairs(sealed) == before
    require_opens(sealed)


def test_a_backup_that_lacks_the_newest_pair_still_opens_the_one_before(sealed):
    """What it cannot open is refused as any token is, and the next pair mends it."""
    sealed.ok("key", "backup", str(sealed.home / "safe/one"))
    before = pairs(sealed)
    sealed.ok("key", "service", "rotate")
    (sealed.home / "keys/keyring").unlink()
    sealed.ok("key", "restore", str(sealed.home / "safe/one"))
    assert pairs(sealed) == before
    to = sealed.ok("key", "service", "jwks")["keys"][0]
    path = sealed.home / "token"
    path.write_text(encrypt(mint(int(time.time())), to))
    get = ("credential", "get", "payroll", "--token-file", str(path))
    sealed.fails(4, "token-refused", *get)
    assert sealed.ok("audit", "tokens")[0]["reasons"] == {"undecryptable": 1}
    sealed.ok("key", "service", "rotate")
    require_opens(sealed)


def test_recovery_shares_open_a_keyring_with_its_pair(sealed):
    """The slot that they make uses the pair, and so does the one that made them."""
    before, words = pairs(sealed), sealed.home / "words"
    made = sealed.ok("key", "shares", "create", "2/3")
    words.write_text("\n".join(made["shares"][:2]))
    words.chmod(0o600)
    anew = sealed.home / "secret/anew"
    sealed.ok(
        *("key", "shares", "restore", "--shares-file", str(words), "--new-key-file", str(anew))
    )
    assert pairs(sealed) == pairs(sealed, anew) == before
    sealed.environment["CREDLEDGER_KEY_FILE"] = str(anew)
    require_opens(sealed)


def test_a_new_root_and_destroyed_keys_leave_the_pair(sealed):
    """A slot is removed with all that this rotates, and earlier keys are destroyed."""
    before = pairs(sealed)
    sealed.ok("key", "slot", "add", "key-file", "--new-key-file", str(sealed.home / "secret/two"))
    sealed.ok("key", "slot", "remove", "2", "--yes", "--mislaid")
    sealed.ok("key", "rotate", "--without-backup", "--destroy-previous", "--yes")
    assert pairs(sealed) == before
    require_opens(sealed)


def test_no_auditors_file_ever_holds_the_pair(sealed):
    """Made, or exported again after a rotation, it opens no token and still says what is public."""
    auditor = auditor_of(sealed)
    theirs, key = sealed.home / "auditor/keyring", sealed.home / "auditor/key"
    assert pairs(sealed, key, theirs) == ()
    sealed.ok("key", "rotate", "--without-backup")
    sealed.ok("key", "service", "rotate")
    theirs.unlink()
    slot = next(one["id"] for one in sealed.ok("key", "slot", "list") if one["label"] == "ada")
    sealed.ok("key", "slot", "export-auditor", str(slot), str(theirs))
    assert pairs(sealed, key, theirs) == ()
    published = auditor.ok("key", "service", "jwks")
    assert published == sealed.ok("key", "service", "jwks")
    assert not {"d", "p", "q"} & {name for one in published["keys"] for name in one}
    assert json.dumps(published).count('"kid"') == len(published["keys"])
