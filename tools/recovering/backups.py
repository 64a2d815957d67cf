"""Backups of the database: archives written, restored, and restored for practice.

    create    settle head and views in one snapshot ─▶ write ─▶ read back and check ─▶ record
              what a kill left in that folder before its record is checked and recorded too
    restore   unlock ─▶ check and insert, views with it ─▶ compare ─▶ open ─▶ record ─▶ remember
    drill     restore into a scratch file ─▶ compare with archive and store ─▶ record

What a host remembers beyond an archive is gone with its restore: the positions are told, the
abandoned head is recorded in the same transaction as the restore, and only then does the host
forget it.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.aggregates.backups import (
    FULL,
    INCREMENTAL,
    BackupCreated,
    BackupDrilled,
    BackupRestored,
    Kept,
)
from ledger.aggregates.hosts import HostSeen
from ledger.aggregates.key_backups import KeyRestored
from ledger.aggregates.keys import AsyncAccepted, ClockAccepted, RollbackAccepted
from ledger.archive.creating import create_archive
from ledger.archive.folder import ArchiveFolder
from ledger.archive.manifest import Manifest, ViewDigest
from ledger.archive.nearness import refuse_place
from ledger.archive.reading import Archive, open_archive
from ledger.archive.restoring import Restoration, finish
from ledger.archive.writing import Taken, forked_from_backup, take
from ledger.errors import Conflict, KeyUnavailable, NotFound, Tampered, Unavailable
from ledger.log.following import CheckedHead
from ledger.log.writer import require_near
from ledger.places import is_there
from ledger.usecases.fitting import require_fit_of_archive
from ledger.usecases.key_backups import require_replaceable
from projections.access_history import AccessHistory, lacks_destroyed
from tools import wiring
from tools.recovering.refolding import refolding
from tools.showing.show import progress
from tools.wiring import open_restoring, revived_document, scratch_views

_RECORDS = [
    [*rollback, BackupRestored.TOPIC, *restored]
    for rollback in ([], [RollbackAccepted.TOPIC])
    for restored in ([], [KeyRestored.TOPIC])
]
"""What a restore leaves after the archive's last row, however far it came."""
_ALONGSIDE = {HostSeen.TOPIC, ClockAccepted.TOPIC, AsyncAccepted.TOPIC}
"""What may be recorded with each of them: what the host's keyring holds, what was accepted."""
_RECORDS_MAX = 8
_PAGE_ROWS = 1000

if TYPE_CHECKING:
    from ledger.codec.mapper import EventMapper
    from ledger.log.memory import HostMemory
    from ledger.log.rows import LogRow
    from ledger.log.store import Reading, Store
    from ledger.usecases.acting import Acting
    from ledger.usecases.ledger import Ledger
    from projections.views import Views
    from tools.people.documents import StandardInput
    from tools.recovering.key_backups import Presented
    from tools.settings import Settings
    from tools.wiring import Restoring, Session


def create_backup(
    session: Session,
    directory: Path,
    acting: Acting,
    *,
    since_backup: bool,
    base_elsewhere: bool = False,
) -> dict[str, object]:
    """Write an archive of everything up to now, check it, and record it.

    `base_elsewhere` is somebody's word that what it goes on from is kept where nobody looks here.
    """
    settings = session.settings
    copies = [Path(copy.path) for copy in session.ledger.key_backups.history().standing()]
    refuse_place(directory, settings.keyring, settings.sqlite_path, copies)
    folder = ArchiveFolder(directory)
    folder.require_name()
    newest = session.ledger.backups.known().newest if since_backup else None
    if since_backup and newest is None and not folder.readable_manifests():
        raise _no_backup()
    if since_backup and not base_elsewhere:
        _require_base(session, directory)
    session.ledger.head()
    session.views.bring_forward()
    with folder.being_written():
        taken = _taken(session, newest)
        some = folder.readable_manifests()
        recorded = session.ledger.backups.archives() if some else frozenset()
        with progress("Archiving") as show:
            created = create_archive(session.store, folder, taken, recorded, show)
        events = [_created(part, folder, base_elsewhere) for part in created.parts]
        session.ledger.backups.record(acting, *events)
    manifest = created.parts[-1]
    document = {
        "directory": str(folder.path),
        "position": manifest.head.size,
        "root": manifest.head.root.hex(),
        "bytes": sum(event.archive_bytes for event in events),
        "kind": events[-1].kind,
        "after": manifest.after,
        "digest": manifest.digest.hex(),
    }
    if created.taken_up:
        document["taken_up"] = created.taken_up[-1].head.size
    return document


