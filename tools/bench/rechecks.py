"""How fast accesses are decided again, by one process and by two.

What is measured is the deciding itself in an open ledger, with the start of the processes that
share it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from projections.redecide import redecide
from projections.redeciding import STRETCH_ROWS
from tools.asking.rechecking import redecide_together
from tools.bench.figures import Fact
from tools.bench.grown import Grown
from tools.bench.sharing import Sharing
from tools.showing.show import progress
from tools.wiring import Session

_STRETCHES_MIN = 4
_SHARING = Sharing("accesses decided again", 100_000.0)


def recheck_facts(grown: Grown) -> Iterator[Fact]:
    """Accesses a second by one and by two, and what part of the one's time the two take.

    The two are asked where the log is long enough to be shared, though the command would leave a
    log of this length to one.
    """
    is_shared = grown.size >= _STRETCHES_MIN * STRETCH_ROWS
    with grown.opened() as session:
        yield from _SHARING.facts(grown, partial(_rate, session), is_shared=is_shared)


def _rate(session: Session, jobs: int) -> float:
    started = time.perf_counter()
    if jobs == 1:
        found = redecide(session.store, session.mapper)
    else:
        with progress("Deciding again") as show:
            together = redecide_together(session, jobs, show)
        assert together is not None
        found = together.as_document()
    seconds = time.perf_counter() - started
    assert not found["wrong"]
    assert not found["unreadable"]
    return int(found["checked"]) / seconds
