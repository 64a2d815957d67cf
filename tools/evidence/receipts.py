"""The receipt of a retrieval: a proof that its record stands in the signed log, in a new file.

Whether the file can be made is looked at before anything is recorded, and room for it taken up. It
is written once the record is durable. What keeps it from being written then is told and no more:
the release is recorded, and whoever asked gets the answer; `credledger log proof` makes the same
document at any later time.

A refusal is recorded as a release is, and its receipt written as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.errors import Conflict, LedgerError, Tampered, Unavailable
from ledger.private_files import private_file
from tools.settings import real_path
from tools.showing.show import json_text, print_note

if TYPE_CHECKING:
    from tools.wiring import Session

_ROOM_BYTES = 64 * 1024
"""More than a document of a hundred signers takes."""
Prove = Callable[[int], Mapping[str, Any]]
"""Gives the document of the proof for a position."""


@contextlib.contextmanager
def receipt_in(file: str | None, prove: Prove) -> Iterator[Callable[[int], None]]:
    """What is to be told the position of the record; without a file it does nothing.

    A recorded refusal that passes through is told by itself. `receipt-exists`,
    `receipt-not-writable`.
    """
    if file is None:
        yield lambda position: None  # noqa: ARG005 # nobody asked for one
        return
    with _place(real_path(file)) as write:

        def keep(position: int) -> None:
            try:
                write(json_text(prove(position)).encode())
            except (LedgerError, OSError) as error:
                why = error.message if isinstance(error, LedgerError) else "It cannot be written."
                print_note(f"What was recorded stands, but there is no receipt: {why}")
                print_note(f"  `credledger log proof {position} --out FILE` makes one later.")

        try:
            yield keep
        except LedgerError as error:
            if error.position is not None and not isinstance(error, Tampered):
                keep(error.position)
            raise


def receipts_of(session: Session) -> Prove:
    """Proofs of an open ledger's records."""
    return lambda position: session.ledger.receipt(position).as_document()


@contextlib.contextmanager
def _place(path: Path) -> Iterator[Callable[[bytes], None]]:
    with contextlib.ExitStack() as stack:
        try:
            write = stack.enter_context(private_file(path, _ROOM_BYTES))
        except FileExistsError as error:
            raise Conflict(
                "receipt-exists",
                "There is something at the receipt's place already; nothing was released.",
                hint="Name a file that is not there yet.",
            ) from error
        except OSError as error:
            raise Unavailable(
                "receipt-not-writable",
                "The receipt cannot be written there; nothing was released.",
                hint="Check the folder's rights and the free space of its disk.",
            ) from error
        yield write
