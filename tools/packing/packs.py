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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.archive.reading import Archive, open_archive
from ledger.errors import KeyUnavailable, LedgerError, Tampered, Unavailable
from ledger.sealing.keyring_file import read_keyring
from tools.packing import report, verifier
from tools.packing.anchored import Anchored, Watch, held_against
from tools.packing.contents import Settled, Tally, settle, write_log, write_manifest
from tools.packing.folder import PackFolder
from tools.packing.opening import write_opened
from tools.settings import Settings, handed_on
from tools.showing.show import progress
from tools.stores import existing_store, required_ledger

if TYPE_CHECKING:
    from ledger.codec.mapper import EventMapper
    from ledger.log.store import LogSource

VERIFIER = Path(verifier.__file__)


class Opener(msgspec.Struct, frozen=True):
    """What opens access records, and what must be done before it does."""

    mapper: EventMapper
    record: Callable[[int], None]
    """Records that so many are opened."""


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

    Where an anchor does not hold, the code is that of `log verify --anchors`. `pack-unproven` where
    the verifier does not confirm it: then the log itself is damaged, or not the one that the
    keyring tells of.
    """
    folder = PackFolder(directory)
    with folder.being_written():
        settled = settle(source, until)
        expected = _expected_id(settings, settled)
        watch = Watch(() if anchored is None else anchored.sizes)
        with progress("Packing") as show:
            tally = write_log(source, folder, settled, watch.see, show)
        if anchored is not None:
            older = isinstance(source, Archive)
            anchored = held_against(anchored, source, settled, watch, may_be_older=older)
            anchored.write(folder)
        folder.write("verify.py", VERIFIER.read_bytes())
        _write_report(source, folder, settled, tally, anchored=anchored, opener=opener)
        digest = write_manifest(folder, settled, {} if anchored is None else anchored.manifest())
        found = _verified(folder, expected, anchored)
        folder.publish()
    return {
        "directory": str(folder.path),
        "position": settled.head.size,
        "root": settled.head.root.hex(),
        "bytes": folder.length,
        "digest": digest,
        "accesses": tally.accesses if opener is not None else None,
        "closed": found["closed"],
        "anchored_to": None if anchored is None else anchored.counted_to,
        "witnessed_to": found["witnessed_to"],
        "stamped_to": _stamped_to(anchored),
        "witness_keys": [] if anchored is None else anchored.witness_keys(),
        "unchecked": [] if anchored is None else list(anchored.unchecked()),
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
        report.write_facts(
            file, settled, tally, ["none in this pack"] if anchored is None else anchored.told()
        )
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
                lambda row, line: report.write_access(file, row, line),
                show,
            )


def _stamped_to(anchored: Anchored | None) -> int | None:
    """The size of the newest head that an authority under a named root has stamped."""
    newest = None if anchored is None else anchored.newest("time-stamp")
    return None if newest is None else newest[0]


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
    for one in anchored.anchors.trusted.witnesses if anchored is not None else ():
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
                hint="Run `credledger log verify`.",
                position=check.get("position"),
            )
    return found
