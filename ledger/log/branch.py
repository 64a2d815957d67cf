"""What one process knows of the log that it follows, as long as it is that one.

A store can be put back to an older log, and an operator accept that: it is another branch then.
What was folded and checked of the one that was given up, the tips of its streams, where its keys
began and which stream this process wrote its accesses to say nothing of the one of now. So it all
lies together, and whoever goes on from another branch begins with nothing of this one. A thread
that is still at work with the old one cannot mix them: it moves what nobody goes by any more.
"""

from __future__ import annotations

import threading

from ledger.log.following import CheckedHead, Follower
from ledger.log.tips import StreamTips, Tip
from ledger.log.transaction import Equipment, Request


class Branch:
    """One log as far as this process has followed it."""

    def __init__(
        self,
        head: CheckedHead,
        tips: StreamTips,
        follower: Follower,
        equipment: Equipment,
        alongside: tuple[Request[bool], ...],
    ) -> None:
        self.head = head
        """The newest head this process has checked."""
        self.tips = tips
        self.follower = follower
        self.equipment = equipment
        self.keyring_tip: Tip | None = None
        """That of the keyring's stream when keys and epochs were looked at last."""
        self.epoch_known = 0
        self.epoch_began = 0
        self.alongside = alongside
        """What is attempted with whatever is appended, and has not answered True here."""
        self._guard = threading.Lock()

    def advance(self, head: CheckedHead) -> CheckedHead:
        """Move to this head unless another thread has gone further already."""
        with self._guard:
            if head.size > self.head.size:
                self.head = head
        return head

    def adopt(self, head: CheckedHead) -> None:
        """Go on from what another process of this host has checked and remembered.

        What this one recorded last may not be there: its host need not have remembered it yet when
        the log was put back, or lost its end. Its access stream would have a gap.
        """
        self.equipment.access_streams.forget()
        self.tips.adopt(head.size)
        self.follower.forget_book()
        self.advance(head)

    def forget(self) -> None:
        """Fold anew, into a new access stream: a failure left it unclear what was committed."""
        self.equipment.folds.forget()
        self.equipment.access_streams.forget()

    def renew_after_fork(self) -> None:
        """The child writes to an access stream of its own, and has locks of its own."""
        self._guard = threading.Lock()
        self.equipment.access_streams.forget()
        self.tips.renew_after_fork()
