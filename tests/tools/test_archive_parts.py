"""Archives of which a part is damaged, or gone."""

from __future__ import annotations

import shutil

import pytest

from tests.tools.test_backups import create, lose, worked  # noqa: F401 # a fixture
from tests.tools.test_restored_keys import password


@pytest.fixture
def shared(worked):  # noqa: F811
    """A full archive and an incremental one in one folder."""
    worked.full = create(worked, "shared")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    worked.part = create(worked, "shared", "--since-backup")
    worked.directory = worked.part["directory"]
    return worked


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
    for given, found in ((first, first), (last - 1, first), (last, last), (10**9, last)):
        answer = shared.ok("backup", "verify", shared.directory, "--position", str(given))
        assert answer["position"] == found
    before = (shared.directory, "--position", str(first - 1))
    shared.fails(3, "no-archive", "backup", "verify", *before)
