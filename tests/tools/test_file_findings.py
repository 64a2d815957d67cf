"""What `doctor` says of files and folders that others may read or write."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ledger.usecases.ledger import Ledger
from tests.tools.test_backups import work
from tools.wiring import Session

SERVER = {"role-too-wide", "no-standby"}


def keep_carefully(cli) -> None:
    safe = cli.home.parent / "safe"
    safe.mkdir(mode=0o700)
    cli.ok("key", "slot", "add", "key-file", "--new-key-file", str(safe / "spare"))
    cli.ok("key", "backup", str(safe / "keyring"))
    cli.ok("backup", "create", str(cli.archives / "one"))
    cli.ok("backup", "drill")
    assert said(cli) == {}


@pytest.fixture
def kept(begun):
    """A ledger with everything that a careful operator has, and nothing to be found."""
    return begun(work, keep_carefully)


def said(cli) -> dict[str, dict]:
    told = [one for one in cli.ok("doctor")["findings"] if one["code"] not in SERVER]
    assert all(one["severity"] == "warning" for one in told)
    found = {one["code"]: one for one in told}
    assert len(found) == len(told)
    return found


def places(cli) -> dict[str, Path]:
    home, safe = cli.home, cli.home.parent / "safe"
    return {
        "memory-too-open": home / "keys" / "keyring.memory",
        "key-backup-too-open": safe / "keyring",
        "archive-too-open": next((cli.archives / "one").glob("part-*.segment")),
        "store-too-open": Path(cli.environment["CREDLEDGER_STORE"].removeprefix("sqlite://")),
    }


def test_a_file_that_others_may_read_is_named_until_it_is_mended(kept):
    """And the command that is told is the one that mends it; a store on a server is no file."""
    files = {code: place for code, place in places(kept).items() if place.exists()}
    assert {"memory-too-open", "key-backup-too-open", "archive-too-open"} <= files.keys()
    for code, place in files.items():
        for mode in (0o644, 0o620, 0o604, 0o666):
            place.chmod(mode)
            found = said(kept)
            assert list(found) == [code]
            assert str(place.parent) in found[code]["mend"]
        place.chmod(0o600)
        assert said(kept) == {}


def test_the_command_that_mends_names_that_place_whatever_it_is_called(kept):
    """Whoever pastes it must not change the rights of something else."""
    copy = kept.home.parent / "safe" / "my keys; new"
    archive = kept.archives / "all of it; new"
    kept.ok("key", "backup", str(copy))
    kept.ok("backup", "create", str(archive), "--since-backup")
    copy.chmod(0o644)
    next(archive.glob("part-*.segment")).chmod(0o644)
    mends = {code: shlex.split(one["mend"]) for code, one in said(kept).items()}
    assert mends == {
        "key-backup-too-open": ["chmod", "600", str(copy)],
        "archive-too-open": ["chmod", "go=", f"{archive}/part-*"],
    }


def test_a_folder_in_which_others_may_write_is_named(kept):
    """Looking into it is no harm, and a sticky bit keeps others from taking files away."""
    store = places(kept)["store-too-open"]
    folders = [kept.home / "keys", kept.home.parent / "safe", kept.archives / "one"]
    for folder in [*folders, *([store.parent] if store.exists() else [])]:
        for mode in (0o777, 0o770, 0o702):
            folder.chmod(mode)
            found = said(kept)
            assert list(found) == ["folder-too-open"]
            assert found["folder-too-open"]["mend"] == f"chmod go-w {folder}"
        for mode in (0o755, 0o1777, 0o700):
            folder.chmod(mode)
            assert said(kept) == {}


def test_what_is_elsewhere_or_attested_gone_is_not_looked_at(kept):
    """A medium that is not mounted is no finding, nor is what an operator gave up."""
    safe = kept.home.parent / "safe"
    (safe / "keyring").chmod(0o666)
    made = kept.ok("key", "backup", "list")[0]["position"]
    kept.ok("key", "backup", str(safe / "another"))
    kept.ok("key", "backup", "attest-replaced", str(made))
    assert said(kept) == {}
    safe.rename(safe.with_name("away"))
    kept.archives.rename(kept.archives.with_name("off"))
    assert said(kept) == {}


def test_a_passphrase_file_that_others_may_read_is_named(kept):
    """It is used all the same, for one that cannot be read otherwise would be a dead end."""
    secret = kept.home / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text("seven herons cross the lake")
    add = ("key", "slot", "add", "passphrase", "--label", "ann", "--argon2-memory", "19")
    kept.ok(*add, "--new-passphrase-file", str(secret))
    kept.ok("key", "backup", str(kept.home.parent / "safe" / "two"))
    kept.ok("backup", "create", str(kept.archives / "two"), "--since-backup")
    kept.environment["CREDLEDGER_KEY_FILE"] = ""
    kept.environment["CREDLEDGER_PASSPHRASE_FILE"] = str(secret)
    assert said(kept) == {}
    secret.chmod(0o640)
    answer = kept("doctor")
    assert [one["code"] for one in answer.json["findings"] if one["code"] not in SERVER] == [
        "passphrase-file-too-open"
    ]


def test_files_are_looked_at_where_the_ledger_does_not_open(kept):
    """What is wrong with it may be just that."""
    (kept.home / "keys" / "keyring.memory").chmod(0o666)
    (kept.home / "keys" / "keyring").write_bytes(b"harmed")
    answer = kept("doctor")
    assert answer.code == 6
    assert {one["code"] for one in answer.json["findings"]} >= {
        "memory-too-open",
        "keyring-damaged",
    }


def test_an_epoch_that_was_not_rotated_for_a_year_is_named(kept, monkeypatch):
    """Twelve months of thirty days, and not a moment before."""
    year = 12 * 30 * 86_400 * 1_000_000
    status = Ledger.status
    began = []

    def then(self):
        found = status(self)
        began.append(next(one[2] for one in found.epochs if one[1] == "current"))
        return found

    monkeypatch.setattr(Ledger, "status", then)
    assert said(kept) == {}
    for late, codes in ((0, []), (1, ["epoch-old"])):
        monkeypatch.setattr(Session, "now", lambda _, late=late: began[0] + year + late)
        assert list(said(kept)) == codes
    assert said(kept)["epoch-old"]["mend"] == "credledger key rotate"
