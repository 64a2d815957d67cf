"""Giving field values to a program: in its environment, or as private memory files.

    Windows Password   ->  WINDOWS_PASSWORD      letters and digits upper-case, the rest _

Texts are UTF-8 there, whatever the locale. Bytes always go as a file in memory (memfd), sealed
against change, that no folder shows; the variable then holds its path. The path names this process,
so a program's children can open it while the program runs. `CREDLEDGER_*` is never handed on.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ledger.errors import InvalidInput, Refused, Unavailable
from ledger.values import FieldValue
from tools.settings import OWN_PREFIX, handed_on

STANDARD_ERROR = 2
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEERING = {"PATH", "HOME", "SHELL", "IFS", "ENV", "BASH_ENV", "TMPDIR"}
_STEERING_PREFIXES = ("LD_", "DYLD_", "PYTHON", OWN_PREFIX)


def parse_assignments(pairs: Sequence[str], option: str) -> dict[str, str]:
    """`VAR=FIELD` texts as a dict; `invalid-variable` for what is none."""
    found: dict[str, str] = {}
    for pair in pairs:
        variable, equals, field = pair.partition("=")
        if not equals or not field or not _VARIABLE.fullmatch(variable) or variable in found:
            raise InvalidInput(
                "invalid-variable",
                f"{option} is written VARIABLE=FIELD, each variable once.",
                hint=f"For example {option} PGPASSWORD=Password.",
            )
        if variable.startswith(OWN_PREFIX):
            raise InvalidInput("invalid-variable", f"{OWN_PREFIX}* is not handed on.")
        found[variable] = field
    return found


def require_program(command: Sequence[str]) -> None:
    """Refuse a command that cannot be run, before anything is read: `command-not-found`."""
    if not command or shutil.which(command[0], path=handed_on().get("PATH")) is None:
        raise InvalidInput(
            "command-not-found", "The command to run was not found.", hint="Check its name."
        )


def default_variable(field: str) -> str:
    """The variable that a field goes to unless another is named."""
    name = re.sub(r"[^A-Z0-9]", "_", field.upper())
    return name if _VARIABLE.fullmatch(name) else f"_{name}"


@contextmanager
def environment_with(
    values: Mapping[str, FieldValue],
    variables: Mapping[str, str],
    files: Mapping[str, str],
) -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
    """The environment for a program, and the descriptors of memory files it needs open.

    `variables` and `files` map variables to fields as shown; a field named in neither goes to its
    default variable. `value-not-for-environment` for a NUL in a text.
    """
    environment = handed_on()
    descriptors: list[int] = []
    try:
        for variable, field, as_file in _plan(values, variables, files):
            content = values[field].reveal()
            if as_file or isinstance(content, bytes):
                descriptors.append(_memory_file(content))
                environment[variable] = f"/proc/{os.getpid()}/fd/{descriptors[-1]}"
            else:
                environment[variable] = _text(content)
        yield environment, tuple(descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def become(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Replace this process by the command; returns only by an error, `command-not-run`."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores these, and what is ignored stays so in the program: `yes | head` complained.
    ours = {number: signal.signal(number, signal.SIG_DFL) for number in _IGNORED}
    try:
        os.execvpe(command[0], list(command), dict(environment))
    except OSError as error:
        for number, handler in ours.items():
            signal.signal(number, handler)
        raise InvalidInput(
            "command-not-run", f"The command could not be run: {error.strerror}."
        ) from error


def check_with(command: Sequence[str], values: Mapping[str, FieldValue]) -> None:
    """Run a command with the values in its environment; `check-failed` unless it ends with 0."""
    with environment_with(values, {}, {}) as (environment, descriptors):
        try:
            ended = subprocess.run(
                list(command),
                env=environment,
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=STANDARD_ERROR,
                check=False,
            )
        except OSError as error:
            raise InvalidInput(
                "command-not-run", f"The command could not be run: {error.strerror}."
            ) from error
    if ended.returncode != 0:
        raise Refused(
            "check-failed",
            f"The check ended with status {ended.returncode}; nothing was set.",
            hint="The back-end system may not accept these values; try them there.",
        )


def _plan(
    values: Mapping[str, FieldValue], variables: Mapping[str, str], files: Mapping[str, str]
) -> Iterator[tuple[str, str, bool]]:
    shown = {field.casefold(): field for field in values}
    named: set[str] = set()
    taken: set[str] = set()
    for chosen, as_file in ((variables, False), (files, True)):
        for variable, field in chosen.items():
            known = shown.get(field.casefold())
            if known is None:
                raise InvalidInput("unknown-field", "A field named for a variable is not there.")
            if variable in taken:
                raise InvalidInput("invalid-variable", "A variable was named twice.")
            named.add(known)
            taken.add(variable)
            yield variable, known, as_file
    for field in values:
        if field in named:
            continue
        variable = default_variable(field)
        if variable in taken or variable in _STEERING or variable.startswith(_STEERING_PREFIXES):
            raise InvalidInput(
                "variable-in-use",
                f"The field's default variable {variable} is needed for something else.",
                hint="Name another with --env VARIABLE=FIELD.",
            )
        taken.add(variable)
        yield variable, field, False


def _text(content: str) -> str:
    if "\0" in content:
        raise InvalidInput(
            "value-not-for-environment",
            "A value holds a NUL character, which no environment can.",
            hint="Hand it over with --file VARIABLE=FIELD.",
        )
    # As what the locale's encoding, in which Python writes an environment, makes UTF-8 of.
    return os.fsdecode(content.encode())


def _memory_file(content: str | bytes) -> int:
    if not hasattr(os, "memfd_create"):
        raise Unavailable("no-memory-file", "This system has no memory files.")
    data = content.encode() if isinstance(content, str) else content
    descriptor = os.memfd_create("credledger", os.MFD_ALLOW_SEALING)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    fcntl.fcntl(
        descriptor,
        fcntl.F_ADD_SEALS,
        fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE,
    )
    return descriptor
