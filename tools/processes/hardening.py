"""What the process asks of the system for itself before it holds a key: nothing of it is dumped.

A core file would hold every key and value in clear, and so does the memory that a debugger of the
same account attaches to. So no core is written (RLIMIT_CORE) and the process is not dumpable,
which shuts out `ptrace` and `/proc/PID/mem` as well (prctl(2), PR_SET_DUMPABLE); nor does it, or
any program it might start, gain rights by one that has them (PR_SET_NO_NEW_PRIVS).
"""

from __future__ import annotations

import ctypes
import os
import resource

from ledger.errors import Unavailable

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


def harden() -> None:
    """Keep this process's memory to itself; `not-hardened` where the system does not let it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    system = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_DUMPABLE, 0), (_PR_SET_NO_NEW_PRIVS, 1)):
        if system.prctl(option, value, 0, 0, 0) != 0:
            raise Unavailable(
                "not-hardened",
                f"The system does not keep this process's memory apart:"
                f" {os.strerror(ctypes.get_errno())}.",
                hint="The service runs on Linux, where prctl(2) does it.",
            )
