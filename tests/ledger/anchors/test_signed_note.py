"""Signed notes in a file: read as they were written, and nothing else is taken for one."""

from __future__ import annotations

import base64
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.anchors.head import noted_head
from ledger.anchors.signed_note import (
    FILE_BYTES_MAX,
    FILE_LINES_MAX,
    NoteSignature,
    SignedNote,
    read_notes,
    whole_bytes,
)
from ledger.errors import InvalidInput
from ledger.log.checkpoint import head_text
from tests.ledger.anchors.from_the_page import head_of, notes_of

names = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=20)
signatures = st.builds(
    NoteSignature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=200)
)
heads = st.builds(
    head_text,
    st.binary(min_size=32, max_size=32),
    st.integers(1, 10**12),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
)
notes = st.builds(
    SignedNote, heads, st.lists(signatures, min_size=1, max_size=4).map(tuple), st.just(1)
)
TEXT = head_text(bytes(32), 7, bytes(32), bytes(32)).decode()
LINE = NoteSignature("w", b"abcd", b"signature").line()
NOTE = f"{TEXT}\n{LINE}"


def plain(found: SignedNote):
    return found.text, found.signatures


@given(st.lists(notes, min_size=1, max_size=5))
def test_what_was_written_one_after_the_other_is_read(given_notes):
    """Another reader, written from the page, finds the same notes and heads in the same file."""
    text = "".join(note.to_text() for note in given_notes)
    found = read_notes(text.encode())
    assert list(map(plain, found)) == list(map(plain, given_notes))
    assert [
        (body.encode(), [NoteSignature(*one) for one in lines]) for body, lines in notes_of(text)
    ] == [(note.text, list(note.signatures)) for note in found]
    for note in found:
        head = noted_head(note)
        told = head_of(note.text.decode())
        assert (head.ledger_id, head.size, head.root, head.signers) == tuple(told.values())


@given(st.lists(notes, min_size=1, max_size=3), st.data())
def test_a_file_cut_off_anywhere_loses_its_last_note_at_most(given_notes, data):
    """What is left after the cut is whole, and holds all notes before the one that was cut."""
    parts = [note.to_text().encode() for note in given_notes]
    before = b"".join(parts[:-1])
    cut = data.draw(st.integers(0, len(parts[-1])))
    content = before + parts[-1][:cut]
    kept = content[: whole_bytes(content)]
    assert kept.startswith(before)
    if kept:
        found = read_notes(kept)
        assert list(map(plain, found))[: len(parts) - 1] == list(map(plain, given_notes))[:-1]


NONE = {
    "nothing": "",
    "empty lines": "\n\n\n",
    "a text without signatures": TEXT,
    "no empty line": TEXT + LINE,
    "no newline at the end": NOTE[:-1],
    "something before": "hello\n" + NOTE,
    "something after": NOTE + "hello\n",
    "a signature that is no base64": f"{TEXT}\n— w !!!!\n",
    "a signature of a key id only": f"{TEXT}\n— w {base64.b64encode(b'abcd').decode()}\n",
    "a signature without a name": f"{TEXT}\n—  YWJjZGVm\n",
    "a name with a plus sign": f"{TEXT}\n— a+b YWJjZGVm\n",
    "a third word": f"{TEXT}\n— w YWJjZGVm more\n",
    "too many signatures": f"{TEXT}\n{LINE * 65}",
    "a hyphen for the dash": f"{TEXT}\n{LINE}".replace("—", "-"),
    "carriage returns": NOTE.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_note_is_refused_with_its_line(name):
    with pytest.raises(InvalidInput) as caught:
        for note in read_notes(NONE[name].encode()):
            noted_head(note)
    empty = not NONE[name].strip()
    assert caught.value.code == ("no-anchors" if empty else "unknown-anchor")


def test_bytes_that_are_no_text_and_files_without_end_are_refused():
    for content in (b"\xff" + NOTE.encode(), NOTE.encode() + b"\x80\n"):
        with pytest.raises(InvalidInput) as caught:
            read_notes(content)
        assert caught.value.code == "unknown-anchor"
    with pytest.raises(InvalidInput) as caught:
        read_notes(bytes(FILE_BYTES_MAX + 1))
    assert caught.value.code == "too-large"


OTHER_TEXTS = {
    "another kind of log": "example.com/log\n7\n" + TEXT.split("\n", 2)[2],
    "no number": TEXT.replace("\n7\n", "\nseven\n"),
    "a number with zeros before it": TEXT.replace("\n7\n", "\n07\n"),
    "size 0": TEXT.replace("\n7\n", "\n0\n"),
    "an endless number": TEXT.replace("\n7\n", f"\n{'9' * 40}\n"),
    "a short root": TEXT.replace("A=", "="),
    "two texts for one root": TEXT.replace("AAA=", "AAB="),
    "capitals in the id": TEXT.replace("credledger/00", "credledger/AA"),
    "a line more": TEXT + "more\n",
    "a line less": TEXT.rsplit("signers", 1)[0],
}


@pytest.mark.parametrize("name", OTHER_TEXTS)
def test_a_note_of_anything_but_a_head_of_a_ledger_is_refused(name):
    assert OTHER_TEXTS[name] != TEXT
    (note,) = read_notes(f"{OTHER_TEXTS[name]}\n{LINE}".encode())
    with pytest.raises(InvalidInput) as caught:
        noted_head(note)
    assert caught.value.code == "unknown-anchor"


@pytest.mark.parametrize("line", ["\n", "a\n", "a\n\n\u2014 x AAAAAAA=\n"])
def test_a_file_of_nothing_but_short_lines_is_refused_before_it_is_split(line):
    """Its lines would take many times its length in memory."""
    whole = (line * (FILE_LINES_MAX // line.count("\n") + 1)).encode()
    tracemalloc.start()
    with pytest.raises(InvalidInput) as caught:
        read_notes(whole)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == "too-large"
    assert peak < len(whole)
