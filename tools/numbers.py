"""How large a number may be that somebody gives: a place in the log, a version, a count.

Every reader of JSON tells whole numbers up to this one apart, those that keep them in a double as
well, and either store holds it with room for the next one.
"""

from __future__ import annotations

from typing import Final

NUMBER_MAX: Final = (1 << 53) - 1
