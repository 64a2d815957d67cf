"""Where a ledger lies: a PostgreSQL database and the schema in it, as one URL.

    postgresql://[user[:password]@]host[:port][,...]/database?ledger=NAME&...

`ledger=NAME` may stand anywhere in the query (`credledger` unless told) and names the schema;
every other parameter goes to libpq unchanged. What is shown to people has no user, no password
and no parameter but the folder of a socket.
"""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import quote, unquote, urlsplit

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from ledger.discreet import Discreet
from ledger.errors import InvalidInput

DEFAULT_SCHEMA = "credledger"
_SCHEMA = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}\Z")
_SCHEMES = {"postgresql", "postgres"}


class PostgresqlPlace(Discreet, msgspec.Struct, frozen=True):
    """One ledger's database and schema."""

    SHOWN: ClassVar = ("schema", "address")

    conninfo: str
    """What libpq takes; may hold a password."""
    schema: str
    address: str
    """What people are shown."""


def postgresql_place(url: str) -> PostgresqlPlace:
    """Take a URL apart; `invalid-store` where libpq would not take it or the name is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _invalid("The store's address is no PostgreSQL URL.") from None
    if parts.scheme not in _SCHEMES or parts.fragment:
        raise _invalid("The store's address is no PostgreSQL URL.")
    given = [one for one in parts.query.split("&") if one]
    names = [unquote(one.partition("=")[2]) for one in given if one.startswith("ledger=")]
    if len(names) > 1:
        raise _invalid("The store's address names more than one ledger.")
    schema = names[0] if names else DEFAULT_SCHEMA
    if not _SCHEMA.match(schema):
        raise _invalid("A ledger's name has 1 to 63 of a-z, 0-9 and _, no digit first, no pg_.")
    rest = "&".join(one for one in given if not one.startswith("ledger="))
    conninfo = url.partition("?")[0] + (f"?{rest}" if rest else "")
    return PostgresqlPlace(conninfo, schema, _address(conninfo, schema))


def _address(conninfo: str, schema: str) -> str:
    try:
        known = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        # libpq's own words may quote the password.
        raise _invalid("The store's address is no PostgreSQL URL.") from None
    hosts = str(known.get("host") or "").split(",")
    ports = str(known.get("port") or "").split(",")
    database = quote(str(known.get("dbname") or ""), safe="")
    if hosts[0].startswith("/"):
        folders = quote(",".join(hosts), safe="/,")
        return f"postgresql:///{database}?host={folders}&ledger={schema}"
    if len(ports) == 1:
        ports *= len(hosts)
    shown = ",".join(
        f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False)
    )
    return f"postgresql://{shown}/{database}?ledger={schema}"


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(
        "invalid-store",
        message,
        hint="For example --store postgresql://db.example/ledgers?ledger=credledger.",
    )