def restore_backup(
    settings: Settings,
    standard_input: StandardInput,
    directory: Path,
    besides: Sequence[Path],
    acting: Acting,
    key_backup: Presented | None = None,
    position: int | None = None,
) -> dict[str, object]:
    """Bring an archive into the empty store that the settings name, and go on from there.

    A key backup is put in the keyring's place at the end: where both were lost, neither can be
    brought back without the other.
    """
    started = time.monotonic()
    archive = open_archive(directory, besides, position=position)
    archive.parts[-1].folder.require_name()
    with (
        _open(settings, standard_input, archive, key_backup) as restoring,
        refolding(archive, restoring.mapper, restoring.streams, restoring.views) as refold,
        contextlib.ExitStack() as alone,
    ):
        told = require_fit_of_archive(
            archive, restoring.unlocked, restoring.streams, restoring.mapper
        )
        if key_backup is not None:
            # The keyring's folder is made here as well, where the memory is to lie too.
            try:
                require_replaceable(settings.keyring, restoring.unlocked, told.keys)
            except Conflict as error:
                if error.code != "keyring-not-lost" or not _is_put_back(restoring, archive):
                    raise
                key_backup = None
        fresh = alone.enter_context(restoring.memory.anew())
        restoring.store.create()
        abandoned = _remembered(restoring.memory)
        fresh.follow_acceptance(restoring.memory, wiring.clock())
        recorded = _is_recorded(restoring, archive, abandoned)
        restoration = Restoration(archive, restoring.store, refold, memory=fresh, recorded=recorded)
        restoration.there()
        if not recorded and not settings.accept_clock:
            _require_clock(archive)
        with progress("Restoring") as show:
            head = restoration.run(show)
        with restoration.finishing():
            views = _compared(archive, restoring.store, restoring.views, restoring.mapper)
        _require_same(views)
        event = BackupRestored(
            INCREMENTAL if archive.manifest.previous else FULL,
            head.size,
            head.frontier.root(),
            archive.manifest.digest,
            abandoned.size if abandoned else 0,
            str(archive.parts[-1].folder.path),
        )
        given_up = abandoned if _is_given_up(restoring, head, abandoned) else None
        with restoring.opened(fresh) as ledger:
            if not recorded:
                rollback = _given_up(head, given_up, ledger.epoch_ahead())
                ledger.backups.record(acting, event, rollback=rollback)
            revived = revived_document(ledger.revived())
            keyring = None
            if key_backup is not None:
                keyring, lacks_next = key_backup.put_back(ledger, acting)
                keyring["lacks_next"] = lacks_next
            lost = _lost(restoring.views, ledger)
            helping = ledger.key_backups.history().holding_any([one["epoch"] for one in lost])
        finish(restoring.store)
        restoring.memory.replace_by(fresh)
    gone = None
    if abandoned is not None and abandoned.size > head.size:
        gone = {"from": head.size + 1, "to": abandoned.size}
    document = _document(archive, started, views)
    return {
        **document,
        "gone": gone,
        "other_branch": given_up.size if given_up is not None and gone is None else None,
        "revived": revived,
        "keyring": keyring,
        "lost": lost,
        "still_in": [one.path for one in helping],
    }


def _require_clock(archive: Archive) -> None:
    """Tell before the first row what would keep the restore from being recorded behind the last."""
    for newest in archive.rows_after(archive.last_position() - 1, 1):
        require_near(wiring.clock(), newest.recorded_at)


@contextlib.contextmanager
def _open(
    settings: Settings,
    standard_input: StandardInput,
    archive: Archive,
    key_backup: Presented | None,
) -> Iterator[Restoring]:
    unlock = None if key_backup is None else key_backup.unlock
    ledger_id = archive.ledger().id
    if unlock is None and not is_there(settings.keyring):
        raise KeyUnavailable(
            "keyring-missing",
            "The keyring is not there or cannot be read.",
            hint="Check --keyring; if it is lost too, give its backup with --key-backup FILE.",
        )
    with open_restoring(settings, standard_input, ledger_id, unlock) as restoring:
        yield restoring


