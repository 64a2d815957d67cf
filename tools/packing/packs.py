"""Packs of evidence: settled, written, opened if asked for, checked, and given their name.

    settle ─▶ rows, heads ─▶ (record that access is opened ─▶ open it) ─▶ verifier ─▶ publish

No key is needed but for access records. That they are opened is recorded before the first of them
is. The verifier is the stand-alone one, in a process of its own, which has none of this process's
code or keys: what it does not confirm never gets the pack's name.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.anchors.cosignature import WitnessKey, parse_witness_key
from ledger.anchors.signed_note import read_notes
from ledger.archive.reading import open_archive
from ledger.errors import KeyUnavailable, LedgerError, Tampered, Unavailable
from ledger.sealing.keyring_file import read_keyring
from tools.packing import report, verifier
from tools.packing.contents import Settled, Tally, settle, write_log, write_manifest
from tools.packing.folder import PackFolder
from tools.packing.opening import write_opened
from tools.people.documents import StandardInput, read_bytes
from tools.settings import Settings, handed_on
from tools.showing.show import printable, progress
from tools.stores import existing_store, required_ledger

if TYPE_CHECKING:
    from ledger.codec.mapper import EventMapper
    from ledger.log.store import LogSource

ANCHORS_BYTES_MAX = 16 * 1024**2
VERIFIER = Path(verifier.__file__)


@dataclass(frozen=True, slots=True)
class Opener:
    """What opens access records, and what must be done before it does."""

    mapper: EventMapper
    record: Callable[[int], None]
    """Records that so many are opened."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """Kept heads that go with a pack, and whose cosignatures under them must hold."""

    notes: bytes
    witnesses: tuple[WitnessKey, ...]

    @property
    def is_unchecked(self) -> bool:
        """Whether there are more signatures under them than the ledger's, and nobody was named."""
        cosigned = any(len(note.signatures) > 1 for note in read_notes(self.notes))
        return cosigned and not self.witnesses


@contextmanager
def log_source(settings: Settings, archive: Path | None) -> Iterator[LogSource]:
    """The store's log, or an archive's; no key is needed."""
    if archive is not None:
        yield open_archive(archive)
        return
    store = existing_store(settings)
    try:
        required_ledger(store)
        yield store
    finally:
        store.close()


def read_anchors(path: str, witness_keys: Sequence[str], standard_input: StandardInput) -> Anchored:
    """A file of kept heads, to be copied as it is; `unknown-anchor` unless it holds notes.

    `invalid-witness-key` for what is none.
    """
    witnesses = tuple(parse_witness_key(text) for text in witness_keys)
    content = read_bytes(path, "anchors", ANCHORS_BYTES_MAX, standard_input)
    read_notes(content)
    return Anchored(content, witnesses)


def create_pack(
    settings: Settings,
    source: LogSource,
    directory: Path,
    *,
    until: int | None,
    anchored: Anchored | None,
    opener: Opener | None,
) -> dict[str, Any]:
    """Write a pack, check it, and give it its name; durable on return.

    `pack-unproven` where the verifier does not confirm it: then the log itself is damaged, or not
    the one that anchors or keyring tell of.
    """
    folder = PackFolder(directory)
    with folder.being_written():
        settled = settle(source, until)
        expected = _expected_id(settings, settled)
        with progress("Packing") as show:
            tally = write_log(source, folder, settled, show)
        if anchored is not None:
            folder.write("anchors.txt", anchored.notes)
        folder.write("verify.py", VERIFIER.read_bytes())
        _write_report(source, folder, settled, tally, anchored=anchored, opener=opener)
        digest = write_manifest(folder, settled)
        found = _verified(folder, expected, anchored)
        folder.publish()
    return {
        "directory": str(folder.path),
        "position": settled.head.size,
        "root": settled.head.root.hex(),
        "bytes": folder.length,
        "digest": digest,
        "accesses": tally.accesses if opener is not None else None,
        "anchored_to": found["anchored_to"],
        "witnessed_to": found["witnessed_to"],
        "checks": found["checks"],
    }


def _write_report(
    source: LogSource,
    folder: PackFolder,
    settled: Settled,
    tally: Tally,
    *,
    anchored: Anchored | None,
    opener: Opener | None,
) -> None:
    with folder.file("report.txt") as file:
        report.write_facts(file, settled, tally, _told_of(anchored))
        if opener is None:
            return
        opener.record(tally.accesses)
        report.write_headings(file)
        with progress("Opening access records") as show:
            write_opened(
                source,
                folder,
                opener.mapper,
                settled.head.size,
                lambda row, record: report.write_access(file, row, record),
                show,
            )


def _told_of(anchored: Anchored | None) -> str:
    """What the report says of kept heads."""
    if anchored is None:
        return "none in this pack"
    names = ", ".join(one.name for one in anchored.witnesses)
    if not names:
        return "in anchors.txt; no witness was named, so cosignatures were not checked"
    return f"in anchors.txt; cosignatures were checked of {printable(names)}"


def _expected_id(settings: Settings, settled: Settled) -> bytes:
    """The id that the keyring names, where there is one; `keyring-foreign` if it is another's."""
    try:
        told = read_keyring(settings.keyring).ledger_id
    except LedgerError:
        return settled.ledger.id
    if told != settled.ledger.id:
        raise KeyUnavailable(
            "keyring-foreign",
            "The keyring belongs to another ledger than the log that is to be packed.",
            hint="Check --store or --archive, and --keyring.",
        )
    return told


def _verified(folder: PackFolder, ledger_id: bytes, anchored: Anchored | None) -> dict[str, Any]:
    """What the stand-alone verifier says of the draft; `pack-unproven` unless all of it holds."""
    words = [sys.executable, "-I", str(VERIFIER), str(folder.draft)]
    for one in anchored.witnesses if anchored is not None else ():
        words += ["--witness", one.to_text()]
    done = subprocess.run(
        [*words, "--ledger-id", ledger_id.hex(), "--json"],
        env=handed_on(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode not in {verifier.HOLDS, verifier.BROKEN}:
        raise Unavailable(
            "pack-unchecked",
            "The pack could not be checked; there is no pack.",
            hint="Run the command again; if it fails again, look at memory and disk.",
        )
    found: dict[str, Any] = json.loads(done.stdout)
    for check in found["checks"]:
        if not check["ok"]:
            raise Tampered(
                "pack-unproven",
                f"The pack does not hold, so there is none: {check['name']}, {check['detail']}.",
                hint="Run `credledger log verify`, and check the file of anchors if one was given.",
                position=check.get("position"),
            )
    return found
