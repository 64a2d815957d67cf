"""What is installed besides the ledger for those who need it, and how: the extras of the package.

A program is often run from a virtual environment that is not the shell's, so whoever lacks an extra
is told the interpreter whose `pip` brings it to the place where it is missed.
"""

from __future__ import annotations

import shlex
import sys


def how_to_install(extra: str) -> str:
    """The command that installs an extra where this program runs, as a hint tells it."""
    return (
        f"Install them with `{shlex.quote(sys.executable)} -m pip install 'credledger[{extra}]'`."
    )
