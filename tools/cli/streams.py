"""The standard streams as a program may find them: closed, a pipe that ends, a narrow encoding."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TextIO

import click

from ledger.errors import Unavailable

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def take_up() -> None:
    """Make the standard streams fit to use; `no-output` if nobody could hear the answer.

    The number of a closed one would be given to the next file that is opened, be it the store,
    and what is written to the stream, here or by a program that is run, would land in there.
    """
    heard = sys.stdout is not None
    for number, (name, mode) in enumerate(_MODES.items()):
        if getattr(sys, name) is None:
            _occupy(number)
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 # lives on
            setattr(sys, name, stream)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # What a terminal's encoding lacks is spelled out; nothing recorded fails by it.
            stream.reconfigure(errors="backslashreplace")
    if not heard:
        raise Unavailable(
            "no-output",
            "Standard output is closed: nobody could hear the answer.",
            hint="Send it to /dev/null if it is not wanted; nothing was done.",
        )


def is_output_gone() -> bool:
    """Whether whoever read standard output through a pipe or socket has gone away."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    return bool(asked.poll(0))


def drop(stream: TextIO) -> None:
    """Point a standard stream at nothing, so that the interpreter's last flush stays quiet."""
    try:
        _occupy(stream.fileno())
    except (OSError, ValueError):
        name = next(name for name in _MODES if getattr(sys, name) is stream)
        setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 # lives on


@contextmanager
def ending_with(code: int) -> Iterator[None]:
    """What is printed within tells of a verdict, which is the exit code though nobody hears it out.

    Without it a reader that goes away, as `head` does, would end the command by the code of an
    answer that was merely cut short.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)
    click.get_current_context().exit(code)


def _occupy(number: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)
