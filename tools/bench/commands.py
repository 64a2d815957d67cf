"""Commands run as whole processes: how long they take, and the memory they reach.

A process that was forked inherits the peak of its parent, and this one has held much. So a
command whose memory is measured is started by a launcher that holds next to nothing itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.bench.figures import Fact, median_ms

_LAUNCHER = (
    "import os, resource, sys\n"
    "code = os.spawnv(os.P_WAIT, sys.argv[1], sys.argv[1:])\n"
    "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
    "sys.stderr.write(f'\\n{peak}')\n"
    "sys.exit(code)\n"
)
_PEAK_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Finished:
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
    """Run a command to its end and see how much memory it reached."""
    line = [sys.executable, "-S", "-E", "-c", _LAUNCHER, *_line(arguments)]
    started = time.perf_counter()
    done = subprocess.run(line, check=True, capture_output=True, env=environment)
    seconds = time.perf_counter() - started
    peak = int(done.stderr.rsplit(b"\n", 1)[-1]) * _PEAK_UNIT_BYTES
    return Finished(seconds, peak / 2**20, done.stdout)


def help_fact(runs: int) -> Fact:
    """How long `credledger --help` takes."""
    value = median_ms([lambda: seconds_of(("--help",))] * (runs + 2))
    return Fact("", "credledger --help", value, "ms")


def _line(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "tools.cli.main", *arguments]
