"""A part that is whole and that the log does not know is taken up; anything else is not."""

from __future__ import annotations

import shutil

import pytest

from ledger.archive.folder import ArchiveFolder
from ledger.archive.manifest import ViewDigest
from ledger.archive.reading import open_archive
from ledger.errors import Conflict, Tampered
from ledger.log.verification import verify_log
from ledger.usecases.acting import Acting
from tests.conftest import new_house
from tests.ledger.archive.conftest import Forger, archived, created, fill, restored, tables
from tests.ledger.archive.test_archive import refused

NOW = (ViewDigest("credential_view", 1, "1" * 64),)
FORGED = (ViewDigest("credential_view", 1, "f" * 64),)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "archive"


def more(ledger, name: str) -> None:
    ledger.create_application(Acting(), name, kind="individual")


def test_what_was_left_is_gone_on_from(filled, ledger, target, small, folder):
    """However often it is cut off; what it ends with is one log, restored as a whole."""
    store = filled.store()
    full = created(store, folder).parts[-1]
    more(ledger, "Second")
    second = created(store, folder)
    assert second.taken_up == (full,)
    assert (second.written.after, second.written.previous) == (full.head.size, full.digest)
    more(ledger, "Third")
    third = created(store, folder)
    assert third.taken_up == second.parts
    assert third.written.previous == second.written.digest
    assert [part.manifest for part in open_archive(folder).parts] == list(third.parts)
    restored(filled, folder, target)
    assert tables(target) == tables(store)


def test_what_holds_all_there_is_needs_no_further_part(filled, folder):
    """It is the very same, and nothing is written."""
    store = filled.store()
    full = created(store, folder, views=NOW).parts[-1]
    files = {path: path.stat().st_ino for path in folder.iterdir()}
    again = created(store, folder, views=NOW)
    assert (again.taken_up, again.written) == ((full,), None)
    assert {path: path.stat().st_ino for path in folder.iterdir()} == files


def test_what_is_recorded_is_no_leftover(filled, ledger, folder):
    """A full archive wants a folder of its own; an incremental one goes on from what it is told."""
    store = filled.store()
    full = created(store, folder).parts[-1]
    more(ledger, "Second")
    known = {full.digest}
    assert refused(Conflict, lambda: created(store, folder, recorded=known)) == "archive-exists"
    told = {"after": full.head.size, "previous": full.digest, "recorded": known}
    part = created(store, folder, **told)
    assert part.taken_up == ()
    more(ledger, "Third")
    again = created(store, folder, **told)
    assert again.taken_up == (part.written,)
    assert again.written.previous == part.written.digest
    # What it goes on from lies here, so all of it together is a full one.
    assert created(store, folder, recorded=known).taken_up == again.parts


def test_a_full_archive_goes_on_from_nothing_that_lies_elsewhere(filled, ledger, tmp_path):
    """Whoever keeps that folder alone would keep half a log; an incremental one may."""
    store = filled.store()
    full = created(store, tmp_path / "full").parts[-1]
    more(ledger, "Second")
    told = {"after": full.head.size, "previous": full.digest, "recorded": {full.digest}}
    part = created(store, tmp_path / "part", **told).written
    more(ledger, "Third")
    with_full = {"recorded": {full.digest}}
    alone = lambda: created(store, tmp_path / "part", **with_full)
    assert refused(Conflict, alone) == "archive-exists"
    assert created(store, tmp_path / "part", **told).taken_up == (part,)
    unknown = {**told, "recorded": ()}
    shutil.copytree(tmp_path / "part", tmp_path / "copy")
    found = created(store, tmp_path / "copy", **unknown)
    assert found.taken_up == ()
    assert found.written.previous == full.digest


def test_digests_of_views_that_nobody_recorded_are_not_believed(filled, ledger, folder):
    """Where the views have gone on they are left out, and else they are what the store's are."""
    store = filled.store()
    full = created(store, folder, views=NOW).parts[-1]
    Forger(folder).rewrite(views=FORGED)
    (found,) = created(store, folder, views=NOW).parts
    assert found == full
    assert ArchiveFolder(folder).manifests() == [full]
    Forger(folder).rewrite(views=FORGED)
    more(ledger, "Second")
    taken_up, written = created(store, folder, views=NOW).parts
    assert (taken_up.views, written.views) == ((), NOW)
    assert written.previous == taken_up.digest
    assert sorted(ArchiveFolder(folder).manifests(), key=lambda one: one.after) == [
        taken_up,
        written,
    ]


def test_signers_that_nobody_recorded_are_the_stores(filled, folder):
    """The manifest of a part that leaves them out is written anew."""
    store = filled.store()
    full = created(store, folder).parts[-1]
    Forger(folder).rewrite(signers=())
    assert created(store, folder).parts == (full,)
    assert ArchiveFolder(folder).manifests() == [full]
    assert verify_log(open_archive(folder)).ok


@pytest.mark.parametrize("told", [(), (1,), (1, 2)])
def test_where_the_keyrings_rows_are_is_looked_up(filled, small, folder, told):
    """Whatever the manifest says of it."""
    store = filled.store()
    full = created(store, folder).parts[-1]
    assert len(full.keyring) > 1
    Forger(folder).rewrite(keyring=told)
    assert created(store, folder).parts == (full,)
    assert ArchiveFolder(folder).manifests() == [full]


def test_what_a_program_of_before_left_is_taken_up_as_it_is(filled, ledger, target, small, folder):
    """In its own format, and gone on from in the one of now."""
    store = filled.store()
    created(store, folder)
    Forger(folder).put_in_first_format()
    (first,) = ArchiveFolder(folder).manifests()
    assert first.format == 1
    more(ledger, "Second")
    found = created(store, folder)
    assert found.taken_up == (first,)
    assert (found.written.format, found.written.previous) == (2, first.digest)
    restored(filled, folder, target)
    assert tables(target) == tables(store)


def test_rows_are_checked_before_they_are_taken_up(filled, ledger, small, folder):
    """Nothing is recorded or gone on from, and another folder is asked for."""
    store = filled.store()
    created(store, folder)
    more(ledger, "Second")
    forger = Forger(folder)
    content = forger.content(1)
    content[0][7] = content[0][7][:-1] + bytes([content[0][7][-1] ^ 1])
    forger.put(1, content)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(Tampered) as caught:
        created(store, folder)
    assert caught.value.code == "altered-row"
    assert "another folder" in caught.value.hint
    forger.file(1).unlink()
    with pytest.raises(Tampered) as caught:
        created(store, folder)
    assert caught.value.code == "archive-damaged"
    assert "another folder" in caught.value.hint
    next(folder.glob("*.manifest")).write_bytes(b"garbage")
    with pytest.raises(Tampered) as caught:
        created(store, folder)
    assert caught.value.code == "archive-damaged"
    assert "another folder" in caught.value.hint
    assert len(before) == len(list(folder.iterdir())) + 1


def test_a_part_of_another_ledger_is_not_taken_up(sqlite_house, tmp_path, folder):
    other = new_house(tmp_path / "other")
    other.found()
    archived(other, folder)
    opened = sqlite_house.open()
    fill(opened)
    opened.close()
    store = sqlite_house.store()
    assert refused(Conflict, lambda: created(store, folder)) == "archive-exists"
    other.close()
