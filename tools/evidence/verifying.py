"""Checking a store's log without any key, against what is written down about it elsewhere.

The ledger id is taken from `--ledger-id`, else from the keyring's file (it stands there in
clear), else from the store itself, which then vouches for itself only: `unanchored`. The host's
memory beside the keyring is a second anchor: the log must continue it, and be there at all. Files
of anchors are a third: heads that were kept, cosigned or stamped elsewhere (`ledger.anchors`).

The store's tables are looked at too, not only what they answer (`ledger.log.objects`): a view in a
table's place may answer otherwise each time. A missing or foreign guard is a note, for signatures
protect.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ledger.archive.reading import open_archive
from ledger.errors import InvalidInput, KeyUnavailable, LedgerError, NotFound, Tampered
from ledger.log.following import CheckedHead
from ledger.log.marks import Mark
from ledger.log.memory import HostMemory, memory_path
from ledger.log.rows import LedgerRow
from ledger.log.signers import names_itself
from ledger.log.store import LogSource, Store
from ledger.log.verification import Verification, verify_log
from ledger.sealing.keyring_file import read_keyring
from tools.processes.processors import processors
from tools.settings import Settings
from tools.showing.show import progress
from tools.stores import no_ledger, store_of

if TYPE_CHECKING:
    from ledger.anchors.comparing import Judgement, Kept
    from tools.evidence.anchors import Anchors
    from tools.wiring import Session

_ID = re.compile(r"[0-9a-fA-F]{64}")


class Report(msgspec.Struct):
    """What was checked and what came of it."""

    size: int = 0
    root: str | None = None
    proven_to: int = 0
    unanchored: bool = True
    checks: list[dict[str, object]] = msgspec.field(default_factory=list)
    seconds: float = 0.0
    views: list[dict[str, object]] = msgspec.field(default_factory=list)
    """Of an archive: what its manifest tells of the views of then."""
    anchored: dict[str, object] | None = None
    """With anchors: what each of them says, and what is in none; else nothing of that is told."""

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

    def take_in_anchors(
        self, judgements: Sequence[Judgement], marks: Mapping[int, Mark], *, of_archive: bool
    ) -> None:
        """What came of the anchors; `proven_to` is from here on what they prove."""
        from tools.evidence.anchor_checks import anchor_checks, anchored_facts, newest_counted

        newest = newest_counted(judgements)
        self.proven_to = 0 if newest is None else newest.head.size
        self.unanchored = self.unanchored and newest is None
        for name, ok, detail in anchor_checks(judgements, marks, self.size, of_archive=of_archive):
            self.add(name, ok, detail)
        self.anchored = anchored_facts(judgements, marks, self.size)

    def as_document(self) -> dict[str, object]:
        """The JSON shape."""
        return {
            "ok": self.ok,
            "size": self.size,
            "root": self.root,
            "proven_to": self.proven_to,
            "unanchored": self.unanchored,
            **(self.anchored or {}),
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


def verify_store(
    settings: Settings,
    pinned: bytes | None,
    anchors: Anchors | None = None,
    jobs: int | None = None,
) -> Report:
    """Check every row, head, signature and signer of the store; never prompts.

    By so many processes, where the log is long; as many as there are processors, if not told.

    A store without a ledger is `no-ledger`, unless the host remembers one, its id is pinned or
    anchors are given: then it is damage, and reported. `option-not-used` where all holds and an
    authority's root was named for which there is no time stamp.
    """
    report = Report()
    store = store_of(settings)
    try:
        named = _named(store)
        expected = pinned or _keyring_ledger_id(settings, named) or _anchored_id(anchors, named)
        known = expected or (named.ledger.id if named.ledger is not None else None)
        kept = _kept(anchors, known)
        remembered = _remembered(settings, known, report) if known is not None else None
        report.unanchored = expected is None and remembered is None
        if named.is_empty:
            _report_nothing(store, report, pinned, remembered, kept)
            return report
        _look_at_tables(store, report)
        if report.ok:
            _look_at_restoring(store, report)
        with progress("Verifying") as show:
            found = verify_log(
                store,
                pinned=expected,
                remembered=remembered,
                marks=[one.head.size for one in kept],
                progress=show,
                jobs=jobs or processors(),
                reopen=partial(store_of, settings),
            )
        report.take_in(found)
        if anchors is not None:
            _hold_against(report, store, found, anchors, kept, of_archive=False)
    finally:
        store.close()
    return report


def verify_archive(
    settings: Settings,
    directory: Path,
    besides: Sequence[Path],
    pinned: bytes | None,
    position: int | None = None,
    anchors: Anchors | None = None,
    jobs: int | None = None,
) -> Report:
    """Check every row, head, signature and signer of an archive; needs no key and never prompts.

    Raises what keeps it from being read at all; damage inside it is reported. What this host
    remembers, and anchors, are compared as far as the archive goes: it may well be older.
    """
    started = time.monotonic()
    report = Report()
    archive = open_archive(directory, besides, position=position)
    ledger = archive.ledger()
    named = _Named(ledger, names_itself=True, is_empty=False)
    expected = pinned or _keyring_ledger_id(settings, named)
    kept = _kept(anchors, expected or ledger.id)
    remembered = _remembered(settings, ledger.id, report)
    beyond = remembered is not None and remembered.size > archive.last_position()
    report.unanchored = expected is None and (remembered is None or beyond)
    with progress("Verifying") as show:
        found = verify_log(
            archive,
            pinned=expected,
            remembered=None if beyond else remembered,
            marks=[one.head.size for one in kept],
            progress=show,
            jobs=jobs or processors(),
            reopen=partial(open_archive, directory, tuple(besides), position=position),
        )
    if beyond and remembered is not None:
        report.add("host-memory", True, f"goes further, to {remembered.size}: not compared")
    report.take_in(found)
    if anchors is not None:
        _hold_against(report, archive, found, anchors, kept, of_archive=True)
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
    """Each view against its fold; what stands between the tables and both shows nothing."""
    between = session.views.interposed()
    if between:
        yield "view-tables", False, f"{', '.join(between)}: may hide rows from a rebuild as well"
        return
    for view in session.views.rebuild():
        same = bool(view["same"])
        yield f"view {view['name']}", same, "as its fold" if same else "differed; rebuilt"


def _remembered(settings: Settings, ledger_id: bytes, report: Report) -> CheckedHead | None:
    try:
        head = HostMemory(memory_path(settings.keyring), ledger_id, None).recall()
    except LedgerError as error:
        report.add("host-memory", False, error.message)
        return None
    return head


def _keyring_ledger_id(settings: Settings, named: _Named) -> bytes | None:
    """The id that the keyring names; `keyring-foreign` where the store is another ledger, whole."""
    try:
        told = read_keyring(settings.keyring).ledger_id
    except LedgerError:
        return None
    if named.ledger is not None and named.ledger.id != told and named.names_itself:
        raise KeyUnavailable(
            "keyring-foreign",
            "The keyring belongs to another ledger than this store's.",
            hint="Check --store and --keyring, or pin the ledger with --ledger-id.",
        )
    return told


class _Named(NamedTuple):
    """How a store names its ledger, unchecked."""

    ledger: LedgerRow | None
    """None where it names none, or nothing that could be one."""
    names_itself: bool
    """Whether it is some ledger, whole, if not the one that is looked for."""
    is_empty: bool


def _named(store: Store) -> _Named:
    try:
        with store.reading() as reading:
            ledger = reading.ledger()
            if ledger is None:
                return _Named(None, names_itself=False, is_empty=not any(reading.counts()))
            whole = names_itself(ledger, reading.signers())
    except NotFound:
        return _Named(None, names_itself=False, is_empty=True)
    except Tampered:
        return _Named(None, names_itself=False, is_empty=False)
    return _Named(ledger if ledger.is_sound else None, names_itself=whole, is_empty=False)


def _look_at_tables(store: Store, report: Report) -> None:
    """Tell what of the tables is not as a ledger makes them; nothing where nothing is."""
    try:
        with store.reading() as reading:
            odd = reading.oddities()
    except Tampered as error:
        report.add(error.code, False, error.message)
        return
    if odd:
        damaged = any(one.is_damage for one in odd)
        detail = "; ".join(one.what for one in odd)
        report.add("store-damaged" if damaged else "tables", not damaged, detail)


def _look_at_restoring(store: Store, report: Report) -> None:
    """Tell that the log ends where a restore was cut off; the mark excuses nothing."""
    try:
        with store.reading() as reading:
            restoring = reading.is_restoring()
    except Tampered as error:
        report.add(error.code, False, error.message)
        return
    if restoring:
        report.add("restoring", True, "a restore has not come to its end: newer rows may follow")


def _anchored_id(anchors: Anchors | None, named: _Named) -> bytes | None:
    """The ledger that the anchors are of, where the store names none that it could be."""
    return None if anchors is None or named.names_itself else anchors.ledger_id


def _kept(anchors: Anchors | None, known: bytes | None) -> list[Kept]:
    """The heads that the anchors tell; `anchor-of-another-ledger` unless all are of this one."""
    return [] if anchors is None or known is None else anchors.of(known)


def _hold_against(
    report: Report,
    source: LogSource,
    found: Verification,
    anchors: Anchors,
    kept: Sequence[Kept],
    *,
    of_archive: bool,
) -> None:
    from tools.evidence.anchor_checks import judged

    judgements = judged(source, found, kept, anchors.trusted, may_be_older=of_archive)
    report.take_in_anchors(judgements, found.marks, of_archive=of_archive)
    if report.ok:  # damage is told first
        anchors.require_time_stamps()


def _report_nothing(
    store: Store,
    report: Report,
    pinned: bytes | None,
    remembered: CheckedHead | None,
    kept: Sequence[Kept],
) -> None:
    if remembered is not None:
        detail = f"there is no ledger at that store, and this host remembers {remembered.size} rows"
        report.add("rolled-back", False, detail)
    elif kept:
        detail = f"there is no ledger at that store, and {kept[-1].head.size} rows were anchored"
        report.add("rolled-back", False, f"{detail} (position 1)")
    elif pinned is not None:
        report.add("altered-ledger", False, "there is no ledger at that store")
    elif report.ok:
        raise no_ledger(store)
