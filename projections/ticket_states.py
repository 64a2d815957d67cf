"""What a row of the history of tickets can say of one, or of an attempt.

A module of its own, which loads nothing: the command line must know these words before anybody
asks about tickets. Behind `ticket.` each is a topic.
"""

from __future__ import annotations

from typing import Final

STATES: Final = ("issued", "redeemed", "expired", "lapsed", "refused", "not-issued")
