"""Database and keyring are both lost, and come back together."""

from __future__ import annotations

import shutil

import pytest

import ledger.sealing.keyring_file
import tools.recovering.backups
from ledger.log.memory import HostMemory
from ledger.usecases.key_backups import KeyBackups
from tests.tools.test_backups import create, lose, topics, work, worked  # noqa: F401 # a fixture
from tests.tools.test_restored_keys import forget, held, is_empty, password


class Killed(BaseException):
    """The process ends here."""


def kill_at(owner, step, monkeypatch, run):
    """Run until this step is about to be taken."""

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, killed)
        with pytest.raises(Killed):
            run()


def back_up(cli):
    safe = cli.home.parent / "safe"
    safe.mkdir()
    cli.older = str(safe / "older")
    cli.ok("key", "backup", cli.older)
    for _ in range(2):
        cli.ok("key", "rotate", "--without-backup")
    cli.made = create(cli, "one")
    cli.newer = str(safe / "newer")
    cli.ok("key", "backup", cli.newer)


@pytest.fixture
def backed_up(begun):
    """With an archive, and a key backup of before and of after it."""
    return begun(work, back_up)


def restore(cli, *options: str) -> tuple[str, ...]:
    return ("backup", "restore", cli.made["directory"], *options)


def records(cli) -> list[str]:
    """What the log has got since the archive, but for what a host tells of itself."""
    return [topic for topic in topics(cli)[cli.made["position"] :] if topic != "host.seen"]


def test_both_come_back_with_one_command(backed_up):
    """Each of the two commands for one of them names it."""
    shutil.rmtree(backed_up.home / "keys")
    lose(backed_up)
    error = backed_up.fails(6, "keyring-missing", *restore(backed_up))
    assert "--key-backup FILE" in error["hint"]
    error = backed_up.fails(3, "no-ledger", "key", "restore", backed_up.newer)
    assert "credledger backup restore DIR --key-backup SRC" in error["hint"]
    answer = backed_up.ok(*restore(backed_up, "--key-backup", backed_up.newer, "--reason", "fire"))
    assert answer["ok"]
    assert answer["gone"] is None
    assert answer["keyring"]["source"] == backed_up.newer
    assert answer["keyring"]["kept"] is None
    assert records(backed_up) == ["backup.restored", "key.restored"]
    told = [one["reason"] for one in backed_up.ok("audit", "changes", "--limit", "3")]
    assert sorted(told) == ["", "fire", "fire"]  # the first is what the host tells of itself
    assert password(backed_up) == "p-1"
    assert held(backed_up) == [1, 2, 3, 4]
    assert (backed_up.home / "keys" / "keyring").stat().st_mode & 0o777 == 0o600
    assert backed_up.ok("log", "verify", "--views")["ok"]


def test_people_are_told_where_the_keyring_is(backed_up):
    shutil.rmtree(backed_up.home / "keys")
    lose(backed_up)
    answer = backed_up(*restore(backed_up, "--key-backup", backed_up.newer), json_wanted=False)
    assert answer.code == 0, answer.err
    assert f"is the keyring now: {backed_up.home / 'keys' / 'keyring'}." in answer.err
    assert "keyring" not in answer.text


def test_a_memory_and_an_old_keyring_that_are_left_are_used_and_kept(backed_up):
    keyring = backed_up.home / "keys" / "keyring"
    shutil.copy(backed_up.older, keyring)
    lose(backed_up)
    error = backed_up.fails(6, "keyring-behind", *restore(backed_up))
    assert "give, with `--key-backup`," in error["hint"]
    assert "credledger backup restore DIR" in backed_up("status").error["hint"]
    backed_up.fails(6, "keyring-behind", *restore(backed_up, "--key-backup", backed_up.older))
    assert is_empty(backed_up)
    answer = backed_up.ok(*restore(backed_up, "--key-backup", backed_up.newer))
    assert answer["gone"]["from"] == backed_up.made["position"] + 1
    assert answer["keyring"]["kept"] == f"{keyring}.replaced-1"
    assert records(backed_up) == ["rollback.accepted", "backup.restored", "key.restored"]
    assert password(backed_up) == "p-1"


def test_a_keyring_that_is_not_lost_stays_and_nothing_is_restored(backed_up):
    lose(backed_up)
    backed_up.fails(5, "keyring-not-lost", *restore(backed_up, "--key-backup", backed_up.newer))
    assert is_empty(backed_up)
    assert backed_up.ok(*restore(backed_up))["keyring"] is None


@pytest.mark.parametrize("remembers", [True, False])
def test_killed_before_the_keyring_is_in_place_the_same_command_goes_on(
    backed_up, monkeypatch, remembers
):
    (backed_up.home / "keys" / "keyring").unlink()
    if not remembers:
        forget(backed_up)
    lose(backed_up)
    command = restore(backed_up, "--key-backup", backed_up.newer)

    kill_at(KeyBackups, "restore", monkeypatch, lambda: backed_up(*command))
    assert not (backed_up.home / "keys" / "keyring").exists()
    assert backed_up.ok(*command)["keyring"]["source"] == backed_up.newer
    assert records(backed_up).count("backup.restored") == 1
    assert records(backed_up)[-1] == "key.restored"
    assert password(backed_up) == "p-1"
    backed_up.fails(5, "keyring-not-lost", *command)


