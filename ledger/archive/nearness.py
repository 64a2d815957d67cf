"""Which copies of keyring and database lie together, so that one theft takes both.

A key backup lies with the database where its folder is the database's or below it. With an
archive it lies where the folder of one is that of the other or below it, whichever is below: who
carries off the outer folder has both.

    stick/keyring   stick/archive        together: `stick` holds both
    stick/keyring   stick/sub/archive    together
    safe/keyring    tape/archive         apart, if on the same disk, which is only warned of

Folders that the log tells of are not all there: media come and go under the same path. So an
archive below a key backup's folder counts where it is there. So does one that no log tells of,
which is looked for in the folders above the key backup, in its own, and in those right in that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ledger.archive.folder import holds_archive
from ledger.errors import Refused
from ledger.places import folders_in, is_there, is_within, share_a_place


def lies_with_database(copy: Path, folders: Iterable[Path]) -> bool:
    """Whether a key backup lies with the database or an archive; `folders` are those on record."""
    told, home = list(folders), copy.parent
    if any(is_within(home, folder) for folder in told):
        return True
    near = [*copy.parents, *folders_in(home), *(one for one in told if is_within(one, home))]
    return any(map(holds_archive, near))


def refuse_beside_database(copy: Path, folders: Iterable[Path]) -> None:
    """`key-backup-beside-database` for a key backup that would lie like that."""
    if lies_with_database(copy, folders):
        raise Refused(
            "key-backup-beside-database",
            "The key backup would lie with the database or with a backup of it.",
            hint="Whoever gets that folder would have both; choose a place of its own, best on a"
            " medium that is stored elsewhere.",
        )


def refuse_place(
    directory: Path, keyring: Path, store: Path | None, key_backups: Iterable[Path] = ()
) -> None:
    """An archive must not share a place with the keyring, nor with the database it is to outlive.

    `backup-beside-keyring`, `backup-beside-store`; neither may lie in the other's folder. Nor may
    it with a recorded copy of the keyring, `backup-beside-key-backup`: one that lies further out
    counts if it is there.
    """
    ours = Path(os.path.realpath(directory))
    for copy in key_backups:
        if is_within(copy.parent, ours) or (is_there(copy) and is_within(ours, copy.parent)):
            raise Refused(
                "backup-beside-key-backup",
                "A recorded backup of the keyring lies in that folder, or in one around it: both"
                " together are the credentials.",
                hint="Give a folder elsewhere, best on another disk.",
            )
    if share_a_place(ours, Path(os.path.realpath(keyring)).parent):
        raise Refused(
            "backup-beside-keyring",
            "The archive would share a folder with the keyring: both together are the credentials.",
            hint="Give a folder elsewhere, best on another disk.",
        )
    if store is not None and share_a_place(ours, Path(os.path.realpath(store)).parent):
        raise Refused(
            "backup-beside-store",
            "The archive would share a folder with the database: what takes one takes both.",
            hint="Give a folder elsewhere, best on another disk.",
        )
