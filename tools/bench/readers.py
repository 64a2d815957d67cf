"""Several processes of one host that read at once, sharing the keyring's folder and its memory.

    python -m tools.bench.readers SECONDS    is one of them

Each opens the ledger, says `ready`, waits for a line, reads from sixteen callers for some seconds,
and says how many reads it was answered. Settings come from the environment, as a command's do.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from tools.bench.figures import Fact
from tools.bench.grown import Grown
from tools.bench.latencies import read_until
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.wiring import open_session

CALLERS = 16
_PROCESSES = (1, 2, 4)
_SECONDS = 3.0
_TIMEOUT_S = 120


def reader_facts(grown: Grown) -> Iterator[Fact]:
    """All reads in a second of one process, of two and of four."""
    for processes in _PROCESSES:
        several = "1 process" if processes == 1 else f"{processes} processes"
        name = f"audited reads, {several} of {CALLERS} callers"
        yield Fact(grown.place.name, name, _reads(grown, processes) / _SECONDS, "/s")


def _reads(grown: Grown, processes: int) -> int:
    line = [sys.executable, "-m", "tools.bench.readers", str(_SECONDS)]
    readers = [
        subprocess.Popen(
            line, env=grown.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        for reader in readers:
            assert reader.stdin is not None
            reader.stdin.write("\n")
            reader.stdin.flush()
        return sum(int(reader.communicate(timeout=_TIMEOUT_S)[0]) for reader in readers)
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()


def main() -> None:
    """Be one of the processes."""
    seconds = float(sys.argv[1])
    with open_session(decide(Given()), StandardInput()) as session:
        read_until(session, CALLERS, 0.5)
        print("ready", flush=True)
        sys.stdin.readline()
        print(len(read_until(session, CALLERS, seconds)))


if __name__ == "__main__":
    main()
