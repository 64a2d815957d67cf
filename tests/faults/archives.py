"""Archives of many small segments, and hosts that have lost the database that is in them."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.faults.running import Host, settle_in

SMALL = """
import os, sys
from ledger.archive import segment
from tools.cli.main import run
segment.SEGMENT_ROWS = 3
code = run({arguments})
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
"""


def small(*arguments: str) -> str:
    """A command with segments of three rows."""
    return SMALL.format(arguments=repr([*arguments, "--json"]))


def emptied(base: Host, home: Path) -> Host:
    """The same host with its database lost."""
    if base.server is None:
        host = base.copy(home)
        shutil.rmtree(host.store.parent)
        return host
    shutil.copytree(base.home, home, ignore=shutil.ignore_patterns("streams"))
    settle_in(home / "keys" / "keyring")
    host = Host(base.nursery, home, server=base.server)
    host.create_database()
    return host
