"""The JSON shapes of keeping and erasing access records, and what is said of what is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projections.streams import signed_position_at
from tools.when import counted, parse_moment, to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.aggregates.retention import Hold
    from ledger.usecases.outcomes import ErasureOutcome
    from tools.wiring import Session


def retention_document(session: Session) -> dict[str, Any]:
    """What `key retention show` tells."""
    retention = session.ledger.retention.state()
    policy = retention.policy
    return {
        "access_older_than_days": retention.days,
        "set_at": None if policy is None else to_text(policy.recorded_at),
        "set_by": None if policy is None else policy.by,
        "holds": [hold.name for hold in retention.holds.values()],
        "erased_until": retention.until,
        "erasures": [
            {
                "position": erasure.position,
                "until": erasure.until,
                "recorded_at": to_text(erasure.recorded_at),
                "by": erasure.by,
            }
            for erasure in retention.erasures
        ],
        **standing_copies(session),
    }


def standing_copies(session: Session) -> dict[str, Any]:
    """What opens erased records still, as far as is known here, and whether an erasure is final.

    It is not while it is only decided, which `unfinished` tells by where that is recorded.
    Recorded key backups from before the newest erasure hold keys that it destroyed, until somebody
    attests their end. So do files beside this host's keyring, until they are removed.
    """
    erasures = session.ledger.retention.state().erasures
    backups = [
        {"position": backup.position, "path": backup.path}
        for backup in session.ledger.key_backups.history().standing()
        if erasures and backup.position < erasures[-1].position
    ]
    unfinished = session.ledger.retention.undone()
    kept = [
        str(file.path) for file in session.ledger.key_backups.kept_files() if file.opens_accesses
    ]
    return {
        "key_backups": backups,
        "kept_files": kept,
        "unfinished": unfinished,
        "final": bool(erasures) and not backups and not kept and unfinished is None,
    }


def hold_document(hold: Hold) -> dict[str, Any]:
    """One of what `key hold list` tells."""
    return {
        "name": hold.name,
        "set_at": to_text(hold.recorded_at),
        "by": hold.by,
        "reason": hold.reason,
        "position": hold.position,
    }


def erasure_document(outcome: ErasureOutcome, *, dry_run: bool) -> dict[str, Any]:
    """What `key retention apply` tells."""
    return {
        "dry_run": dry_run,
        "access_older_than_days": outcome.days,
        "holds": list(outcome.holds),
        "months": _shown(outcome.months),
        "keys": outcome.keys,
        "records": outcome.records,
        "until": outcome.until,
        "position": outcome.position,
        "finishes": outcome.finishes,
    }


def _shown(months: Sequence[int]) -> list[str]:
    return [f"{month // 100:04}-{month % 100:02}" for month in months]


def erasure_sentence(document: dict[str, Any]) -> str:
    """The same for people."""
    if document["finishes"] is not None:
        verb = "Would finish" if document["dry_run"] else "Finished"
        before = f"{verb} the erasure decided at position {document['finishes']}. "
        return before + _erasure_sentence(document)
    return _erasure_sentence(document)


def _erasure_sentence(document: dict[str, Any]) -> str:
    if not document["dry_run"] and document["holds"]:
        return "Nothing more is erased while a hold is set."
    if not document["months"]:
        if document["access_older_than_days"] is None:
            return "No policy is set: all access records are kept."
        return "Nothing is old enough to be erased."
    months = document["months"]
    span = _between(months)
    what = f"{counted(len(months), 'month')} ({span}), {counted(document['records'], 'record')}"
    if document["dry_run"]:
        return f"Would erase {what}, up to position {document['until']}."
    return f"Erased {what}, up to position {document['until']}."


def _between(months: Sequence[str]) -> str:
    return months[0] if len(months) == 1 else f"{months[0]} to {months[-1]}"


def erased_in_answer(
    session: Session,
    *,
    rows: int = 0,
    limit: int = 0,
    since: str | None = None,
    after: int | None = None,
    first: int = 1,
) -> str | None:
    """What to say with an answer of the access history that reaches into what is erased.

    It begins at a time, or at the first position that is asked about.
    """
    retention = session.ledger.retention.state()
    if limit and rows >= limit:
        return None
    if months := session.ledger.retention.untold():
        return (
            f"The keys of access records of {_between(_shown(months))} are destroyed, though this log tells of"
            " no erasure, as after a restore of an older archive: such records are left out here."
        )
    if not retention.erasures:
        return None
    until = retention.until
    if since is not None:
        begin = parse_moment(since, session.now())
        with session.store.reading() as reading:
            first = signed_position_at(reading, session.mapper, begin - 1) + 1
    if first > until or (after is not None and after <= 1):
        return None
    *earlier, newest = retention.erasures
    why = f"{newest.why}, and earlier ones before" if earlier else newest.why
    return f"Records up to position {until} were {why}; some may have been asked for here."
