"""What is archived comes back as it was: on either engine, in parts, killed, beside writers."""

from __future__ import annotations

import threading

import pytest

from ledger.archive import pages as archive_pages
from ledger.archive import reading as archive_reading
from ledger.archive import segment
from ledger.archive.folder import ArchiveFolder
from ledger.archive.pages import checked_pages
from ledger.archive.reading import open_archive
from ledger.archive.writing import take, write_part
from ledger.claims import parse_claim
from ledger.errors import Conflict, InvalidInput, LedgerError, NotFound, Tampered, Unavailable
from ledger.log import columns
from ledger.log.following import Follower
from ledger.log.tips import is_remembered
from ledger.log.verification import verify_log
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import passphrase
from ledger.usecases.acting import Acting
from tests.conftest import new_house, unlocked_by_passphrase
from tests.faults.test_tampering import attack
from tests.ledger.archive.conftest import (
    PAIR,
    Forger,
    archived,
    beginning,
    fill,
    indexes,
    keyrings,
    restored,
    silent,
    tables,
)
from tests.ledger.log.in_lists import InLists


def refused(error: type[LedgerError], action) -> str:
    with pytest.raises(error) as caught:
        action()
    assert caught.value.message
    assert caught.value.hint
    return caught.value.code


def test_a_restored_store_holds_the_very_rows(filled, ledger, target, small, tmp_path):
    """From each engine to each engine: rows, commits, signers, and views to the same digests."""
    archived(filled, tmp_path / "archive")
    views = restored(filled, tmp_path / "archive", target)
    assert tables(target) == tables(filled.store())
    assert views.digests() == ledger.views.digests()
    assert verify_log(target).ok
    assert indexes(target) == indexes(filled.store())


def test_an_archive_is_checked_like_a_log(filled, small, tmp_path):
    """The ledger's own verifier answers the same of the archive and of the store."""
    archived(filled, tmp_path / "archive")
    archive = open_archive(tmp_path / "archive")
    found, of_store = verify_log(archive), verify_log(filled.store())
    assert found.ok
    assert (found.size, found.root) == (of_store.size, of_store.root)
    archive.require_head()


def test_at_most_two_segments_are_held(sqlite_house, small, tmp_path, monkeypatch):
    """However long the archive is."""
    opened = sqlite_house.open()
    fill(opened, 20)
    opened.close()
    archived(sqlite_house, tmp_path / "archive")
    archive = open_archive(tmp_path / "archive")
    assert len(archive.manifest.segments) > 10
    loads = []
    load = archive_reading.load_segment
    monkeypatch.setattr(
        archive_reading, "load_segment", lambda *told: loads.append(told) or load(*told)
    )
    assert verify_log(archive).ok
    assert len(archive._held) <= 2
    assert len(loads) < 2 * len(archive.manifest.segments)


