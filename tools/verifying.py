"""Checking and listing the log without any key.

The ledger id is taken from `--ledger-id`, else from the keyring's file (it stands there in
clear), else from the store itself, which then vouches for itself only: `unanchored`. The host's
memory beside the keyring is a second anchor: the log must continue it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.archive.reading import open_archive
from ledger.errors import InvalidInput, KeyUnavailable, LedgerError, NotFound, Tampered
from ledger.log.checkpoint import head_text, note
from ledger.log.memory import HostMemory, memory_path
from ledger.log.rows import LedgerRow, signers_digest
from ledger.log.store import Store
from ledger.log.verification import CheckedHead, Follower, Verification
from ledger.log.verification import verify_log as verify_rows
from ledger.sealing.keyring_file import read_keyring
from tools.settings import Settings
from tools.show import progress
from tools.stores import existing_store
from tools.when import to_text

if TYPE_CHECKING:
    from tools.wiring import Session

_PAGE_ROWS = 1000
_ID = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(slots=True)
class Report:
    """What was checked and what came of it."""

    size: int = 0
    root: str | None = None
    proven_to: int = 0
    unanchored: bool = True
    checks: list[dict[str, object]] = field(default_factory=list)
    seconds: float = 0.0
    views: list[dict[str, object]] = field(default_factory=list)
    """Of an archive: what its manifest tells of the views of then."""

    @property
    def ok(self) -> bool:
        """Whether everything that was checked holds."""
        return all(check["ok"] for check in self.checks)

    def add(self, name: str, ok: bool, detail: str) -> None:
        """Note one check."""
        self.checks.append({"name": name, "ok": ok, "detail": detail})

    def take_in(self, found: Verification) -> None:
        """What the log's own check found, but for checks that were noted before."""
        self.size, self.root, self.proven_to = found.size, found.root.hex(), found.size
        told = {check["name"] for check in self.checks}
        for check in found.checks:
            if check.name not in told:
                place = "" if check.position is None else f" (position {check.position})"
                self.add(check.name, check.ok, f"{check.detail}{place}")

    def as_document(self) -> dict[str, object]:
        """The JSON shape."""
        return {
            "ok": self.ok,
            "size": self.size,
            "root": self.root,
            "proven_to": self.proven_to,
            "unanchored": self.unanchored,
            "checks": self.checks,
        }

    def as_backup_document(self) -> dict[str, object]:
        """The JSON shape of `backup verify`."""
        return {
            "ok": self.ok,
            "position": self.size,
            "root": self.root,
            "seconds": self.seconds,
            "views": self.views,
            "checks": self.checks,
        }


def parse_ledger_id(text: str) -> bytes:
    """A pinned ledger id; `invalid-ledger-id` unless it is 64 hex digits."""
    if not _ID.fullmatch(text.strip()):
        raise InvalidInput("invalid-ledger-id", "A ledger id is 64 hexadecimal digits.")
    return bytes.fromhex(text.strip())


def verify_log(settings: Settings, pinned: bytes | None) -> Report:
    """Check every row, head, signature and signer; never prompts."""
    report = Report()
    store = existing_store(settings)
    try:
        ledger = _ledger_of(store)
        expected = pinned or _keyring_ledger_id(settings, ledger)
        remembered = _remembered(settings, ledger, report)
        report.unanchored = expected is None and remembered is None
        with progress("Verifying") as show:
            found = verify_rows(store, pinned=expected, remembered=remembered, progress=show)
        report.take_in(found)
    finally:
        store.close()
    return report