def drill_backup(
    session: Session,
    directory: Path | None,
    besides: Sequence[Path],
    scratch: Path | None,
    acting: Acting,
) -> dict[str, object]:
    """Restore the newest backup into a scratch place, compare, and record that it was done.

    Nothing of the ledger, its keyring or this host's memory is touched before the record.
    """
    started = time.monotonic()
    archive = _archive_to_drill(session, directory, besides)
    archive.parts[-1].folder.require_name()
    _require_ours(session, archive)
    is_recorded = _require_as_recorded(session, archive.manifest)
    try:
        with tempfile.TemporaryDirectory(prefix="credledger-drill-", dir=scratch) as place:
            views = _drilled(session, archive, Path(place), is_recorded=is_recorded)
    except OSError as error:
        raise Unavailable(
            "scratch-not-writable",
            "The scratch place cannot be made or cleared away.",
            hint="Give another one with --scratch.",
        ) from error
    event = BackupDrilled(
        archive.last_position(),
        archive.manifest.head.root,
        archive.manifest.digest,
        round((time.monotonic() - started) * 1000),
        str(archive.parts[-1].folder.path),
    )
    session.ledger.backups.record(acting, event)
    return {**_document(archive, started, views), "directory": event.directory}


def _taken(session: Session, newest: Kept | None) -> Taken:
    """What is to be archived: all there is, or all beyond the newest backup."""
    after, previous = (0, None) if newest is None else (newest.position, newest.digest)
    with session.store.reading() as reading:
        if after and reading.commit_at(after) is None:
            raise forked_from_backup(after)
        views = _view_digests(session.views, reading)
        keyring = session.streams.keyring()
        return take(reading, keyring, views=views, after=after, previous=previous)


def _created(part: Manifest, folder: ArchiveFolder, base_elsewhere: bool) -> BackupCreated:
    is_full = part.previous is None
    return BackupCreated(
        FULL if is_full else INCREMENTAL,
        part.head.size,
        part.head.root,
        part.digest,
        part.stored_bytes,
        str(folder.path),
        base_elsewhere and not is_full,
    )


def _drilled(
    session: Session, archive: Archive, place: Path, *, is_recorded: bool
) -> list[dict[str, Any]]:
    with (
        scratch_views(session, place) as (store, mapper, views),
        refolding(archive, mapper, session.streams, views) as refold,
    ):
        restoration = Restoration(archive, store, refold)
        with progress("Drilling") as show:
            restoration.run(show)
        with restoration.finishing():
            compared = _compared(archive, store, views, mapper)
        _require_same(compared)
        _require_compared(archive.manifest, views, is_recorded=is_recorded)
        lost = _lost(views, session.ledger)
    if lost:
        raise KeyUnavailable(
            "archive-values-lost",
            f"The keyring does not open {sum(one['mappings'] for one in lost)} of the credentials"
            " in the archive: the keys of their values were destroyed.",
            hint="Make a new backup of the database; until then keep the key backups that hold"
            " the keys.",
        )
    return compared


def _lost(views: Views, ledger: Ledger) -> list[dict[str, int]]:
    """How many live mappings rest on each epoch whose values the keys at hand do not open."""
    held = {epoch for epoch, _, _, secret in ledger.status().epochs if secret}
    return [
        {"epoch": epoch, "mappings": count}
        for epoch, count in views.epochs().items()
        if epoch not in held
    ]


def _archive_to_drill(session: Session, directory: Path | None, besides: Sequence[Path]) -> Archive:
    if directory is not None:
        return open_archive(directory, besides)
    newest = session.ledger.backups.known().newest
    if newest is None:
        raise _no_backup()
    return open_archive(Path(newest.directory), besides, newest.digest)


def _require_ours(session: Session, archive: Archive) -> None:
    """The archive is this ledger's log as it stands, only shorter."""
    session.ledger.head()
    head = archive.manifest.head
    with session.store.reading() as reading:
        same = reading.ledger() == archive.ledger()
        same = same and reading.commit_at(head.size) == head
    if not same:
        raise Tampered(
            "archive-of-another-log",
            "The archive is not the beginning of this ledger's log.",
            hint="Check the folder; after a rollback, take a new full backup.",
        )


