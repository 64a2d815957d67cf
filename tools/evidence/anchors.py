"""Files of anchors: read with limits, and added to at their end.

A file is only ever added to, under a lock beside it, and durable before anybody is told. What a
power failure cut off at its end is no anchor, and goes with the next one that is added.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from cryptography.x509 import Certificate

from ledger.anchors.comparing import Kept, Trusted, kept_heads
from ledger.anchors.cosignature import parse_witness_key
from ledger.anchors.head import noted_head
from ledger.anchors.signed_note import (
    FILE_BYTES_MAX,
    FILE_LINES_MAX,
    SignedNote,
    read_notes,
    unknown_anchor,
    whole_bytes,
)
from ledger.errors import InvalidInput, Unavailable
from ledger.private_files import locked, sync_folder
from tools.people.documents import StandardInput, read_bytes

LOCK_TIMEOUT_S = 60.0
CERTIFICATES_BYTES_MAX = 1024 * 1024
_PURPOSE = "anchors"


class Anchors(msgspec.Struct, frozen=True):
    """What was given on the command line: notes, and whom to trust."""

    notes: tuple[SignedNote, ...]
    trusted: Trusted

    @property
    def ledger_id(self) -> bytes:
        """The ledger that the first of them is of."""
        return noted_head(self.notes[0]).ledger_id

    def of(self, ledger_id: bytes) -> list[Kept]:
        """Their heads by size; `anchor-of-another-ledger` where one is not of this ledger."""
        return kept_heads(self.notes, ledger_id)

    def require_time_stamps(self) -> None:
        """`option-not-used` where an authority's root was named and no head has a time stamp."""
        from ledger.anchors.time_stamp import is_stamp

        lines = [line for note in self.notes for line in note.signatures]
        if self.trusted.roots and not any(is_stamp(line) for line in lines):
            raise InvalidInput(
                "option-not-used",
                "No anchor has a time stamp that could be checked under an authority's root.",
                hint="Give the anchors that it stamped, or leave --tsa-root out.",
            )


def given_anchors(
    places: Sequence[str],
    witness_keys: Sequence[str],
    roots: Sequence[str],
    standard_input: StandardInput,
) -> Anchors:
    """Read and parse all that was given; each thing that is off has its error, before any work."""
    witnesses = tuple(parse_witness_key(text) for text in witness_keys)
    certificates = [
        certificate for place in roots for certificate in root_certificates(place, standard_input)
    ]
    notes = [note for place in places for note in _notes_of(place, standard_input)]
    for note in notes:
        noted_head(note)
    return Anchors(tuple(notes), Trusted(witnesses, tuple(dict.fromkeys(certificates))))


def root_certificates(place: str, standard_input: StandardInput) -> list[Certificate]:
    """The certificates of a PEM file; `invalid-certificate` where it holds none."""
    from ledger.anchors.time_stamp import read_certificates

    what = "the authority's root"
    return read_certificates(read_bytes(place, what, CERTIFICATES_BYTES_MAX, standard_input))


def add_note(place: Path, note: str) -> None:
    """Append a note to a file of anchors, made if need be; durable on return.

    `unknown-anchor` for a file that holds something else: nothing is written to it.
    """
    added = note.encode()
    with writing(place):
        try:
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o644)
            with os.fdopen(descriptor, "r+b") as file:
                kept = _kept_bytes(file.read(FILE_BYTES_MAX + 1), added)
                file.truncate(kept)
                file.seek(kept)
                file.write(added)
                file.flush()
                os.fsync(file.fileno())
            if not kept:
                sync_folder(place.parent)
        except OSError as error:
            raise _not_writable() from error


def _kept_bytes(content: bytes, added: bytes) -> int:
    """How much of the file stays: all, but for a note that was cut off at its end."""
    lines = content.count(b"\n") + added.count(b"\n")
    if len(content) + len(added) > FILE_BYTES_MAX or lines > FILE_LINES_MAX:
        raise InvalidInput(
            "too-large",
            f"The file with anchors would exceed {FILE_BYTES_MAX} bytes or {FILE_LINES_MAX} lines.",
            hint="Begin a new file; `log verify --anchors` takes any number of them.",
        )
    kept = whole_bytes(content)
    if content:
        if not kept:
            raise unknown_anchor(1)
        for known in read_notes(content[:kept]):
            noted_head(known)
    return kept


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Nobody else adds to the file meanwhile; `anchors-busy` after a minute."""
    if not place.parent.is_dir():
        raise _not_writable()  # the lock would make the folder, and a slip of the pen stay unseen
    busy = Unavailable("anchors-busy", "Another process adds to the file of anchors.")
    lock = place.with_name(f"{place.name}.lock")
    with locked(lock, LOCK_TIMEOUT_S, busy=busy, not_writable=_not_writable()):
        yield


def replace_notes(place: Path, notes: Sequence[SignedNote]) -> None:
    """Write the file anew, whole or not at all, durable on return; under its lock."""
    temporary = place.with_name(f".{place.name}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), place.stat().st_mode & 0o777)
            file.write("".join(note.to_text() for note in notes).encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
        sync_folder(place.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _not_writable() from error


def _notes_of(place: str, standard_input: StandardInput) -> list[SignedNote]:
    return read_notes(read_bytes(place, _PURPOSE, FILE_BYTES_MAX, standard_input))


def _not_writable() -> Unavailable:
    return Unavailable(
        "anchors-not-writable",
        "The file of anchors cannot be written.",
        hint="Check the folder's rights and the free space of its disk.",
    )
