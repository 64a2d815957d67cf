"""Places that nobody can look at: other accounts' folders, and shares that do not answer.

Here a link to a name that is too long stands for them, for it fails for root as well.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.tools.test_backups import create, worked  # noqa: F401 # a fixture
from tests.tools.test_recovery_findings import found

TOO_LONG = "x" * 300


def hide(place: Path) -> None:
    """Put a link that fails in the place of a folder."""
    shutil.rmtree(place)
    place.symlink_to(TOO_LONG)


def test_what_nobody_can_look_at_hides_no_archive_beside_it(worked):  # noqa: F811
    made = create(worked, "one")
    stick = worked.home.parent / "stick"
    shutil.copytree(made["directory"], stick / "copy")
    (stick / "a").symlink_to(TOO_LONG)
    refused = ("key-backup-beside-database", "key", "backup", str(stick / "keyring"))
    worked.fails(4, *refused)


def test_what_nobody_can_look_at_hides_no_part_beside_it(worked):  # noqa: F811
    """The part that an archive goes on from lies in a folder after the one that fails."""
    create(worked, "one")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    later = create(worked, "two", "--since-backup")
    (worked.archives / "a").symlink_to(TOO_LONG)
    assert worked.ok("backup", "verify", later["directory"])["ok"]


def test_recorded_places_that_nobody_can_look_at_stop_nothing(worked):  # noqa: F811
    safe, tape = worked.home.parent / "safe", worked.home.parent / "tape"
    safe.mkdir()
    worked.ok("key", "backup", str(safe / "keyring"))
    worked.ok("backup", "create", str(tape / "one"))
    hide(safe)
    hide(tape)
    assert found(worked) == ["no-drill"]
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    assert create(worked, "two")["kind"] == "full"
    assert worked.ok("key", "rotate")["to"] == 2


def test_a_keyring_that_nobody_can_look_at_is_exit_6(worked):  # noqa: F811
    """Nothing is said of it as of one that was never there, and none is made in its place."""
    made = create(worked, "one")
    hide(worked.home / "keys")
    for command in (("status",), ("init",), ("backup", "restore", made["directory"])):
        worked.fails(6, "keyring-missing", *command)
    answer = worked("doctor")
    assert answer.code == 6
    assert answer.json["findings"][0]["code"] == "keyring-missing"


def test_a_store_that_nobody_can_look_at_is_exit_7(worked):  # noqa: F811
    """It is not taken for one in which there is no ledger."""
    folder = worked.home / "out of sight"
    folder.symlink_to(TOO_LONG)
    worked.environment["CREDLEDGER_STORE"] = f"sqlite://{folder}/ledger.db"
    for command in (("status",), ("init",), ("log", "verify")):
        worked.fails(7, "store-not-writable", *command)
    answer = worked("doctor")
    assert answer.code == 7
    assert [one["code"] for one in answer.json["findings"]] == ["store-not-writable"]
