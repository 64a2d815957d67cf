"""Who did something: the claim that acted, and how that was known."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.aggregates.presented import PresentedToken


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
    token: PresentedToken | None = None
    """The token that spoke for the claim; None where the slot's word is all there is."""

    @property
    def authenticated_by(self) -> str:
        """How it was known: `operator:2/alice@host`, after `token:ISSUER;` where one spoke."""
        slot = f"{self.opens}:{self.slot}/{self.account}"
        return slot if self.token is None else f"token:{self.token.issuer};{slot}"
