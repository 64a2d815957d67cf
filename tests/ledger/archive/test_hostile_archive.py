"""Archives that somebody has altered: nothing of them is believed, nothing restored beyond."""

from __future__ import annotations

import re
import shutil
import tracemalloc
import zlib

import msgpack
import pytest
from msgspec.structs import replace

from ledger.archive.folder import ArchiveFolder
from ledger.archive.manifest import parse_manifest
from ledger.archive.reading import open_archive
from ledger.archive.segment import load_segment
from ledger.errors import LedgerError, Tampered, Unavailable
from ledger.log.rows import LogRow
from ledger.log.verification import verify_log
from ledger.usecases.acting import Acting
from tests.conftest import new_house
from tests.ledger.archive.conftest import (
    SEALED,
    Forger,
    archived,
    fill,
    fill_house,
    restored,
)


@pytest.fixture(params=[2, 1], ids=["format 2", "format 1"])
def archive(sqlite_house, tmp_path, small, request):
    """A full archive of many segments, and the house it is of."""
    archived(sqlite_house, tmp_path / "archive")
    if request.param == 1:
        Forger(tmp_path / "archive").put_in_first_format()
    return tmp_path / "archive"


@pytest.fixture
def sqlite_house(prepared_file):
    """With events in it."""
    return prepared_file(fill_house)


def finding(directory) -> str | None:
    """The code of the first thing that is wrong with an archive; None if nothing is."""
    try:
        archive = open_archive(directory)
        for check in verify_log(archive).checks:
            if not check.ok:
                return check.name
        archive.require_head()
    except Tampered as error:
        return error.code
    return None


def refused_everywhere(house, directory, store, code: str) -> None:
    """`verify` finds it, and so does `restore`, whose store then holds a shorter log that holds."""
    assert finding(directory) == code
    with pytest.raises(Tampered) as caught:
        restored(house, directory, store)
    assert caught.value.code == code
    with store.reading() as reading:
        some = reading.ledger() is not None
    if some:
        assert verify_log(store).ok


