"""What `backup create` leaves in a folder: the part that was asked for, and what a kill left there.

    manifest ─▶ (killed here) ─▶ record

A part that is whole and that the log does not know was cut off before its record. It is taken up:
its rows are read back and checked against the store, and the new part goes on from it. Nothing else
of its manifest is believed, for nobody wrote down its digest: ledger and signers are the store's,
digests of views count only where the store's own views stand at the same head, and where the
keyring's rows are is looked up. A manifest that reads otherwise is written anew.

Both are recorded together by the caller, before it lets the folder go.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from ledger.archive.folder import ArchiveFolder
from ledger.archive.manifest import Manifest
from ledger.archive.reading import Archive, Part
from ledger.archive.writing import Progress, Taken, check_part, write_part
from ledger.errors import Conflict, NotFound, Tampered
from ledger.log.store import Store
from ledger.replacing import replace


class Created(msgspec.Struct, frozen=True):
    """Parts that are whole, checked and durable, and that the log does not know yet."""

    taken_up: tuple[Manifest, ...]
    """What a kill had left, the oldest first."""
    written: Manifest | None
    """None where all that was to be archived lay there already."""

    @property
    def parts(self) -> tuple[Manifest, ...]:
        """All that are to be recorded, the oldest first."""
        return self.taken_up if self.written is None else (*self.taken_up, self.written)


def create_archive(
    store: Store,
    folder: ArchiveFolder,
    taken: Taken,
    recorded: Collection[bytes],
    progress: Progress,
) -> Created:
    """Take up what was left in the folder, and write what is beyond it.

    `recorded` are digests of all parts that the log knows; the caller is alone with the folder.
    `archive-exists` where the folder holds something that this does not go on from.
    """
    taken_up: list[Manifest] = []
    for left in _left(store, folder, taken, recorded):
        taken_up.append(_taken_up(store, folder, taken, left, taken_up, progress))
    if taken_up and taken_up[-1].head == taken.head:
        return Created(tuple(taken_up), None)
    if taken_up:
        taken = replace(taken, after=taken_up[-1].head.size, previous=taken_up[-1].digest)
    return Created(tuple(taken_up), write_part(store, folder, taken, progress))


def _left(
    store: Store, folder: ArchiveFolder, taken: Taken, recorded: Collection[bytes]
) -> list[Manifest]:
    """What the log does not know of the newest archive in the folder, the oldest part first.

    All that lies there must be of this log: a part of another branch could be longer, and be taken
    for the newest later. A full archive goes on from nothing that lies elsewhere.
    """
    there = _manifests(folder)
    for manifest in there:
        with store.reading() as reading:
            ours = reading.commit_at(manifest.head.size) == manifest.head
        if not ours:
            raise _archive_exists()
    beyond = [one for one in there if one.head.size > taken.after]
    newest = max(beyond, key=lambda one: (one.head.size, -one.after), default=None)
    chain = [] if newest is None else _chain(newest, there, recorded)
    is_whole = bool(chain) and chain[0].previous is None
    left = [one for one in chain if one.digest not in recorded]
    if there and taken.previous is None and not (is_whole and newest in left):
        raise _archive_exists()
    return left


def _manifests(folder: ArchiveFolder) -> list[Manifest]:
    try:
        return folder.manifests()
    except NotFound:
        return []
    except Tampered as error:
        raise _not_to_go_on_from(error) from error


def _chain(
    newest: Manifest, there: Sequence[Manifest], recorded: Collection[bytes]
) -> list[Manifest]:
    """The part and those that it goes on from, as far as they lie here.

    Empty where one is missing that the log does not know either.
    """
    chain = [newest]
    while (wanted := chain[0].previous) is not None:
        fitting = (one for one in there if (one.digest, one.head.size) == (wanted, chain[0].after))
        found = next(fitting, None)
        if found is None:
            return chain if wanted in recorded else []
        chain.insert(0, found)
    return chain


def _taken_up(
    store: Store,
    folder: ArchiveFolder,
    taken: Taken,
    left: Manifest,
    before: Sequence[Manifest],
    progress: Progress,
) -> Manifest:
    """The part with a manifest that can be answered for, once its rows are checked."""
    manifest = Manifest(
        taken.ledger,
        left.after,
        before[-1].digest if before else left.previous,
        left.head,
        tuple(row for row in taken.signers if row.from_size < left.head.size),
        left.segments,
        taken.views if left.head == taken.head else (),
    )
    part = Part(folder, manifest)
    try:
        keyring = tuple(row.position for row in Archive([part]).keyring_rows(taken.keyring_stream))
        check_part(store, part, progress)
    except Tampered as error:
        raise _not_to_go_on_from(error) from error
    if left.keyring is not None:
        manifest = replace(manifest, keyring=keyring)
    if manifest != left:
        folder.complete(manifest)
    return manifest


def _not_to_go_on_from(error: Tampered) -> Tampered:
    """The same with what helps somebody who wants a new archive, and not this one."""
    hint = "Give another folder; what lies in this one cannot be gone on from."
    return Tampered(error.code, error.message, hint=hint, position=error.position)


def _archive_exists() -> Conflict:
    return Conflict(
        "archive-exists",
        "There is another archive in that folder already.",
        hint="Give another folder, or go on from the newest backup with --since-backup.",
    )
