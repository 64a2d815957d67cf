"""The hosts of a ledger as the command line shows them, and what `doctor` says of those behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tools.doctor.findings import WARNING, Finding
from tools.when import to_text

if TYPE_CHECKING:
    from tools.wiring import Session


def host_documents(session: Session) -> list[dict[str, Any]]:
    """What each host told last; `this` is the one that answers."""
    hosts, current = session.ledger.hosts, session.ledger.key_history().current
    own = None if hosts.this is None else hosts.this.id
    return [
        {
            "host": seen.number,
            "by": seen.by,
            "newest_epoch": seen.newest,
            "state": seen.state(current),
            "seen_at": to_text(seen.recorded_at),
            "position": seen.position,
            "this": seen.host == own,
        }
        for seen in hosts.seen()
    ]


def host_findings(session: Session) -> Iterator[Finding]:
    """Other hosts whose copy of the keyring is not ready for the next rotation."""
    for host in host_documents(session):
        if host["this"] or host["state"] == "ready":
            continue
        what = (
            "one more rotation, and that host stops"
            if host["state"] == "behind"
            else "that host cannot open the ledger"
        )
        yield Finding(
            "host-behind",
            WARNING,
            f"Host {host['host']} ({host['by']}) was last seen with a keyring up to epoch"
            f" {host['newest_epoch']}: {what}.",
            "Copy this keyring there and use it once, or `credledger key host forget"
            f" {host['host']}` if that host is no more.",
        )
