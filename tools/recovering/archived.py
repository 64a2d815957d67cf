"""Asking an archive: brought into a store of its own for one question, which is gone afterwards.

    archive ─▶ every row and signature checked ─▶ scratch store with views ─▶ the question

The scratch store is a file in a new folder that only its owner may enter, in the place for
temporary files (`TMPDIR`). What lies there is sealed as in the archive, and no keyring is put
there. A process that is killed leaves it: `credledger-archive-*`, to be deleted by hand.

The archive is taken for what it says it is. Whether it is the beginning of the log as it stands,
`log verify --archive` with anchors tells, or `backup drill`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.archive.reading import open_archive
from ledger.archive.restoring import Restoration
from ledger.errors import Unavailable
from tools.recovering.refolding import refolding
from tools.showing.show import progress
from tools.wiring import Session, open_scratch

if TYPE_CHECKING:
    from tools.people.documents import StandardInput
    from tools.settings import Settings


@contextmanager
def open_archived(
    settings: Settings, standard_input: StandardInput, directory: Path, *, operator: bool
) -> Iterator[Session]:
    """The ledger as the newest archive in a folder has it.

    `keyring-foreign`, `scratch-not-writable`, and of the archive every finding of a restore.
    """
    archive = open_archive(directory)
    with ExitStack() as left:
        folder = left.enter_context(_scratch())
        scratch = open_scratch(
            settings, standard_input, archive.ledger().id, folder, operator=operator
        )
        restoring = left.enter_context(scratch)
        opener = refolding(archive, restoring.mapper, restoring.streams, restoring.views)
        refold = left.enter_context(opener)
        restoration = Restoration(archive, restoring.store, refold, memory=restoring.memory)
        with progress("Reading the archive") as show:
            restoration.run(show)
        with restoration.finishing():
            pass  # nothing is compared: what is asked is told
        yield left.enter_context(restoring.asked())


@contextmanager
def _scratch() -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="credledger-archive-")
    except OSError as error:
        raise Unavailable(
            "scratch-not-writable",
            "The scratch place cannot be made or cleared away.",
            hint="Name another one in TMPDIR.",
        ) from error
    with folder as name:
        yield Path(name)
