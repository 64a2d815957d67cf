"""KeePass databases for tests, written by the library's own code."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from lxml import etree
from pykeepass import PyKeePass, create_database

PASSWORD = "two owls keep watch"


def database(path: Path, *, password: str | None = PASSWORD, key_file: Path | None = None):
    """An empty database that opens fast."""
    made = create_database(
        str(path), password=password, keyfile=None if key_file is None else str(key_file)
    )
    cheap(made)
    return made


def cheap(made: PyKeePass) -> None:
    """Let trying the password take little; what is written next says so."""
    costs = made.kdbx.header.value.dynamic_header.kdf_parameters.data.dict
    costs["M"].value, costs["I"].value, costs["P"].value = 1024 * 1024, 1, 1


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Put another XML document into a database, sealed as it was."""
    made = PyKeePass(str(path), password=PASSWORD)
    parser = etree.XMLParser(resolve_entities=False, huge_tree=True)
    text = change(etree.tostring(made.tree))
    made.kdbx.body.payload.xml = etree.parse(io.BytesIO(text), parser)
    made.save()
