"""An error that nobody foresaw, told without its text, which may hold anything."""

from __future__ import annotations

from pathlib import Path

from ledger.errors import LedgerError


def unforeseen(error: Exception) -> LedgerError:
    """`unexpected`, with the error's type and the place in the code that it came from."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        where = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    return LedgerError(
        "unexpected",
        f"Something unforeseen happened: {type(error).__name__}{where}.",
        hint="Nothing is lost that was acknowledged; please report this.",
    )
