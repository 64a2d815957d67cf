"""The garbage collector in a process that serves."""

from __future__ import annotations

import subprocess
import sys

from tools.service.pauses import THRESHOLDS

_LOOKS = """
import gc, weakref
from tools.service.pauses import collect_seldom, keep_what_is_there

class Node:
    pass

def cycle():
    node = Node()
    node.itself = node
    return weakref.ref(node)

collect_seldom()
before = cycle()
keep_what_is_there()
assert before() is None, "what was garbage is not kept"
after = cycle()
gc.collect()
assert after() is None, "what becomes garbage later is found"
print(gc.get_threshold(), gc.get_freeze_count() > 1000)
"""


def test_a_service_collects_seldom_and_looks_at_what_it_began_with_no_more():
    """Garbage from before goes first, and garbage from after is still found."""
    told = subprocess.run(
        [sys.executable, "-c", _LOOKS], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout == f"{THRESHOLDS} True\n"