def test_the_keyrings_rows_are_found_without_unpacking_all(
    sqlite_house, small, tmp_path, monkeypatch
):
    """All of them, in order; segments that hold none are left as they are, inflated or not."""
    opened = sqlite_house.open()
    fill(opened, 20)
    stream = opened._desk.streams.keyring()
    opened.close()
    archived(sqlite_house, tmp_path / "archive")
    archive = open_archive(tmp_path / "archive")
    rows = archived_rows(archive)
    inflated, loads = [], []
    inflate, load = segment.inflated, archive_reading.load_segment
    for module in (archive_reading, segment):
        monkeypatch.setattr(
            module, "inflated", lambda *told: inflated.append(told) or inflate(*told)
        )
    monkeypatch.setattr(
        archive_reading, "load_segment", lambda *told: loads.append(told) or load(*told)
    )
    wanted = [row for row in rows if row.stream == stream]
    holding = {3 * ((row.position - 1) // 3) + 1 for row in wanted}
    assert len(holding) < len(archive.manifest.segments)
    for more in (0, len(archive.manifest.segments)):
        inflated.clear()
        loads.clear()
        if more:
            Forger(tmp_path / "archive").put_in_first_format()
        assert list(open_archive(tmp_path / "archive").keyring_rows(stream)) == wanted
        assert {told.first for told, _ in loads} == holding
        assert len(inflated) == len(holding) + more


def test_a_segment_that_is_not_as_it_was_told_is_found_before_a_row_is_brought(
    filled, small, tmp_path
):
    """Also one that holds no row of the keyring's, at the end of a long archive."""
    manifest = archived(filled, tmp_path / "archive")
    archive = open_archive(tmp_path / "archive")
    stream = archived_rows(archive)[0].stream
    last = tmp_path / "archive" / manifest.segment_name(len(manifest.segments) - 1)
    assert manifest.keyring[-1] < manifest.segments[-1].first
    content = bytearray(last.read_bytes())
    content[-1] ^= 1
    last.write_bytes(content)
    code = refused(Tampered, lambda: list(archive.keyring_rows(stream)))
    assert code == "archive-damaged"


def test_the_keyrings_rows_are_found_in_parts_of_both_formats(filled, ledger, small, tmp_path):
    archived(filled, tmp_path / "archive")
    first = Forger(tmp_path / "archive")
    first.put_in_first_format()
    rotated = ledger.rotate(Acting(), without_backup=True)
    assert rotated.epoch == 2
    told = {"after": first.manifest.head.size, "previous": first.manifest.digest}
    part = archived(filled, tmp_path / "archive", recorded={first.manifest.digest}, **told)
    archive = open_archive(tmp_path / "archive")
    assert [one.manifest.format for one in archive.parts] == [1, 2]
    rows = archived_rows(archive)
    found = list(archive.keyring_rows(rows[0].stream))
    assert found == [row for row in rows if row.stream == rows[0].stream]
    assert part.keyring == tuple(row.position for row in found if row.position > part.after) != ()


def test_where_a_page_is_damaged_the_store_ends_with_the_one_before(
    filled, file_target, small, tmp_path
):
    """Also with that which was being put in while the damage was found."""
    archived(filled, tmp_path / "archive")
    forger = Forger(tmp_path / "archive")
    items = forger.content(4)
    items[0][8] = bytes(32)
    forger.put(4, items)
    with pytest.raises(Tampered) as caught:
        restored(filled, tmp_path / "archive", file_target)
    assert (caught.value.code, caught.value.position) == ("altered-row", 13)
    found = verify_log(file_target)
    assert (found.ok, found.size) == (True, 12)


def test_parts_go_on_from_each_other(filled, ledger, target, small, tmp_path):
    """A full part and two incremental ones, each in a folder of its own, are one log."""
    full = archived(filled, tmp_path / "a" / "full")
    ledger.create_application(Acting(), "Second", kind="individual")
    one = archived(filled, tmp_path / "a" / "one", after=full.head.size, previous=full.digest)
    ledger.create_application(Acting(), "Third", kind="individual")
    two = archived(filled, tmp_path / "a" / "two", after=one.head.size, previous=one.digest)
    assert two.after == one.head.size
    assert sum(len(part.manifest.segments) for part in open_archive(tmp_path / "a/two").parts) > 4
    restored(filled, tmp_path / "a" / "two", target)
    assert tables(target) == tables(filled.store())


def test_parts_may_share_a_folder(filled, ledger, file_target, tmp_path):
    """The newest part is what is meant."""
    full = archived(filled, tmp_path / "archive")
    ledger.create_application(Acting(), "Second", kind="individual")
    archived(filled, tmp_path / "archive", after=full.head.size, previous=full.digest)
    restored(filled, tmp_path / "archive", file_target)
    assert tables(file_target) == tables(filled.store())


def test_a_part_whose_beginning_is_elsewhere_names_what_is_missing(sqlite_house, tmp_path):
    opened = sqlite_house.open()
    fill(opened)
    full = archived(sqlite_house, tmp_path / "far" / "full")
    opened.create_application(Acting(), "Second", kind="individual")
    opened.close()
    archived(sqlite_house, tmp_path / "near" / "part", after=full.head.size, previous=full.digest)
    alone = refused(NotFound, lambda: open_archive(tmp_path / "near" / "part"))
    assert alone == "archive-part-missing"
    archive = open_archive(tmp_path / "near" / "part", [tmp_path / "far" / "full"])
    assert verify_log(archive).ok
    chosen = open_archive(tmp_path / "far" / "full", digest=full.digest)
    assert chosen.manifest == full
    gone = refused(NotFound, lambda: open_archive(tmp_path / "far" / "full", digest=bytes(32)))
    assert gone == "no-archive"


def test_a_signer_that_began_before_the_part_is_known_in_it(filled, ledger, small, tmp_path):
    """An incremental part is checked from its store on, without the part before it."""
    from ledger.sealing.slots import new_passphrase
    from tests.conftest import CHEAP

    ledger.add_slot(
        Acting(),
        label="second",
        opens="operator",
        holding=new_passphrase("eight herons cross the lake"),
        cost=CHEAP,
    )
    full = archived(filled, tmp_path / "full")
    unlocked = read_keyring(filled.keyring_path).unlock(passphrase("eight herons cross the lake"))
    second = filled.open_with(unlocked)
    second.create_application(Acting(), "Second", kind="individual")
    second.close()
    part = archived(filled, tmp_path / "part", after=full.head.size, previous=full.digest)
    assert len(part.signers) == 2
    assert part.head.signer != full.head.signer
    assert verify_log(open_archive(tmp_path / "part")).ok


def test_an_archive_is_of_one_moment_while_others_write(filled, ledger, target, small, tmp_path):
    """What is appended meanwhile is not in it, and what is in it ends with a signed head."""
    store, going = filled.store(), threading.Event()

    def write() -> None:
        number = 0
        while not going.is_set():
            number += 1
            ledger.set_credentials(Acting(), "Payroll", parse_claim(f"user:w{number}"), PAIR)

    with store.reading() as reading:
        taken = take(reading, keyrings(reading))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        folder = ArchiveFolder(tmp_path / "archive")
        with folder.being_written():
            manifest = write_part(store, folder, taken, silent)
    finally:
        going.set()
        writer.join()
    assert manifest.head == taken.head
    restored(filled, tmp_path / "archive", target)
    held = tables(store)
    assert len(held[2]) > taken.head.size
    assert tables(target) == beginning(held, taken.head.size)


def test_a_transaction_larger_than_a_segment_is_whole(filled, ledger, target, small, tmp_path):
    """Its commit lies in the segment of its last row, and no page of a restore parts it."""
    changes = [
        ledger.changes.create(Acting(), f"Together {number}", kind="individual")
        for number in range(11)
    ]
    ledger.change_together(changes)
    archived(filled, tmp_path / "archive")
    assert verify_log(open_archive(tmp_path / "archive")).ok
    restored(filled, tmp_path / "archive", target)
    assert tables(target) == tables(filled.store())


class StoppedError(Exception):
    """A restore is cut off here."""


def archived_rows(archive):
    """All rows of an archive."""
    rows = []
    while page := archive.rows_after(len(rows), 1000):
        rows.extend(page)
    return rows


def cut_off_after(pages: int):
    """Progress that ends the restore after so many pages."""
    seen = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == pages:
            raise StoppedError

    return progress


def test_a_restore_that_was_cut_off_goes_on(filled, ledger, target, small, tmp_path, monkeypatch):
    """After each page the store is a shorter log that holds, and the next run brings the rest."""
    archived(filled, tmp_path / "archive")
    unlocked = unlocked_by_passphrase(filled.keyring_path)
    for pages in (1, 2, 3):
        monkeypatch.setattr("tests.ledger.archive.conftest.silent", cut_off_after(pages))
        with pytest.raises(StoppedError), filled.memory(unlocked).anew() as fresh:
            restored(filled, tmp_path / "archive", target, memory=fresh)
        found = verify_log(target)
        assert found.ok, found.checks
        assert 0 < found.size < len(tables(filled.store())[2])
        assert not any(name.startswith("access_history") for name in indexes(target))
    monkeypatch.setattr("tests.ledger.archive.conftest.silent", silent)
    views = restored(filled, tmp_path / "archive", target)
    assert tables(target) == tables(filled.store())
    assert views.digests() == ledger.views.digests()
    assert indexes(target) == indexes(filled.store())


def test_a_writers_role_restores_into_an_owners_tables(filled, ledger, writers_place, tmp_path):
    """It may not take indexes away, nor make any."""
    archived(filled, tmp_path / "archive")
    owner, writer = writers_place
    made = indexes(owner)
    views = restored(filled, tmp_path / "archive", writer)
    assert views.digests() == ledger.views.digests()
    assert indexes(owner) == made
    assert tables(owner) == tables(filled.store())


@pytest.fixture
def of_one_commit(filled, ledger, monkeypatch):
    """A log whose heads but the first and the last were taken away, restored two rows at a time."""
    ledger.close()
    monkeypatch.setattr(columns, "PAGE_ROWS", 2)
    monkeypatch.setattr(archive_pages, "_PAGE_ROWS", 2)
    monkeypatch.setitem(Follower.__init__.__kwdefaults__, "held_rows", 2)
    last = len(tables(filled.store())[2])
    attack(filled, f"DELETE FROM commits WHERE size > 2 AND size < {last}")
    return filled


def test_a_restore_that_was_cut_off_within_a_commit_goes_on(
    of_one_commit, target, small, tmp_path, monkeypatch
):
    """Its head comes with its last rows, and nobody opens the store before."""
    archived(of_one_commit, tmp_path / "archive")
    unlocked = unlocked_by_passphrase(of_one_commit.keyring_path)
    held = tables(of_one_commit.store())
    there = 0
    for count in (2, 3, 5):
        monkeypatch.setattr("tests.ledger.archive.conftest.silent", cut_off_after(count))
        with pytest.raises(StoppedError), of_one_commit.memory(unlocked).anew() as fresh:
            restored(of_one_commit, tmp_path / "archive", target, memory=fresh)
        brought = tables(target)
        assert there < len(brought[2]) < len(held[2])
        assert brought[2] == held[2][: len(brought[2])]
        assert [commit.size for commit in brought[3]] == [2]
        with target.reading() as reading:
            assert reading.is_restoring()
        there = len(brought[2])
    monkeypatch.setattr("tests.ledger.archive.conftest.silent", silent)
    restored(of_one_commit, tmp_path / "archive", target)
    assert tables(target) == held
    assert verify_log(target).ok


def test_other_rows_within_a_commit_that_is_restored_are_not_gone_on_with(
    of_one_commit, file_target, small, tmp_path, monkeypatch
):
    archived(of_one_commit, tmp_path / "archive")
    monkeypatch.setattr("tests.ledger.archive.conftest.silent", cut_off_after(3))
    with pytest.raises(StoppedError):
        restored(of_one_commit, tmp_path / "archive", file_target)
    monkeypatch.setattr("tests.ledger.archive.conftest.silent", silent)
    last = tables(file_target)[2][-1]
    with file_target.writing() as writing:
        writing.insert_rows([last._replace(position=last.position + 1, version=last.version + 1)])
    before = tables(file_target)
    code = refused(Conflict, lambda: restored(of_one_commit, tmp_path / "archive", file_target))
    assert code == "store-not-empty"
    assert tables(file_target) == before


def test_a_store_that_holds_something_else_is_refused(filled, ledger, file_target, tmp_path):
    """Another ledger, a longer log, rows without a head: nothing of it changes."""
    archived(filled, tmp_path / "archive")
    other = new_house(tmp_path / "other")
    other.found()
    ledger.create_application(Acting(), "Later", kind="individual")
    for house in (other, filled):
        before = tables(house.store())
        code = refused(Conflict, lambda h=house: restored(filled, tmp_path / "archive", h.store()))
        assert code == "store-not-empty"
        assert tables(house.store()) == before
    other.close()
    file_target.create()
    held = tables(filled.store())
    with file_target.writing() as writing:
        writing.insert_ledger(held[0])
        writing.insert_signers(held[1])
        writing.insert_rows(held[2][:3])
        writing.insert_commit(held[3][0])
    code = refused(Conflict, lambda: restored(filled, tmp_path / "archive", file_target))
    assert code == "store-not-empty"


def test_a_store_that_is_named_for_another_ledger_is_refused(filled, file_target, tmp_path):
    """Though it holds no row yet."""
    archived(filled, tmp_path / "archive")
    other = new_house(tmp_path / "other")
    other.found()
    file_target.create()
    with file_target.writing() as writing:
        writing.insert_ledger(tables(other.store())[0])
    other.close()
    code = refused(Conflict, lambda: restored(filled, tmp_path / "archive", file_target))
    assert code == "store-not-empty"


def test_a_store_that_others_write_into_is_left_alone(filled, file_target, small, tmp_path):
    """Whoever comes between two pages is noticed under the lock."""
    archived(filled, tmp_path / "archive")
    held = tables(filled.store())

    class Intruder:
        """Brings the whole archive while the first restore is at its second page."""

        def pages(self, there):
            def folded(rows):
                return rows[0].position == 1

            return checked_pages(archive, folded, None, there)

        def begin(self, writing):
            """There is no view."""

        def take_in(self, connection, folded):
            if folded:
                threads.append(threading.Thread(target=bring))

    def bring() -> None:
        restored(filled, tmp_path / "archive", file_target)

    def progress(done: int, total: int) -> None:
        if threads:
            thread = threads.pop()
            thread.start()
            thread.join()

    from ledger.archive.restoring import Restoration

    archive = open_archive(tmp_path / "archive")
    threads: list[threading.Thread] = []
    file_target.create()
    restoration = Restoration(archive, file_target, Intruder())
    assert refused(Conflict, lambda: restoration.run(progress)) == "restore-overtaken"
    assert tables(file_target) == held


def test_a_folder_with_something_else_in_it_is_refused(filled, ledger, tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert refused(Conflict, lambda: archived(filled, folder)) == "archive-folder-not-empty"
    (folder / "notes.txt").unlink()
    (folder / "lost+found").mkdir()
    first = archived(filled, folder)
    ledger.create_application(Acting(), "Later", kind="individual")
    again = lambda: archived(filled, folder, recorded={first.digest})
    assert refused(Conflict, again) == "archive-exists"
    assert open_archive(folder).manifest == first


def test_a_folder_with_a_part_of_another_log_is_not_gone_on_in(sqlite_house, tmp_path):
    """It could be longer, and be taken for the newest; so could one that cannot be read."""
    other = new_house(tmp_path / "other")
    other.found()
    archived(other, tmp_path / "archive")
    other.close()
    full = archived(sqlite_house, tmp_path / "full")
    opened = sqlite_house.open()
    fill(opened)
    opened.close()

    def go_on():
        archived(sqlite_house, tmp_path / "archive", after=full.head.size, previous=full.digest)

    assert refused(Conflict, go_on) == "archive-exists"
    next((tmp_path / "archive").glob("*.manifest")).write_bytes(b"garbage")
    assert refused(Tampered, go_on) == "archive-damaged"


def test_an_archive_that_was_never_finished_is_told_from_none(sqlite_house, small, tmp_path):
    """Without a manifest nothing counts; the next run with that folder begins anew."""
    opened = sqlite_house.open()
    fill(opened)
    opened.close()
    folder = tmp_path / "archive"
    assert refused(NotFound, lambda: open_archive(folder)) == "no-archive"
    folder.mkdir()
    assert refused(NotFound, lambda: open_archive(folder)) == "no-archive"
    manifest = archived(sqlite_house, folder)
    (folder / f"{manifest.name}.manifest").unlink()
    (folder / f"{manifest.name}.000099.segment.new").write_bytes(b"half")
    assert refused(NotFound, lambda: open_archive(folder)) == "archive-unfinished"
    assert archived(sqlite_house, folder) == manifest
    assert not list(folder.glob("*.new"))
    assert verify_log(open_archive(folder)).ok


def test_two_do_not_write_into_one_folder_at_once(filled, tmp_path):
    with ArchiveFolder(tmp_path / "archive").being_written():
        code = refused(Unavailable, lambda: archived(filled, tmp_path / "archive"))
    assert code == "archive-locked"


def test_a_folder_that_cannot_be_written_is_exit_7(filled, tmp_path):
    (tmp_path / "file").write_text("no folder")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert refused(Unavailable, lambda p=place: archived(filled, p)) == "archive-not-writable"


def test_a_log_that_is_not_that_of_the_newest_backup_is_not_gone_on_from(filled, ledger, tmp_path):
    """An incremental archive begins at a head that the store has."""
    full = archived(filled, tmp_path / "full")
    code = refused(
        Tampered,
        lambda: archived(filled, tmp_path / "part", after=10**6, previous=full.digest),
    )
    assert code == "backup-forked"
    with filled.store().reading() as reading:
        code = refused(
            Tampered,
            lambda: take(reading, keyrings(reading), after=full.head.size, previous=full.digest),
        )
    assert code == "backup-forked"
    ledger.create_application(Acting(), "Later", kind="individual")
    code = refused(
        Tampered, lambda: archived(filled, tmp_path / "part", after=1, previous=full.digest)
    )
    assert code == "backup-forked"
    assert refused(NotFound, lambda: open_archive(tmp_path / "part")) == "archive-unfinished"


def test_a_row_too_large_for_any_archive_is_refused(filled, tmp_path, monkeypatch):
    monkeypatch.setattr("ledger.archive.segment.CONTENT_BYTES_MAX", 1000)
    assert refused(InvalidInput, lambda: archived(filled, tmp_path / "a")) == "segment-too-large"
    assert refused(NotFound, lambda: open_archive(tmp_path / "a")) == "no-archive"


def test_long_rows_are_read_in_shorter_pages(filled, tmp_path, monkeypatch):
    """Pages follow the size of rows, so that memory does not; the archive is the same."""
    first = archived(filled, tmp_path / "one")
    monkeypatch.setattr("ledger.archive.writing._PAGE_BYTES", 1000)
    assert archived(filled, tmp_path / "two") == first


def test_what_the_system_does_not_let_us_read_is_exit_7(sqlite_house, tmp_path):
    """Not called damaged: another account, or another moment, may read it."""
    manifest = archived(sqlite_house, tmp_path / "archive")
    segment = tmp_path / "archive" / manifest.segment_name(0)
    segment.unlink()
    segment.mkdir()
    archive = open_archive(tmp_path / "archive")
    assert refused(Unavailable, lambda: verify_log(archive)) == "archive-not-readable"


def test_a_restore_goes_on_within_a_commit_where_pages_end_elsewhere(
    of_one_commit, file_target, small, tmp_path, monkeypatch
):
    """By another copy of the archive, in other segments; the host knows every stream."""
    archived(of_one_commit, tmp_path / "archive")
    unlocked = unlocked_by_passphrase(of_one_commit.keyring_path)
    monkeypatch.setattr("tests.ledger.archive.conftest.silent", cut_off_after(3))
    with pytest.raises(StoppedError):
        restored(of_one_commit, tmp_path / "archive", file_target)
    monkeypatch.setattr("tests.ledger.archive.conftest.silent", silent)
    there = len(tables(file_target)[2])
    monkeypatch.setattr(archive_pages, "_PAGE_ROWS", there + 1)
    monkeypatch.setattr(columns, "PAGE_ROWS", 1000)
    monkeypatch.setattr(segment, "SEGMENT_ROWS", 1000)
    archived(of_one_commit, tmp_path / "again")
    with of_one_commit.memory(unlocked).anew() as fresh:
        restored(of_one_commit, tmp_path / "again", file_target, memory=fresh)
        held = tables(of_one_commit.store())
        newest = {row.stream: row for row in held[2] if is_remembered(row.topic)}
        tips = {stream: fresh.tip(stream) for stream in newest}
    assert tables(file_target) == held
    assert {stream: tip.leaf for stream, tip in tips.items()} == {
        stream: row.leaf for stream, row in newest.items()
    }


def test_a_stream_that_lacks_a_version_is_brought_by_no_restore():
    """Though whoever made the log has signed for it."""
    log = InLists(30, 5)
    log.segment_end = lambda _: 30
    assert [page.head.size for page in checked_pages(log, len, None, 0)] == [30]
    log.rows[9] = log.fitted(log.rows[9]._replace(version=500))
    log.sign(5)
    with pytest.raises(Tampered) as caught:
        list(checked_pages(log, len, None, 0))
    assert (caught.value.code, caught.value.position) == ("stream-gap", 10)
