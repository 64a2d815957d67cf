"""KeePass databases (KDBX 3.1 and 4), opened by `pykeepass` in a process of its own.

Such a file may come from anybody who knows its password: it may ask for terabytes of memory to try
the password once, unpack to more than there is, or nest and multiply its XML. So a process with
limits of its own opens it (`keepass_reader`), and this one only takes up what that hands over. The
password goes to it through a pipe.

The path of an entry is its groups, without the database's root group, and its title. Keys are
`Title`, `UserName`, `Password`, `URL`, `Notes`, further strings by their names and attachments by
their file names. Entries in the recycle bin are left out; earlier versions of one are not read. A
reference to another entry's field is followed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgpack

from ledger.errors import InvalidInput, KeyUnavailable, LedgerError, Unavailable
from ledger.values import VALUE_BYTES_MAX, FieldValue
from tools.extras import how_to_install
from tools.people.documents import StandardInput, read_bytes, shown
from tools.settings import handed_on
from tools.sources import keepass_reader
from tools.sources.entry import SOURCE_BYTES_MAX, Entry, Gone
from tools.sources.importing import Rejected

KEY_FILE_BYTES_MAX = 1024 * 1024
MEMORY_BYTES_MAX = 3 * 1024**3
"""Of address space: a database of the greatest size with 1 GiB to try its password fits."""
CPU_S_MAX = 120
ANSWER_BYTES_MAX = 512 * 1024**2
"""Of what is handed over here, which this process holds while it imports."""
_PURPOSE = "a KeePass database"


class KeePassFile:
    """One KeePass database."""

    name_keys: frozenset[str] = frozenset({"Title"})
    keys_by_type: Mapping[str, str] = MappingProxyType(
        {
            "user-name": "UserName",
            "windows-user-name": "UserName",
            "password": "Password",
            "windows-password": "Password",
        }
    )

    def __init__(self, place: str, key_file: str | None, standard_input: StandardInput) -> None:
        """Read them; `no-such-file`, `file-unreadable` or `too-large` before anybody is asked."""
        self._place = place
        self._content = read_bytes(place, _PURPOSE, SOURCE_BYTES_MAX, standard_input)
        self._password: str | None = None
        self._key_file = (
            None
            if key_file is None
            else read_bytes(
                str(Path(key_file).expanduser()),
                "the KeePass key file",
                KEY_FILE_BYTES_MAX,
                standard_input,
            )
        )

    def opened_with(self, password: str | None) -> KeePassFile:
        """The same, with the password that opens it; None where its key file alone does."""
        self._password = password
        return self

    def entries(self) -> Iterator[Entry | Rejected]:
        """Every entry but those of histories.

        `not-keepass`, `keepass-locked` (exit 6), `keepass-damaged`, `keepass-too-costly` or
        `keepass-missing` (exit 7) for a file that cannot be opened here.
        """
        answer = self._read()
        unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=True)
        unpacker.feed(answer)
        for number, told in enumerate(unpacker, start=1):
            yield _guarded(number, told)

    def _read(self) -> bytes:
        asked = {"content": self._content, "password": self._password, "key_file": self._key_file}
        limits = map(str, (MEMORY_BYTES_MAX, CPU_S_MAX, VALUE_BYTES_MAX, ANSWER_BYTES_MAX))
        # -I: neither the folder it runs in nor the environment can put other code in its way.
        done = subprocess.run(
            [sys.executable, "-I", "-m", keepass_reader.__name__, *limits],
            input=bytes(msgpack.packb(asked)),
            capture_output=True,
            env=handed_on(),
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
        raise _failure(done.returncode, shown(self._place))


def _failure(code: int, place: str) -> LedgerError:
    match code:
        case keepass_reader.MISSING:
            return Unavailable(
                "keepass-missing",
                "KeePass databases are read by libraries that are not installed here.",
                hint=f"{how_to_install('keepass')} Nothing was changed.",
            )
        case keepass_reader.LOCKED:
            return KeyUnavailable(
                "keepass-locked",
                f"This password or key file does not open {place}, or that is damaged.",
                hint="Check --source-password-file and --source-key-file; nothing was changed.",
            )
        case keepass_reader.NOT_KEEPASS:
            return InvalidInput(
                "not-keepass",
                f"{place} is no KeePass database.",
                hint="Databases of KeePass 2 and KeePassXC are read: KDBX 3.1 and 4.",
            )
        case keepass_reader.DAMAGED:
            return InvalidInput(
                "keepass-damaged",
                f"{place} is truncated or damaged, or holds what KeePass never writes.",
                hint="Open it in KeePass and save a copy; nothing was changed.",
            )
        case _ if code < 0 or code == keepass_reader.TOO_COSTLY:  # killed at a limit, or told so
            return InvalidInput(
                "keepass-too-costly",
                f"{place} needs more time or memory to open than a KeePass database is allowed.",
                hint="Save a copy with milder settings of its key derivation; nothing was changed.",
            )
        case _:
            return Unavailable(
                "keepass-unread", f"The process that reads KeePass databases ended with {code}."
            )


def _guarded(number: int, told: dict[str, Any]) -> Entry | Rejected:
    path = tuple(told["path"])
    if told["wrong"]:
        return Rejected(number, "invalid-entry", told["wrong"], "/".join(path))
    try:
        values = {key: FieldValue(content) for key, content in told["values"].items() if content}
    except LedgerError as error:
        return Rejected(number, error.code, error.message, "/".join(path))
    gone = Gone.RECYCLE_BIN if told["in_bin"] else None
    return Entry(number, path, values, frozenset(told["protected"]), gone=gone)