def verify_archive(
    settings: Settings, directory: Path, besides: Sequence[Path], pinned: bytes | None
) -> Report:
    """Check every row, head, signature and signer of an archive; needs no key and never prompts.

    Raises what keeps it from being read at all; damage inside it is reported. What this host
    remembers is compared as far as the archive goes: it may well be older.
    """
    started = time.monotonic()
    report = Report()
    archive = open_archive(directory, besides)
    ledger = archive.ledger()
    expected = pinned or _keyring_ledger_id(settings, ledger)
    remembered = _remembered(settings, ledger, report)
    beyond = remembered is not None and remembered.size > archive.last_position()
    report.unanchored = expected is None and (remembered is None or beyond)
    with progress("Verifying") as show:
        found = verify_rows(
            archive,
            pinned=expected,
            remembered=None if beyond else remembered,
            progress=show,
        )
    if beyond and remembered is not None:
        report.add("host-memory", True, f"goes further, to {remembered.size}: not compared")
    report.take_in(found)
    if found.ok:
        try:
            archive.require_head()
            report.add("manifest", True, "its head is the one that the rows lead to")
        except Tampered as error:
            report.add(error.code, False, error.message)
    report.views = [
        {"name": one.name, "digest_before": one.digest, "digest_after": None, "same": None}
        for one in archive.manifest.views
    ]
    report.seconds = round(time.monotonic() - started, 3)
    return report


def view_checks(session: Session) -> Iterator[tuple[str, bool, str]]:
    """Each view against its fold."""
    for view in session.views.rebuild():
        same = bool(view["same"])
        yield f"view {view['name']}", same, "as its fold" if same else "differed; rebuilt"


def event_rows(settings: Settings, after: int, limit: int | None) -> list[dict[str, Any]]:
    """What is in clear of each row."""
    store = existing_store(settings)
    rows: list[dict[str, Any]] = []
    try:
        _ledger_of(store)
        while limit is None or len(rows) < limit:
            wanted = _PAGE_ROWS if limit is None else min(_PAGE_ROWS, limit - len(rows))
            with store.reading() as reading:
                page = reading.rows_after(after, wanted)
            rows.extend(
                {
                    "position": row.position,
                    "stream": row.stream.hex(),
                    "version": row.version,
                    "topic": row.topic,
                    "epoch": row.epoch,
                    "recorded_at": to_text(row.recorded_at),
                }
                for row in page
            )
            if len(page) < wanted:
                break
            after = page[-1].position
    finally:
        store.close()
    return rows


def newest_checkpoint(settings: Settings) -> dict[str, object]:
    """The newest signed head as `{"size", "root", "note"}`; its signature is checked."""
    store = existing_store(settings)
    try:
        ledger = _ledger_of(store)
        with store.reading() as reading:
            head = reading.head()
            if head is None:
                raise Tampered("no-head", "The ledger has no signed head.")
            Follower(ledger).book(reading).require(head)
            digest = signers_digest(ledger.id, reading.signers(), head.size)
    finally:
        store.close()
    text = head_text(ledger.id, head.size, head.root, digest)
    return {
        "size": head.size,
        "root": head.root.hex(),
        "note": note(ledger.id, text, head.signer, head.signature),
    }


def _remembered(settings: Settings, ledger: LedgerRow, report: Report) -> CheckedHead | None:
    try:
        head = HostMemory(memory_path(settings.keyring), ledger.id, None).recall()
    except LedgerError as error:
        report.add("host-memory", False, error.message)
        return None
    return head


def _keyring_ledger_id(settings: Settings, ledger: LedgerRow) -> bytes | None:
    try:
        told = read_keyring(settings.keyring).ledger_id
    except LedgerError:
        return None
    if told != ledger.id:
        raise KeyUnavailable(
            "keyring-foreign",
            "The keyring belongs to another ledger than this store's.",
            hint="Check --store and --keyring, or pin the ledger with --ledger-id.",
        )
    return told


def _ledger_of(store: Store) -> LedgerRow:
    with store.reading() as reading:
        ledger = reading.ledger()
    if ledger is None:
        raise NotFound(
            "no-ledger",
            "There is no ledger at that store.",
            hint="Check --store, or create one with `credledger init`.",
        )
    return ledger
