"""Commands run as whole processes: how long they take, and the memory they reach."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tools.bench.figures import Fact, median_ms

_LOOK_S = 0.02


class Finished(msgspec.Struct, frozen=True):
    """One command's run."""

    seconds: float
    peak_mib: float
    output: bytes

    @property
    def document(self) -> Any:
        """What it printed with `--json`."""
        return json.loads(self.output)


def seconds_of(arguments: tuple[str, ...], environment: Mapping[str, str] | None = None) -> float:
    """How long a command takes from the start of its process to its end."""
    started = time.perf_counter()
    subprocess.run(_line(arguments), check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def finished(arguments: tuple[str, ...], environment: Mapping[str, str]) -> Finished:
    """Run a command to its end and see how much memory it reached, with all that it started."""
    peaks: dict[int, int] = {}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        command = subprocess.Popen(_line(arguments), stdout=output, stderr=errors, env=environment)
        while command.poll() is None:
            peaks |= peaks_kib(command.pid)
            with suppress(subprocess.TimeoutExpired):
                command.wait(_LOOK_S)
        seconds = time.perf_counter() - started
        output.seek(0)
        errors.seek(0)
        if command.returncode:
            raise subprocess.CalledProcessError(
                command.returncode, command.args, stderr=errors.read()
            )
        return Finished(seconds, sum(peaks.values()) / 1024, output.read())


def peaks_kib(process: int) -> dict[int, int]:
    """The most memory that a process and all below it have had so far, by process (proc(5))."""
    peaks: dict[int, int] = {}
    # One that ends meanwhile is left out, and what was seen of it before counts.
    with suppress(OSError, IndexError):
        told = Path(f"/proc/{process}")
        status = (told / "status").read_text(encoding="utf-8")
        peaks[process] = int(status.partition("VmHWM:")[2].split()[0])
        for task in (told / "task").iterdir():
            for child in (task / "children").read_text(encoding="utf-8").split():
                peaks |= peaks_kib(int(child))
    return peaks


def help_fact(runs: int) -> Fact:
    """How long `credledger --help` takes."""
    value = median_ms([lambda: seconds_of(("--help",))] * (runs + 2))
    return Fact("", "credledger --help", value, "ms")


def _line(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "tools.cli.main", *arguments]
