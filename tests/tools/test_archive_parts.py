"""Archives of which a part is damaged, or gone."""

from __future__ import annotations

import shutil

import pytest

import tools.recovering.backups
from tests.tools.test_backups import create, lose, work, worked  # noqa: F401 # a fixture
from tests.tools.test_recovery_findings import found
from tests.tools.test_restored_keys import password


def share(cli):
    cli.full = create(cli, "shared")
    cli.set("payroll", "user:ann", User="ann", Password="p-2")
    cli.part = create(cli, "shared", "--since-backup")
    cli.directory = cli.part["directory"]


@pytest.fixture
def shared(begun):
    """A full archive and an incremental one in one folder."""
    return begun(work, share)


def manifest(cli, made: dict):
    (path,) = (cli.archives / "shared").glob(f"part-*-{made['position']:016}.manifest")
    return path


def cut(cli, made: dict) -> None:
    path = manifest(cli, made)
    path.write_bytes(path.read_bytes()[:100])


def test_a_damaged_manifest_hides_no_earlier_archive_in_its_folder(shared):
    """Nothing is taken silently: the earlier one is asked for by its position."""
    cut(shared, shared.part)
    lose(shared)
    first = shared.full["position"]
    for command in ("verify", "restore"):
        error = shared.fails(8, "archive-damaged", "backup", command, shared.directory)
        assert f"--position {first}" in error["hint"]
    earlier = (shared.directory, "--position", str(first))
    assert shared.ok("backup", "verify", *earlier)["position"] == first
    assert shared.ok("backup", "restore", *earlier)["position"] == first
    assert password(shared) == "p-1"


def test_a_damaged_manifest_before_it_is_what_is_missing_to_the_newest(shared):
    cut(shared, shared.full)
    shared.fails(8, "archive-damaged", "backup", "verify", shared.directory)
    copy = shared.home.parent / "copy"
    shutil.copytree(shared.archives / "shared", copy)
    manifest(shared, shared.full).unlink()
    shared.fails(3, "archive-part-missing", "backup", "verify", shared.directory)


def test_the_newest_backup_is_drilled_past_a_damaged_one_of_later(shared):
    """A copy from elsewhere lies beside it; what the log tells of is found by its digest."""
    path = manifest(shared, shared.part)
    path.with_name("part-0000000000000001-0000000000009999.manifest").write_bytes(b"cut\n")
    assert shared.ok("backup", "drill")["position"] == shared.part["position"]


def test_a_position_chooses_among_whole_archives_too(shared):
    first, last = shared.full["position"], shared.part["position"]
    for given, reached in ((first, first), (last - 1, first), (last, last), (10**9, last)):
        answer = shared.ok("backup", "verify", shared.directory, "--position", str(given))
        assert answer["position"] == reached
    before = (shared.directory, "--position", str(first - 1))
    shared.fails(3, "no-archive", "backup", "verify", *before)


@pytest.mark.parametrize("given", ["beside", "besides", "together"])
def test_a_base_of_which_one_bit_is_damaged_is_named_as_that(worked, given):  # noqa: F811
    """It is there: wherever it lies, nobody has to look for it."""
    create(worked, "full")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    part = worked.archives / "part"
    create(worked, "part", "--since-backup")
    (path,) = (worked.archives / "full").glob("*.manifest")
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)
    options = ()
    if given == "together":
        for one in (worked.archives / "full").glob("part-*"):
            shutil.move(one, part)
        path = next(part.glob("part-0000000000000001-*.manifest"))
    elif given == "besides":
        moved = worked.home.parent / "elsewhere" / "full"
        shutil.move(worked.archives / "full", moved)
        options, path = ("--part", str(moved)), moved / path.name
    lose(worked)
    for command in ("verify", "restore"):
        error = worked.fails(8, "archive-damaged", "backup", command, str(part), *options)
        assert str(path) in error["message"], error