def _require_as_recorded(session: Session, manifest: Manifest) -> bool:
    """Whether the log tells of this very manifest; `archive-altered` where it tells of another.

    Two archives up to one position are of two kinds, or the same. What was only restored from says
    nothing against another copy: nobody had anything to hold its manifest against.
    """
    recorded = session.ledger.backups.recorded()
    if any(one.digest == manifest.digest for one in recorded):
        return True
    kind = FULL if manifest.previous is None else INCREMENTAL
    written = (one for one in recorded if isinstance(one, BackupCreated))
    if any((one.position, one.kind) == (manifest.head.size, kind) for one in written):
        raise Tampered(
            "archive-altered",
            "The archive's manifest is not the one that was recorded when it was made.",
            hint="Use another copy of this archive, or make a new one.",
        )
    return False


def _require_base(session: Session, directory: Path) -> None:
    """`archive-base-missing` unless all that an archive would go on from is found.

    It is looked for where archives were put, in the folder of the new one, and beside that. Each
    manifest names the one that it goes on from: of two that were written at once, the log tells
    only which was recorded first.
    """
    backups, ours = session.ledger.backups.known(), ArchiveFolder(directory)
    places = [*(ArchiveFolder(Path(one)) for one in backups.directories), ours, *ours.beside()]
    found = {
        manifest.digest: manifest
        for folder in places
        for manifest in folder.readable_manifests()
        if folder.holds_all(manifest)
    }
    put = {one.digest: f"in {one.directory}" for one in backups.chain}
    wanted = (backups.newest.digest, backups.newest.position) if backups.newest else None
    while wanted is not None:
        digest, position = wanted
        manifest = found.get(digest)
        if manifest is None:
            raise _base_missing(position, put.get(digest, "where archives were put"))
        wanted = None if manifest.previous is None else (manifest.previous, manifest.after)


def _base_missing(position: int, where: str) -> NotFound:
    return NotFound(
        "archive-base-missing",
        f"The archive up to position {position} is not {where}: without it nothing that goes on"
        " from it can be restored.",
        hint="Make a full one, without --since-backup; if that archive is kept elsewhere, say so"
        " with --base-elsewhere.",
    )


def _no_backup() -> NotFound:
    return NotFound(
        "no-backup",
        "No database backup is recorded yet.",
        hint="Run `credledger backup create DIR` first.",
    )


def _remembered(memory: HostMemory) -> CheckedHead | None:
    try:
        return memory.recall()
    except Tampered as error:
        hint = f"Move {memory.path} away and run the command again: this host then forgets it."
        raise Tampered(error.code, error.message, hint=hint) from error


def _is_recorded(restoring: Restoring, archive: Archive, abandoned: CheckedHead | None) -> bool:
    """Whether a restore was killed after its record and before its last effect.

    Before the store's mark was taken away: the record is of this archive. Or before this host
    forgot the other head: the record tells of exactly the one that is remembered. Nothing else
    came after.
    """
    position = archive.last_position()
    with restoring.store.reading() as reading:
        found, marked = reading.rows_after(position, _RECORDS_MAX), reading.is_restoring()
    rows = [row for row in found if row.topic not in _ALONGSIDE]
    topics = [row.topic for row in rows]
    while topics[-2:] == [KeyRestored.TOPIC] * 2:
        del topics[-1]  # killed each time before the keyring was in place, and recorded anew
    if topics not in _RECORDS:
        return False
    events = [restoring.mapper.open(row).event for row in rows]
    for event in events:
        if isinstance(event, RollbackAccepted) and abandoned is not None:
            given_up = (event.abandoned_size, event.abandoned_root)
            return given_up == (abandoned.size, abandoned.frontier.root())
        if isinstance(event, BackupRestored):
            return marked and event.digest == archive.manifest.digest
    return False


