"""How often the interpreter looks for garbage in circles: seldom, in processes that end soon.

What a long work holds of a log only grows, and every look goes through all of it; of a rotation or
a restore a twelfth of the processor's time went there. What is in no circle is let go at once all
the same.
"""

from __future__ import annotations

import gc

_NEW_OBJECTS = 100_000


def collect_seldom() -> None:
    """Look for garbage only after so many new objects, and never among those that are there."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
