"""Who did something: the claim that acted, and how that was known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of an event, set by the ledger and never by the caller's own words."""

    claim: str
    """`operator`, `auditor`, or the text of the claim that acted."""
    slot: int
    """The slot that was unlocked."""
    label: str
    account: str
    """The operating system's account, as NAME@HOST."""
    opens: str = "operator"
    """The slot's class: `operator` or `auditor`."""

    @property
    def authenticated_by(self) -> str:
        """How it was known, such as `operator:2/alice@host`."""
        return f"{self.opens}:{self.slot}/{self.account}"