@pytest.mark.parametrize("lost", ["folder", "segment"])
def test_an_archive_whose_base_is_gone_does_not_count_unless_somebody_vouches(worked, lost):  # noqa: F811
    full = create(worked, "full")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    away = worked.home.parent / "vault"
    if lost == "folder":
        shutil.move(worked.archives / "full", away)
    else:
        shutil.copytree(worked.archives / "full", away)
        next((worked.archives / "full").glob("*.segment")).unlink()
    create_part = ("backup", "create", str(worked.archives / "part"), "--since-backup")
    error = worked.fails(3, "archive-base-missing", *create_part)
    assert full["directory"] in error["message"]
    assert "database-backup-old" in found(worked)
    worked.fails(2, "usage", "backup", "create", str(worked.archives / "x"), "--base-elsewhere")
    part = worked.ok(*create_part, "--base-elsewhere")
    told = [one for one in worked.ok("audit", "changes") if one["event"] == "backup.created"]
    assert [one["detail"]["base_elsewhere"] for one in told] == [True, False]
    assert "database-backup-old" not in found(worked)
    assert worked.ok("backup", "verify", part["directory"], "--part", str(away))["ok"]


def test_a_base_is_looked_for_by_what_names_it_not_by_what_was_recorded_before(worked):  # noqa: F811
    """An operator writes a full archive while another goes on from the one before it."""
    create(worked, "first")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    take = tools.recovering.backups._taken

    def meanwhile(*asked):
        patched.undo()
        create(worked, "second")
        worked.set("payroll", "user:ann", User="ann", Password="p-3")
        return take(*asked)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tools.recovering.backups, "_taken", meanwhile)
        create(worked, "part", "--since-backup")
    following = ("backup", "create", str(worked.archives / "next"), "--since-backup")
    shutil.move(worked.archives / "first", worked.home.parent / "vault")
    worked.fails(3, "archive-base-missing", *following)
    shutil.move(worked.home.parent / "vault", worked.archives / "first")
    shutil.rmtree(worked.archives / "second")
    made = worked.ok(*following)
    lose(worked)
    others = [option for name in ("first", "part") for option in ("--part", worked.archives / name)]
    assert worked.ok("backup", "restore", made["directory"], *map(str, others))["ok"]
    assert password(worked) == "p-3"


@pytest.mark.parametrize("harm", ["missing", "shorter"])
def test_a_copy_of_the_base_that_lacks_something_hides_no_whole_one(worked, harm):  # noqa: F811
    """It lies beside it, under a name that comes first; where no whole one is left, it is told."""
    create(worked, "full")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    part = create(worked, "part", "--since-backup")
    shutil.copytree(worked.archives / "full", worked.archives / "copy")
    segment = next((worked.archives / "copy").glob("*.segment"))
    if harm == "missing":
        segment.unlink()
    else:
        segment.write_bytes(segment.read_bytes()[:-1])
    assert worked.ok("backup", "verify", part["directory"])["ok"]
    assert worked.ok("backup", "drill", part["directory"])["ok"]
    shutil.rmtree(worked.archives / "full")
    worked.fails(8, "archive-damaged", "backup", "drill", part["directory"])


def test_a_base_that_was_moved_beside_the_new_archive_is_found(worked):  # noqa: F811
    create(worked, "full")
    (worked.home.parent / "vault").mkdir()
    shutil.move(worked.archives / "full", worked.home.parent / "vault" / "full")
    part = str(worked.home.parent / "vault" / "part")
    assert worked.ok("backup", "create", part, "--since-backup")["kind"] == "incremental"


def test_a_key_backup_is_refused_in_a_copy_of_an_archive(worked):  # noqa: F811
    """Which no log tells of, by its own folder or one above."""
    create(worked, "one")
    copy = worked.home.parent / "copied"
    shutil.copytree(worked.archives / "one", copy)
    (copy / "below").mkdir()
    for place in (copy / "key", copy / "below" / "key"):
        worked.fails(4, "key-backup-beside-database", "key", "backup", str(place))
        assert not place.exists()
    safe = worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("key", "backup", str(safe / "key"))
    assert "key-backup-with-database" not in found(worked)
    shutil.copytree(worked.archives / "one", safe, dirs_exist_ok=True)
    assert "key-backup-with-database" in found(worked)
