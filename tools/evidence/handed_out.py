"""A file with evidence for others to read: a new one, or one that is replaced on purpose."""

from __future__ import annotations

from pathlib import Path

from ledger.errors import Conflict, Unavailable


def write_handed_out(path: Path, text: str, *, force: bool) -> None:
    """Write a file that is not there yet, or with `force` over one that is.

    `file-exists` where there is something already, which may be evidence that is kept nowhere
    else; `file-not-writable` for the rest.
    """
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise Conflict(
            "file-exists",
            "There is something at that place already.",
            hint="Name a file that is not there yet, or replace that one with --force.",
        ) from error
    except OSError as error:
        raise Unavailable(
            "file-not-writable",
            "The file cannot be written there.",
            hint="Check the folder's rights and the free space of its disk.",
        ) from error