def _is_put_back(restoring: Restoring, archive: Archive) -> bool:
    """Whether a restore was killed after it had put the key backup in place, and before its end."""
    with contextlib.suppress(NotFound):
        with restoring.store.reading() as reading:
            found = reading.rows_after(archive.last_position(), _RECORDS_MAX)
        if any(row.topic == KeyRestored.TOPIC for row in found):
            return _is_recorded(restoring, archive, _remembered(restoring.memory))
    return False


def _given_up(
    head: CheckedHead, abandoned: CheckedHead | None, epoch_ahead: int
) -> RollbackAccepted | None:
    """What is to be recorded of a head that the host remembers and the archive does not hold.

    Also where the keyring alone shows that there was one: it is too far ahead of the archive.
    """
    if abandoned is None:
        if not epoch_ahead:
            return None
        abandoned = head
    fork = min(abandoned.size, head.size)
    return RollbackAccepted(fork, abandoned.size, abandoned.frontier.root(), epoch_ahead)


def _is_given_up(restoring: Restoring, head: CheckedHead, abandoned: CheckedHead | None) -> bool:
    if abandoned is None or abandoned.size == 0:
        return False
    if abandoned.size > head.size:
        return True
    with restoring.store.reading() as reading:
        commit = reading.commit_at(abandoned.size)
    return commit is None or commit.root != abandoned.frontier.root()


def _view_digests(views: Views, reading: Reading) -> tuple[ViewDigest, ...]:
    return tuple(
        ViewDigest(name, fold_version, digest)
        for name, (fold_version, digest) in views.taken(reading).items()
    )


def _compared(
    archive: Archive, store: Store, views: Views, mapper: EventMapper
) -> list[dict[str, Any]]:
    """Each view as it was archived and as it was folded anew.

    `same` is None where the archive tells of no such view, or of one by another fold; and of that
    of accesses where keys of them were destroyed since, so that it cannot be folded as it was.
    """
    views.bring_forward()
    with store.reading() as reading:
        folded = views.taken(reading)
    told = {one.name: one for one in archive.manifest.views}
    documents = []
    for name, (fold_version, digest) in folded.items():
        before = told.get(name)
        comparable = before is not None and before.fold_version == fold_version
        same = before.digest == digest if comparable and before is not None else None
        erased = same is False and name == AccessHistory.name
        erased = erased and lacks_destroyed(_rows(archive), mapper.opening())
        documents.append(
            {
                "name": name,
                "digest_before": None if before is None else before.digest,
                "digest_after": digest,
                "same": None if erased else same,
                "erased_since": erased,
            }
        )
    return documents


def _rows(archive: Archive) -> Iterator[LogRow]:
    position = 0
    while rows := archive.rows_after(position, _PAGE_ROWS):
        yield from rows
        position = rows[-1].position


def _require_same(views: Sequence[dict[str, Any]]) -> None:
    differing = [str(one["name"]) for one in views if one["same"] is False]
    if differing:
        raise Tampered(
            "view-differs",
            f"A view folded from the archive is not the one that was archived: {differing[0]}.",
            hint="The log itself holds; the archive's manifest or the view of then was altered.",
        )


def _require_compared(manifest: Manifest, views: Views, *, is_recorded: bool) -> None:
    """`view-not-compared` where the archive tells nothing that the new fold can be held against.

    An older fold is that of an older program, and a view that the manifest does not name may not
    have been there yet: but that is believed only of a manifest that the log tells of, and that
    names some. One that was cut off, and taken up when the log had gone on, names none.
    """
    told = {one.name: one.fold_version for one in manifest.views}
    for name, fold_version in views.fold_versions().items():
        archived = told.get(name)
        if archived is None and not (is_recorded and told):
            raise _not_compared(name, "the archive tells nothing of it")
        if archived is not None and archived > fold_version:
            raise _not_compared(name, "the archive's is of a fold that this program does not know")


def _not_compared(name: str, why: str) -> Tampered:
    return Tampered(
        "view-not-compared",
        f"The view {name} could not be compared: {why}.",
        hint="Make a new archive and drill that; one of a newer version is for that version.",
    )


def _document(archive: Archive, started: float, views: list[dict[str, Any]]) -> dict[str, object]:
    return {
        "ok": True,
        "position": archive.last_position(),
        "root": archive.manifest.head.root.hex(),
        "seconds": round(time.monotonic() - started, 3),
        "views": views,
    }
