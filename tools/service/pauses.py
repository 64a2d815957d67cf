"""How seldom the garbage collector makes a service pause.

Nearly nothing that a request leaves behind is part of a cycle, so a collector that looks as often
as it does in any program finds nothing, and takes six parts of a hundred of a read. What is there
once the ledger is open stays as long as the process: it is looked at no more, or each full look
would make all who wait at that moment wait for it.
"""

from __future__ import annotations

import gc

THRESHOLDS = (20_000, 20, 100)
"""New objects until the newest are looked at; how many such looks until older ones are, and all."""


def collect_seldom() -> None:
    """Look after so many more objects from now on."""
    gc.set_threshold(*THRESHOLDS)


def keep_what_is_there() -> None:
    """Collect once more, and look at what is left no more."""
    gc.collect()
    gc.freeze()
