"""How fast keys are rotated, and a log is archived and restored."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.bench.commands import finished
from tools.bench.figures import Fact
from tools.bench.grown import Grown
from tools.bench.population import MAPPINGS_MAX

_RESEALED_MIN = {"SQLite": 20_000.0, "PostgreSQL": 10_000.0}
_RESTORED_MIN = 50_000.0
RESEALED = f"mappings sealed anew in a rotation of {MAPPINGS_MAX:,}"
RESTORED = "events restored, views rebuilt"


def rotation_fact(grown: Grown) -> Fact:
    """A rotation of a ledger that holds as many mappings as there ever are, and little else."""
    engine = grown.place.name
    return Fact(engine, RESEALED, _rotated(grown), "/s", None, _RESEALED_MIN[engine])


def recovery_facts(grown: Grown) -> Iterator[Fact]:
    """A rotation of all mappings; then an archive, restored into a new place with its views."""
    engine, size = grown.place.name, grown.size
    yield Fact(engine, "mappings sealed anew, one event in ten", _rotated(grown), "/s", size)
    folder = Path(tempfile.mkdtemp(prefix="credledger-bench-backup-"))
    try:
        archive = str(folder / "archive")
        made = finished(("backup", "create", archive, "--json"), grown.environment)
        position = made.document["position"]
        yield Fact(engine, "events archived", position / made.seconds, "/s", size)
        keyring = folder / "keys" / "keyring"
        keyring.parent.mkdir(mode=0o700)
        shutil.copy2(grown.settings.keyring, keyring)
        restored = finished(
            ("backup", "restore", archive, "--json"),
            {
                **grown.environment,
                "CREDLEDGER_STORE": grown.place.new_url(),
                "CREDLEDGER_KEYRING": str(keyring),
            },
        )
        rate = position / restored.seconds
        yield Fact(engine, RESTORED, rate, "/s", size, _RESTORED_MIN)
        yield Fact(engine, "backup restore, peak memory", restored.peak_mib, "MiB", size, 300.0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rotated(grown: Grown) -> float:
    """How many mappings a second a rotation seals anew, as the command tells it."""
    told = finished(("key", "rotate", "--without-backup", "--json"), grown.environment).document
    return int(told["resealed"]) / float(told["seconds"])