def places(content: bytes) -> list[int]:
    """Some places in a file: both ends and many in between."""
    return sorted({0, 1, len(content) - 1, *range(2, len(content), max(1, len(content) // 23))})


def test_one_bit_flipped_anywhere_is_found(archive, sqlite_house, file_target):
    """In the manifest, and in each segment."""
    assert finding(archive) is None
    files = sorted(path for path in archive.iterdir() if path.name != ".lock")
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        for at in places(content):
            flipped = bytearray(content)
            flipped[at] ^= 1 << (at % 8)
            path.write_bytes(bytes(flipped))
            assert finding(archive) == "archive-damaged", (path.name, at)
        path.write_bytes(content)
    path.write_bytes(bytes(flipped))
    refused_everywhere(sqlite_house, archive, file_target, "archive-damaged")


def test_a_file_cut_off_anywhere_is_found(archive):
    for path in [path for path in archive.iterdir() if path.name != ".lock"]:
        content = path.read_bytes()
        for length in places(content):
            path.write_bytes(content[:length])
            assert finding(archive) == "archive-damaged", (path.name, length)
        path.write_bytes(content + b"x")
        assert finding(archive) == "archive-damaged"
        path.write_bytes(content)


def test_a_missing_segment_is_found(archive, sqlite_house, file_target):
    Forger(archive).file(2).unlink()
    refused_everywhere(sqlite_house, archive, file_target, "archive-damaged")


def test_a_hash_that_is_not_the_files_is_found(archive, sqlite_house, file_target):
    """Though all that is in the file would do."""
    forger = Forger(archive)
    first, *rest = forger.manifest.segments
    forger.rewrite(segments=(replace(first, sha256=bytes(32)), *rest))
    refused_everywhere(sqlite_house, archive, file_target, "archive-damaged")


def test_swapped_segments_are_found(archive, sqlite_house, file_target):
    """Whether or not the manifest is made to fit."""
    forger = Forger(archive)
    one, two = forger.file(1).read_bytes(), forger.file(2).read_bytes()
    forger.file(1).write_bytes(two)
    forger.file(2).write_bytes(one)
    assert finding(archive) == "archive-damaged"
    segments = list(forger.manifest.segments)
    for number, stored, told in ((1, two, segments[2]), (2, one, segments[1])):
        said = {name: getattr(told, name) for name in ("content_bytes", "commits", "packed_bytes")}
        forger.put_bytes(number, stored, **said)
    refused_everywhere(sqlite_house, archive, file_target, "archive-damaged")


def test_rows_of_another_ledger_are_found(archive, sqlite_house, file_target, tmp_path):
    """A segment of another ledger at the same positions, with the manifest made to fit."""
    other = new_house(tmp_path / "other")
    other.found()
    opened = other.open()
    fill(opened)
    opened.close()
    archived(other, tmp_path / "theirs")
    other.close()
    theirs, forger = Forger(tmp_path / "theirs"), Forger(archive)
    forger.put(1, theirs.content(1), commits=theirs.manifest.segments[1].commits)
    refused_everywhere(sqlite_house, archive, file_target, "altered-row")


def forged(change):
    """A change of one segment's rows and commits, with all hashes made anew."""

    def alter(forger: Forger) -> None:
        number = next(n for n, one in enumerate(forger.manifest.segments) if n and one.commits)
        items = forger.content(number)
        told = change(items) or {}
        forger.put(number, items, **told)

    return alter


VERSION, TIME = (LogRow._fields.index(name) for name in ("version", "recorded_at"))


def flip_sealed(items):
    items[0][SEALED] = bytes([items[0][SEALED][0] ^ 1]) + items[0][SEALED][1:]


def another_version(items):
    items[0][VERSION] += 1


def another_time(items):
    items[0][TIME] += 1


def a_text_for_bytes(items):
    items[0][SEALED] = "text"


def huge_number(items):
    items[0][TIME] = 2**63


def short_row(items):
    items[0].pop()


def other_position(items):
    items[0][0] += 1


def flip_signature(items):
    items[-1][4] = bytes([items[-1][4][0] ^ 1]) + items[-1][4][1:]


def flip_root(items):
    items[-1][1] = bytes([items[-1][1][0] ^ 1]) + items[-1][1][1:]


def commit_of_elsewhere(items):
    items[-1][0] = 10**6


def one_more(items):
    items.append(items[-1])


def one_less(items):
    items.pop()


def no_commits(items):
    del items[3:]
    return {"commits": 0}


CHANGES = {
    "a sealed byte": (flip_sealed, "altered-row"),
    "a version": (another_version, "altered-row"),
    "a time": (another_time, "altered-row"),
    "a text for bytes": (a_text_for_bytes, "altered-row"),
    "a number too large": (huge_number, "altered-row"),
    "a row too short": (short_row, "archive-damaged"),
    "another position": (other_position, "archive-damaged"),
    "a signature": (flip_signature, "bad-signature"),
    "a root": (flip_root, "wrong-root"),
    "a commit of elsewhere": (commit_of_elsewhere, "archive-damaged"),
    "more than was promised": (one_more, "archive-damaged"),
    "less than was promised": (one_less, "archive-damaged"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_altered_is_found_though_all_hashes_fit(archive, sqlite_house, file_target, name):
    """The manifest is nobody's word for what is in the log."""
    change, code = CHANGES[name]
    forger = Forger(archive)
    forged(change)(forger)
    if change is a_text_for_bytes and forger.manifest.format > 1:
        code = "archive-damaged"  # where its length is to be
    refused_everywhere(sqlite_house, archive, file_target, code)


def test_commits_that_were_taken_out_are_signed_for_by_the_next(archive, sqlite_house, file_target):
    """A head more or less changes no row: the rows up to the next one are signed by it."""
    forged(no_commits)(Forger(archive))
    assert finding(archive) is None


def test_the_last_commit_must_be_the_manifests(archive, sqlite_house, file_target):
    forger = Forger(archive)
    head = forger.manifest.head
    other = replace_row(head, signature=bytes(64))
    forger.rewrite(head=other)
    refused_everywhere(sqlite_house, archive, file_target, "archive-damaged")


def test_a_head_that_the_rows_do_not_reach_is_found(archive, sqlite_house, file_target):
    """The last segment is left out, with its file, and the head is not."""
    forger = Forger(archive)
    head = replace_row(forger.manifest.head, size=forger.manifest.segments[-2].last)
    frontier = bytes(32 * head.size.bit_count())
    forger.rewrite(
        head=replace_row(head, frontier=frontier), segments=forger.manifest.segments[:-1]
    )
    assert finding(archive) is not None


def test_other_signers_are_found(archive, sqlite_house, file_target):
    forger = Forger(archive)
    (signer,) = forger.manifest.signers
    forger.rewrite(signers=(replace_row(signer, signature=bytes(64)),))
    refused_everywhere(sqlite_house, archive, file_target, "bad-signer")


@pytest.mark.parametrize("beyond", [0, 1, 2**62])
def test_a_signer_beyond_the_head_is_found(archive, sqlite_house, file_target, beyond):
    """No head of the archive counts it, so no signature tells."""
    forger = Forger(archive)
    (signer,) = forger.manifest.signers
    size = forger.manifest.head.size + beyond
    other = replace_row(signer, public_key=bytes(32), from_size=size, signer_class="auditor")
    forger.rewrite(signers=(signer, other))
    refused_everywhere(sqlite_house, archive, file_target, "bad-signer")


def replace_row(row, **changes):
    return row._replace(**changes)


def test_a_segment_never_inflates_beyond_what_was_promised(archive, sqlite_house, file_target):
    """Fifty megabytes of nothing in fifty kilobytes are given up after the promised length."""
    forger = Forger(archive)
    put_packed(forger, zlib.compress(bytes(50_000_000)))
    told, stored = forger.manifest.segments[1], forger.file(1).read_bytes()
    tracemalloc.start()
    with pytest.raises(Tampered):
        load_segment(told, stored)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    refused_everywhere(sqlite_house, archive, file_target, "archive-damaged")
    nested = zlib.compress(b"\x91" * 100_000)
    put_packed(forger, nested, content_bytes=100_000)
    assert finding(archive) == "archive-damaged"
    put_packed(forger, b"no zlib at all", content_bytes=10)
    assert finding(archive) == "archive-damaged"


def put_packed(forger, packed: bytes, **told) -> None:
    """A segment that is compressed from its beginning to its end, whatever the format."""
    if forger.manifest.format > 1:
        told["packed_bytes"] = len(packed)
    forger.put_bytes(1, packed, **told)


def test_nothing_comes_after_what_was_promised(archive):
    """Neither in the file, behind the compressed content, nor in that content."""
    forger = Forger(archive)
    told = forger.manifest.segments[1]
    stored = forger.file(1).read_bytes()
    forger.put_bytes(1, stored + b"after")
    assert finding(archive) == "archive-damaged"
    packed = {"content_bytes": told.content_bytes, "packed_bytes": told.packed_bytes}
    forger.put_bytes(1, stored, **packed)
    forger.put(1, [*forger.content(1), None], commits=told.commits)
    assert finding(archive) == "archive-damaged"
    forger.put_bytes(1, stored, **packed)
    assert finding(archive) is None
    if told.packed_bytes is not None:
        between = stored[: told.packed_bytes] + b"between" + stored[told.packed_bytes :]
        for behind in (0, len(b"between")):
            packed["packed_bytes"] = told.packed_bytes + behind
            forger.put_bytes(1, between, **packed)
            assert finding(archive) == "archive-damaged"


LENGTHS = {
    "a length too small": lambda length: length - 1,
    "a length too large": lambda length: length + 1,
    "a negative length": lambda length: -length,
    "a length beyond all bounds": lambda length: 2**63 + length,
    "a truth": lambda length: True,
    "a fraction": float,
    "bytes": bytes,
    "nothing": lambda length: None,
}


@pytest.mark.parametrize("name", LENGTHS)
def test_a_length_that_is_none_of_what_is_sealed_is_found(
    sqlite_house, file_target, small, tmp_path, name
):
    """Also one that another row's makes up for: then no row is the one that was recorded."""
    archived(sqlite_house, tmp_path / "archive")
    forger = Forger(tmp_path / "archive")
    held, told = forger.content(1), forger.manifest.segments[1]
    stored = forger.file(1).read_bytes()
    rows = [[*item[:SEALED], len(item[SEALED]), *item[SEALED + 1 :]] for item in held[:3]]
    behind = stored[told.packed_bytes :]
    before = rows[0][SEALED]
    rows[0][SEALED] = LENGTHS[name](before)
    for makes_up in (False, True):
        if makes_up:
            rows[1][SEALED] += before - rows[0][SEALED]
        content = b"".join(msgpack.packb(item) for item in [*rows, *held[3:]])
        packed = zlib.compress(content)
        sizes = {"content_bytes": len(content), "packed_bytes": len(packed)}
        forger.put_bytes(1, packed + behind, **sizes)
        found = finding(tmp_path / "archive")
        if not makes_up:
            assert found == "archive-damaged"
            if not name.startswith("a length too"):
                break  # nothing makes up for what is no length
    assert found == ("altered-row" if makes_up else "archive-damaged")
    refused_everywhere(sqlite_house, tmp_path / "archive", file_target, found)


def test_a_promise_that_no_ledger_makes_is_not_believed(archive):
    """Counts and lengths beyond all bounds, parts that leave a gap, a kind that does not fit."""
    forger = Forger(archive)
    first, second, *rest = forger.manifest.segments
    packed = first.packed_bytes is not None
    for change in (
        {"segments": (replace(first, content_bytes=2**40), second, *rest)},
        {"segments": (replace(first, stored_bytes=2**40), second, *rest)},
        {"segments": (replace(first, commits=-1), second, *rest)},
        {"segments": (replace(first, commits=True), second, *rest)},
        {"segments": (first, *rest)},
        {"segments": ()},
        {"previous": bytes(32)},
        {"after": 3},
        {"head": forger.manifest.head._replace(frontier=b"")},
        {"ledger": replace(forger.manifest.ledger, format=2)},
        {"segments": (replace(first, packed_bytes=0), second, *rest)},
        {"segments": (replace(first, packed_bytes=first.stored_bytes + 1), second, *rest)},
        {"segments": (replace(first, packed_bytes=True), second, *rest)},
        {"segments": (replace(first, packed_bytes=None if packed else 1), second, *rest)},
        {"keyring": None if packed else ()},
        {"keyring": (0,)},
        {"keyring": (2, 1)},
        {"keyring": (1, 1)},
        {"keyring": (1, True)},
        {"keyring": (1, forger.manifest.head.size + 1)},
        {"keyring": ("1",)},
    ):
        content = replace(forger.manifest, **change).to_bytes()
        with pytest.raises(Tampered) as caught:
            parse_manifest(content)
        assert caught.value.code == "archive-damaged", change


def lines(document: bytes) -> bytes:
    import hashlib

    return document + b"\n" + hashlib.sha256(document).hexdigest().encode() + b"\n"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"1" * 5000,
        b"[" * 100_000,
        b'{"format":1}',
        b'{"format":true}',
        b"\xff\xfe",
    ],
)
def test_a_manifest_that_is_none_is_refused(document):
    with pytest.raises(Tampered) as caught:
        parse_manifest(lines(document))
    assert caught.value.code == "archive-damaged"


def test_a_manifest_is_written_in_one_way_only(archive):
    """Spaces, other orders, other cases and unknown keys make it none of ours."""
    manifest = Forger(archive).manifest
    line = manifest.to_bytes().splitlines()[0]
    assert parse_manifest(lines(line)) == manifest
    told = b'"format":%d,"head"' % manifest.format
    others = [
        line.replace(b":", b": ", 1),
        line.replace(told, told.replace(b",", b',"format":1,')),
        line.replace(told, b'"format":%d,"head"' % (3 - manifest.format)),
        line.replace(told, b'"format":0,"head"'),
        line.replace(b'{"after"', b'{"a":0,"after"'),
        line.replace(manifest.ledger.id.hex().encode(), manifest.ledger.id.hex().upper().encode()),
    ]
    if manifest.format > 1:
        others += [
            line.replace(b'"keyring":[1', b'"keyring":[1.0'),
            re.sub(rb'"keyring":\[[\d,]*\],', b"", line),
            re.sub(rb'"keyring":\[[\d,]*\]', b'"keyring":null', line),
            re.sub(rb',"packed_bytes":\d+', b"", line),
            re.sub(rb',"packed_bytes":\d+', b"", line, count=1),
        ]
    for other in others:
        assert other != line
        with pytest.raises(Tampered):
            parse_manifest(lines(other))


def test_a_newer_format_says_so_and_changes_nothing(archive, sqlite_house, file_target):
    path = next(archive.glob("*.manifest"))
    line = path.read_bytes().splitlines()[0]
    path.write_bytes(lines(re.sub(rb'"format":\d,"head"', b'"format":3,"head"', line)))
    for action in (
        lambda: open_archive(archive),
        lambda: restored(sqlite_house, archive, file_target),
    ):
        with pytest.raises(Unavailable) as caught:
            action()
        assert caught.value.code == "archive-newer"
    with file_target.reading() as reading:
        assert reading.ledger() is None


def test_a_format_that_only_looks_newer_is_damage(archive):
    """One flipped bit makes a 3 of it; nobody is sent to look for another version."""
    path = next(archive.glob("*.manifest"))
    path.write_bytes(re.sub(rb'"format":\d,"head"', b'"format":3,"head"', path.read_bytes()))
    assert finding(archive) == "archive-damaged"


def test_a_manifest_under_another_parts_name_is_found(archive):
    path = next(archive.glob("*.manifest"))
    path.rename(archive / path.name.replace("part-0", "part-1"))
    assert finding(archive) == "archive-damaged"


def test_a_part_that_goes_on_from_another_log_is_found(archive, sqlite_house, tmp_path):
    """The digest names the part before; what it says must fit."""
    forger = Forger(archive)
    opened = sqlite_house.open()
    fill_more(opened)
    opened.close()
    full = forger.manifest
    archived(sqlite_house, tmp_path / "part", after=full.head.size, previous=full.digest)
    assert finding(tmp_path / "part") is None
    (signer,) = full.signers
    forger.rewrite(signers=(replace_row(signer, signature=bytes(64)),))
    Forger(tmp_path / "part").rewrite(previous=forger.manifest.digest)
    assert finding(tmp_path / "part") == "archive-damaged"
    shutil.rmtree(archive)
    with pytest.raises(LedgerError) as caught:
        open_archive(tmp_path / "part")
    assert caught.value.code == "archive-part-missing"


def fill_more(ledger) -> None:
    ledger.create_application(Acting(), "More", kind="individual")


def test_a_part_of_another_size_than_the_next_begins_at_is_found(archive, sqlite_house, tmp_path):
    full = Forger(archive).manifest
    opened = sqlite_house.open()
    fill_more(opened)
    opened.close()
    archived(sqlite_house, tmp_path / "part", after=full.head.size, previous=full.digest)
    one = Forger(tmp_path / "part")
    opened = sqlite_house.open()
    opened.create_application(Acting(), "Most", kind="group")
    opened.close()
    middle = one.manifest
    archived(sqlite_house, tmp_path / "next", after=middle.head.size, previous=middle.digest)
    following = Forger(tmp_path / "next")
    following.rewrite(previous=full.digest)
    assert finding(tmp_path / "next") == "archive-damaged"


def test_a_pipe_in_place_of_a_segment_is_not_waited_for(archive):
    import os

    path = Forger(archive).file(1)
    path.unlink()
    os.mkfifo(path)
    assert finding(archive) == "archive-damaged"
    manifest = next(archive.glob("*.manifest"))
    manifest.unlink()
    os.mkfifo(manifest)
    assert finding(archive) == "archive-damaged"


def test_damaged_neighbours_do_not_matter(archive, sqlite_house, tmp_path):
    """Folders beside an archive are only looked into for what it goes on from."""
    full = Forger(archive).manifest
    opened = sqlite_house.open()
    fill_more(opened)
    opened.close()
    archived(sqlite_house, tmp_path / "part", after=full.head.size, previous=full.digest)
    (tmp_path / "aaa").mkdir()
    (tmp_path / "aaa" / f"{full.name}.manifest").write_bytes(b"garbage")
    assert finding(tmp_path / "part") is None
    assert ArchiveFolder(tmp_path / "aaa").readable_manifests() == []
