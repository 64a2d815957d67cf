"""A witness: a second key in a second place, which cosigns only what goes on from all it has seen.

    remembered head ── rows and heads since, each checked ──▶ newest head ── remember ──▶ cosign

It needs nothing but its own folder and the ledger id: signers are checked from the id on, every
signature and leaf since the remembered head, and the tree must continue the remembered one. A log
that is shorter, has another root there, is another ledger's, or holds anything that was not signed
by who may is refused, and the witness remembers what it did before.

Limits: the first run sees the whole log, later ones the rows since; that what lies below is still
what it was is for `ledger.log.verification` to find, and the tree binds it. Whose an auditor's
stream is can be told within one run only. Its clock is believed, but never told to go backwards: a
cosignature carries the time of the one before where the clock is behind it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ledger.anchors.cosignature import cosign
from ledger.anchors.witness_folder import Seen, WitnessFolder
from ledger.errors import Tampered
from ledger.log.checkpoint import head_text, note
from ledger.log.following import CheckedHead, Follower, forked
from ledger.log.rows import CommitRow
from ledger.log.store import LogSource
from ledger.replacing import replace

_HINT = (
    "The witness signs no fork, and remembers what it did before: keep a copy of the store and"
    " find out who changed it."
)
_OWN_WORDS = {
    "rolled-back": "The log is shorter than the witness has seen it.",
    "forked": "The log is not the one that the witness has seen.",
}


class Cosigned(msgspec.Struct, frozen=True):
    """A head that was cosigned."""

    seen: Seen
    note: str
    """The signed note, the log's own signature first."""


def cosign_newest(
    folder: WitnessFolder,
    source: LogSource,
    clock: Callable[[], int],
    hand_out: Callable[[str], None],
) -> Cosigned:
    """Check the log's newest head, remember it, cosign it and hand it out, under one lock.

    `clock` tells microseconds UTC. Raises `Tampered` (`rolled-back`, `forked`, `another-ledger` and
    all that `ledger.log.following` finds) with nothing remembered or signed.
    """
    with folder.held():
        seen = folder.recall()
        key = folder.key_of(seen)
        head, commit = _newest(source, seen)
        time_s = max(clock() // 1_000_000, seen.signed_at)
        seen = replace(seen, head=head, signed_at=time_s)
        folder.remember(seen, key)
        text = head_text(seen.ledger_id, head.size, commit.root, head.signers)
        signed = note(seen.ledger_id, text, commit.signer, commit.signature)
        cosigned = Cosigned(seen, signed + cosign(seen.key.name, key, text, time_s).line())
        hand_out(cosigned.note)
    return cosigned


def _newest(source: LogSource, seen: Seen) -> tuple[CheckedHead, CommitRow]:
    """The newest head and its commit, all since the remembered one checked."""
    try:
        return _followed(source, seen)
    except Tampered as error:
        message = _OWN_WORDS.get(error.code, error.message)
        raise Tampered(error.code, message, hint=_HINT, position=error.position) from error


def _followed(source: LogSource, seen: Seen) -> tuple[CheckedHead, CommitRow]:
    follower, head = _follower(source, seen), seen.head
    while True:
        with source.reading() as reading:
            moved = follower.follow(reading, head)
            if moved.size == head.size:
                follower.check_head(reading, head)
                commit = reading.commit_at(head.size)
                break
        head = moved
    if commit is None:
        raise Tampered("missing-row", "The log has no rows at all.", position=1)
    return head, commit


def _follower(source: LogSource, seen: Seen) -> Follower:
    """Whoever moves on from the remembered head, if the log has that head or has lost it only."""
    with source.reading() as reading:
        ledger = reading.ledger()
        if ledger is None or ledger.id != seen.ledger_id:
            raise Tampered("another-ledger", "The log is not that of the witness's ledger.")
        then = reading.commit_at(seen.head.size) if seen.head.size else None
        # A head that was taken away is no fork: the tree that goes on from it says the same.
        if then is not None and then.root != seen.head.frontier.root():
            raise forked(seen.head)
    return Follower(ledger, every_signature=True)