def test_a_restore_killed_after_the_keyring_is_in_place_goes_on_by_the_same_command(
    backed_up, monkeypatch
):
    """The store still bears its mark, and the keyring is the one that this restore put there."""
    shutil.rmtree(backed_up.home / "keys")
    lose(backed_up)
    command = restore(backed_up, "--key-backup", backed_up.newer)

    kill_at(tools.recovering.backups, "finish", monkeypatch, lambda: backed_up(*command))
    backed_up.fails(7, "store-restoring", "status")
    assert backed_up.ok(*command)["keyring"] is None
    assert records(backed_up) == ["backup.restored", "key.restored"]
    assert password(backed_up) == "p-1"
    backed_up.fails(5, "keyring-not-lost", *command)


def test_a_restore_killed_before_the_host_forgets_the_other_head_goes_on_by_the_same_command(
    backed_up, monkeypatch
):
    """The keyring alone of its folder was lost, and the store bears no mark any more."""
    backed_up.set("payroll", "user:ann", User="ann", Password="p-2")
    (backed_up.home / "keys" / "keyring").unlink()
    lose(backed_up)
    command = restore(backed_up, "--key-backup", backed_up.newer)

    kill_at(HostMemory, "replace_by", monkeypatch, lambda: backed_up(*command))
    backed_up.fails(8, "forked", "status")
    went_on = backed_up.ok(*command)
    assert went_on["keyring"] is None
    assert went_on["gone"] or went_on["other_branch"]
    assert records(backed_up) == ["rollback.accepted", "backup.restored", "key.restored"]
    assert password(backed_up) == "p-1"
    backed_up.fails(5, "keyring-not-lost", *command)


def test_a_restore_killed_on_both_sides_of_the_keyring_in_place_goes_on_by_the_same_command(
    backed_up, monkeypatch
):
    """Each run records that the keyring is put there, before it is."""
    shutil.rmtree(backed_up.home / "keys")
    lose(backed_up)
    command = restore(backed_up, "--key-backup", backed_up.newer)

    for module, step in (
        (ledger.sealing.keyring_file, "_take_place"),
        (ledger.sealing.keyring_file, "_take_place"),
        (tools.recovering.backups, "finish"),
    ):
        kill_at(module, step, monkeypatch, lambda: backed_up(*command))
    assert backed_up.ok(*command)["ok"]
    assert records(backed_up) == ["backup.restored", *["key.restored"] * 3]
    assert password(backed_up) == "p-1"


def test_recovery_shares_open_the_key_backup_where_no_passphrase_is_left(backed_up):
    made = backed_up.ok("key", "shares", "create", "2/3")
    backup = str(backed_up.home.parent / "safe" / "with-shares")
    backed_up.made = create(backed_up, "two")
    backed_up.ok("key", "backup", backup)
    words = "\n".join(made["shares"][:2]).encode()
    shutil.rmtree(backed_up.home / "keys")
    lose(backed_up)
    shares = ("--shares-file", "-")
    backed_up.fails(2, "usage", *restore(backed_up, *shares), stdin=words)
    both = ("--key-backup", backup, *shares)
    backed_up.fails(2, "usage", *restore(backed_up, *both, "--shares"), stdin=words)
    assert backed_up.ok(*restore(backed_up, *both), stdin=words)["ok"]
    assert password(backed_up) == "p-1"


def said_of(sheet: str, loss: str) -> list[str]:
    """The commands under one heading of the emergency sheet, as they are to be typed."""
    _, _, rest = sheet.partition(f"\n{loss.upper()}\n")
    lines = rest.partition("\n\n")[0].splitlines()
    return [line.strip() for line in lines if line.startswith("    credledger ")]


@pytest.mark.parametrize(
    "loss", ["The database is lost or damaged", "Everything on this host is lost"]
)
def test_what_the_emergency_sheet_says_works_as_it_stands_there(backed_up, loss):
    """With the places that it lists, the newest ones."""
    backed_up.set("payroll", "user:ann", User="ann", Password="p-2")
    create(backed_up, "part", "--since-backup")
    sheet = backed_up("key", "sheet", json_wanted=False).text
    document = backed_up.ok("key", "sheet")
    archives = document["database_backups"]
    assert [one["kind"] for one in archives] == ["incremental", "full"]
    for one in archives:
        assert f"  {one['directory']}\n" in sheet
        assert f"{one['kind']}, up to position {one['position']}\n" in sheet
        assert f"    SHA-256 {one['digest']}\n" in sheet
    assert "needs all of them" in sheet
    if loss.startswith("Everything"):
        shutil.rmtree(backed_up.home / "keys")
    lose(backed_up)
    commands = said_of(sheet, loss)
    assert any("backup restore DIR" in command for command in commands)
    for command in commands:
        typed = command.replace("DIR", archives[0]["directory"])
        typed = typed.replace("PATH", document["key_backups"][0]["path"])
        backed_up.ok(*typed.split()[1:])
    assert password(backed_up) == "p-2"


def test_a_sheet_without_a_database_backup_says_how_to_make_one(worked):  # noqa: F811
    assert worked.ok("key", "sheet")["database_backups"] == []
    sheet = worked("key", "sheet", json_wanted=False).text
    assert "None is recorded. Make one: credledger backup create" in sheet
