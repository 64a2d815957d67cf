"""What a report tells of how the ledger is kept: changes, epochs, backups."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, ClassVar

from ledger.aggregates.backups import Backups, fold_backups
from ledger.aggregates.key_backups import KeyBackup, KeyBackupHistory, fold_key_backups
from ledger.aggregates.keys import EpochResealed, EpochStarted, KeysDestroyed
from ledger.aggregates.recorded import Recorded
from ledger.sealing.compartments import Compartment
from projections.changes import ADMINISTRATION, change_document
from projections.documents import time_text
from projections.ocsf import ACTIONS, Severity
from projections.report import Section
from projections.report_access import LISTED

SHOWN_BACKUPS = 5
_NAMING = ("application", "right", "role", "claim", "slot", "label", "hold", "days", "path")
"""What tells people which thing was changed."""
_OF_KEY_BACKUPS = ("key.", "epoch.", "slot.", "passphrase.")


class Changes(Section):
    """Administration: how often each kind of change, and the newest of those that weigh more."""

    name: ClassVar[str] = "changes"
    title: ClassVar[str] = "Administration"

    def __init__(self) -> None:
        self._topics: Counter[str] = Counter()
        self._weighty = 0
        self._newest: deque[dict[str, Any]] = deque(maxlen=LISTED)

    def see(self, recorded: Recorded, *, asked: bool) -> None:
        """Note a change."""
        if not asked or not recorded.topic.startswith(ADMINISTRATION):
            return
        self._topics[recorded.topic] += 1
        action = ACTIONS.get(recorded.topic)
        if action is not None and action.severity is not Severity.INFORMATIONAL:
            self._weighty += 1
            self._newest.append(_change(recorded))

    def told(self) -> dict[str, Any]:
        """Topics with their numbers, and the newest weighty changes first."""
        newest = list(reversed(self._newest))
        return {
            "topics": sorted(self._topics.items()),
            "rows": newest,
            "more": self._weighty - len(newest),
        }


class Epochs(Section):
    """Each generation of keys: since when, what was resealed for it, whether its secrets stand."""

    name: ClassVar[str] = "epochs"
    title: ClassVar[str] = "Epochs"

    def __init__(self) -> None:
        self._epochs: dict[int, dict[str, Any]] = {}

    def see(self, recorded: Recorded, *, asked: bool) -> None:
        """Follow the life of an epoch, from the ledger's beginning."""
        del asked
        match recorded.event:
            case EpochStarted(epoch=epoch):
                self._epochs[epoch] = {
                    "epoch": epoch,
                    "started_at": time_text(recorded.recorded_at),
                    "by": recorded.actor.authenticated_by,
                    "resealed": None,
                    "secrets": "held",
                }
            case EpochResealed(epoch=epoch, mappings=mappings) if epoch in self._epochs:
                self._epochs[epoch]["resealed"] = mappings
            case KeysDestroyed(keys=keys):
                for epoch, compartment, _ in keys:
                    if compartment == Compartment.SECRET.value and epoch in self._epochs:
                        self._epochs[epoch]["secrets"] = "destroyed"

    def told(self) -> dict[str, Any]:
        """The newest epochs first."""
        order = [self._epochs[epoch] for epoch in sorted(self._epochs, reverse=True)]
        return {"rows": order[:LISTED], "more": len(order[LISTED:])}


class BackupsMade(Section):
    """Archives of the database, drills, and copies of the keyring, as the log tells of them."""

    name: ClassVar[str] = "backups"
    title: ClassVar[str] = "Backups"

    def __init__(self) -> None:
        self._database: Backups | None = None
        self._keyring: KeyBackupHistory | None = None

    def see(self, recorded: Recorded, *, asked: bool) -> None:
        """Fold what tells of backups, from the ledger's beginning."""
        del asked
        if recorded.topic.startswith("backup."):
            self._database = fold_backups(self._database, recorded)
        elif recorded.topic.startswith(_OF_KEY_BACKUPS):
            self._keyring = fold_key_backups(self._keyring, recorded)

    def told(self) -> dict[str, Any]:
        """The newest archive, the newest drill, and the newest key backups that still stand."""
        database, keyring = self._database or Backups(), self._keyring or KeyBackupHistory()
        newest, drilled = database.newest, database.drilled
        standing = keyring.standing()
        return {
            "archive": None
            if newest is None
            else {
                "directory": newest.directory,
                "kind": newest.kind,
                "recorded_at": time_text(newest.recorded_at),
                "position": newest.position,
            },
            "drilled_at": None if drilled is None else time_text(drilled.recorded_at),
            "key_backups": [_key_backup(one) for one in reversed(standing[-SHOWN_BACKUPS:])],
            "more": len(standing[:-SHOWN_BACKUPS]),
        }


def _change(recorded: Recorded) -> dict[str, Any]:
    document = change_document(recorded)
    told = {"application": document["application"], **document["detail"]}
    named = [str(told[name]) for name in _NAMING if told.get(name) is not None]
    return {**document, "about": ", ".join(named)}


def _key_backup(backup: KeyBackup) -> dict[str, Any]:
    return {
        "path": backup.path,
        "recorded_at": time_text(backup.recorded_at),
        "by": backup.by,
        "newest_epoch": backup.newest_epoch,
    }
