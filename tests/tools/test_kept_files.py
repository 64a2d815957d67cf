"""Files with destroyed keys beside the keyring: named by whatever destroys, until they are gone."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from tests.tools.test_backups import create, lose, worked  # noqa: F401 # a fixture
from tests.tools.test_recovery_findings import found
from tests.tools.test_retention import later, old  # noqa: F401 # fixtures

CODE = "kept-keyring-opens-destroyed"


def keep(cli) -> Path:
    """Put a key backup in the place of a keyring that is two rotations behind it."""
    keyring, safe = cli.home / "keys" / "keyring", cli.home.parent / f"{cli.home.name}-safe"
    safe.mkdir(exist_ok=True)
    shutil.copy2(keyring, safe / "behind")
    for _ in range(2):
        cli.ok("key", "rotate", "--without-backup")
    cli.made = cli.ok("key", "backup", str(safe / "whole"))
    shutil.copy2(safe / "behind", keyring)
    return Path(cli.ok("key", "restore", str(safe / "whole"))["kept"])


def destroy(cli, **more):
    return cli("key", "rotate", "--destroy-previous", "--without-backup", "--yes", **more)


def test_a_rotation_that_destroys_names_the_file_that_still_opens_the_values(worked):  # noqa: F811
    kept = keep(worked)
    assert CODE not in found(worked)
    assert worked.ok("key", "status")["kept_files"] == []
    assert destroy(worked).json["kept_files"] == [str(kept)]
    worked.ok("backup", "create", str(worked.archives / "after"))
    worked.ok("key", "backup", "attest-replaced", str(worked.made["position"]))
    assert CODE in found(worked)
    assert worked.ok("key", "status")["kept_files"] == [{"path": str(kept), "epochs": [1, 2]}]
    kept.unlink()
    assert CODE not in found(worked)
    assert worked.ok("key", "status")["kept_files"] == []


def test_people_are_told_the_file_and_what_ends_it(worked):  # noqa: F811
    kept = keep(worked)
    assert f"`rm {kept}`" in destroy(worked, json_wanted=False).err
    assert f"Not final: the file {kept}" in worked("key", "status", json_wanted=False).text


def test_the_command_that_removes_it_names_that_file_and_no_other(worked):  # noqa: F811
    """Whatever the folder is called; who pastes it must not remove something else."""
    keys = (worked.home / "keys").rename(worked.home / "all my keys; old")
    worked.environment["CREDLEDGER_KEYRING"] = str(keys / "keyring")
    destroy(worked)
    kept = keys / "keyring.replaced-1"
    kept.write_bytes(b"no keyring")
    kept.chmod(0o644)
    keys.chmod(0o777)
    said = worked("key", "rotate", "--destroy-previous", "--without-backup", "--yes").err
    assert shlex.split(said.partition("destroy it with `")[2].partition("`")[0]) == [
        "rm",
        str(kept),
    ]
    mends = [shlex.split(one["mend"]) for one in worked.ok("doctor")["findings"]]
    assert ["rm", str(kept)] in mends
    assert ["chmod", "go-w", str(keys)] in mends


def test_an_erasure_is_not_final_while_a_kept_file_has_its_keys(old):  # noqa: F811
    kept = keep(old)
    keys = kept.parent.rename(kept.parent.with_name("all my keys; old"))
    old.environment["CREDLEDGER_KEYRING"] = str(keys / "keyring")
    kept = keys / kept.name
    old.ok("key", "backup", "attest-replaced", str(old.made["position"]))
    old.ok("key", "retention", "set", "--access-older-than", "31")
    done = old("key", "retention", "apply", "--yes")
    assert (done.json["kept_files"], done.json["final"]) == ([str(kept)], False)
    assert f"`rm {shlex.quote(str(kept))}`" in done.err
    assert CODE in found(old)
    shown = old.ok("key", "retention", "show")
    assert (shown["key_backups"], shown["final"]) == ([], False)
    kept.unlink()
    shown = old.ok("key", "retention", "show")
    assert (shown["kept_files"], shown["final"]) == ([], True)


def test_a_file_that_nobody_can_look_into_counts_and_so_does_what_a_kill_left(worked):  # noqa: F811
    """A damaged file of any such name may hold them; the file that holds none of them does not."""
    destroy(worked)
    keys = worked.home / "keys"
    for name in ("keyring.replaced-1", "keyring.replaced-12", "keyring.new"):
        (keys / name).write_bytes(b"no keyring")
        assert worked.ok("key", "status")["kept_files"] == [
            {"path": str(keys / name), "epochs": [1]}
        ]
        (keys / name).unlink()
    for name in ("keyring.replaced-x", "keyring.memory-2", "other.replaced-1"):
        (keys / name).write_bytes(b"no keyring")
    shutil.copy2(keys / "keyring", keys / "keyring.replaced-3")
    assert worked.ok("key", "status")["kept_files"] == []


def test_a_file_under_an_earlier_root_counts_until_it_is_gone(worked):  # noqa: F811
    """Removing a slot gives the keyring another root: what an earlier one opens shows no more."""
    kept = keep(worked)
    spare = worked.home.parent / "spare.key"
    added = worked.ok(
        "key", "slot", "add", "key-file", "--new-key-file", str(spare), "--label", "spare"
    )
    worked.ok("key", "slot", "remove", str(added["slot"]), "--mislaid", "--yes")
    assert destroy(worked).json["kept_files"] == [str(kept)]


def test_a_file_with_keys_of_a_branch_that_was_given_up_is_not_to_be_removed(worked):  # noqa: F811
    """The log that went on destroyed others of the same number, and nothing else may hold these."""
    made = create(worked, "one")
    for _ in range(3):
        destroy(worked)
    keyring = worked.home / "keys" / "keyring"
    kept = keyring.with_name("keyring.replaced-1")
    shutil.copy2(keyring, kept)
    lose(worked)
    worked.ok("backup", "restore", made["directory"])
    worked.ok("credential", "delete", "payroll", "--owner", "user:ann", "--yes")
    for _ in range(3):
        destroy(worked)
    destroyed = worked.ok("key", "status")
    assert [one["epoch"] for one in destroyed["epochs"] if one["state"] == "destroyed"] == [
        1,
        2,
        3,
        4,
    ]
    assert destroyed["kept_files"] == []
    assert CODE not in found(worked)


def test_a_file_that_holds_keys_of_a_log_that_was_given_up_as_well_is_kept_apart(worked):  # noqa: F811
    """An archive of that log rests on them, and they may be nowhere else."""
    safe = worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("key", "backup", str(safe / "before"))
    one = create(worked, "one")
    destroy(worked)
    two = create(worked, "two")
    lose(worked)
    before = ("--key-backup", str(safe / "before"))
    ahead = worked.ok("backup", "restore", one["directory"], *before)["keyring"]["kept"]
    worked.ok("key", "rotate", "--without-backup")
    worked.ok("key", "rotate", "--without-backup")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    three = create(worked, "three")
    lose(worked)
    back = worked.ok("backup", "restore", two["directory"], "--key-backup", ahead)
    kept = back["keyring"]["kept"]
    (finding,) = [one for one in worked.ok("doctor")["findings"] if one["code"] == CODE]
    assert f"The file {kept} " in finding["message"]
    assert "keys of a log that was given up as well" in finding["message"]
    assert finding["mend"].startswith("As long as an archive of that log may be needed, move it")
    apart = shutil.move(kept, safe / "apart")
    assert CODE not in found(worked)
    lose(worked)
    worked.ok("backup", "restore", three["directory"], "--key-backup", str(apart))
    got = worked.ok("credential", "get", "payroll", "--as", "user:ann")
    assert got["fields"]["Password"] == "p-2"
