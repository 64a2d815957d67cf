"""KeePass databases for tests, written by the library's own code."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from lxml import etree
from pykeepass import PyKeePass, create_database
from pykeepass.kdbx_parsing import common

PASSWORD = "two owls keep watch"


def database(path: Path, *, password: str | None = PASSWORD, key_file: Path | None = None):
    """An empty database that opens fast."""
    path.write_bytes(_empty())
    made = PyKeePass(str(path), password=PASSWORD)
    made.password = password
    made.keyfile = None if key_file is None else str(key_file)
    made.save()
    return made


@functools.cache
def _empty() -> bytes:
    """One that every other begins with: to make it takes the library two seconds."""
    with tempfile.TemporaryDirectory() as folder:
        made = create_database(f"{folder}/empty.kdbx", password=PASSWORD)
        cheap(made)
        made.save()
        return Path(made.filename).read_bytes()


def cheap(made: PyKeePass) -> None:
    """Let trying the password take little; what is written next says so."""
    costs = made.kdbx.header.value.dynamic_header.kdf_parameters.data.dict
    costs["M"].value, costs["I"].value, costs["P"].value = 1024 * 1024, 1, 1


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Put another XML document into a database, sealed as it was."""
    made = PyKeePass(str(path), password=PASSWORD)
    text = change(etree.tostring(made.tree).replace(b' Protected="True"', b""))
    with (
        patch.object(common.UnprotectedStream, "_encode", lambda self, tree, *_: tree),
        patch.object(common.XML, "_encode", lambda *_: text),
    ):
        made.save()


def packed_as(path: Path, packed: bytes) -> None:
    """Put other compressed bytes into a database, sealed as its own were."""
    made = PyKeePass(str(path), password=PASSWORD)
    with patch.object(common.Decompressed, "_encode", lambda *_: packed):
        made.save()
