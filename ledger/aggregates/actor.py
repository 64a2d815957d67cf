"""Who did something: the claim that acted, and how that was known."""

from __future__ import annotations

import msgspec

from ledger.aggregates.presented import PresentedToken


class Actor(msgspec.Struct, frozen=True):
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
    """The token that spoke for the claim; None where none did."""
    peer: int | None = None
    """The number of the account that the system named as a socket's peer; None where it did not."""

    @property
    def authenticated_by(self) -> str:
        """How it was known: `operator:2/alice@host`, where the slot's word is all there is.

        Before it stands `token:ISSUER;` where one spoke, or `unix:UID;` where the system did.
        """
        slot = f"{self.opens}:{self.slot}/{self.account}"
        if self.token is not None:
            return f"token:{self.token.issuer};{slot}"
        return slot if self.peer is None else f"unix:{self.peer};{slot}"
