"""What a command runs with: flag > environment > default. The only reader of the environment.

    CREDLEDGER_STORE            sqlite:///var/lib/x/ledger.db | postgresql://...?ledger=NAME
    CREDLEDGER_KEYRING          the keyring's path
    CREDLEDGER_PASSPHRASE_FILE  a file whose text is the passphrase; - is standard input
    CREDLEDGER_KEY_FILE         a key file, instead of a passphrase
    CREDLEDGER_CA_FILE          with --server https://: the authority of its certificate
    CREDLEDGER_CLIENT_CERT      with --server https://: the certificate that is shown to it
    CREDLEDGER_CLIENT_KEY       with --server https://: the key of that
    CREDENTIALS_DIRECTORY       systemd's, for the service: see `with_systemd_credential`

Three and four slashes after `sqlite:` both mean the absolute path; relative ones are refused,
and paths are resolved before any comparison. Keys and passphrases themselves never come from
the environment.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import msgspec

from ledger.discreet import Discreet
from ledger.errors import InvalidInput
from ledger.log.file_urls import path_in, sqlite_url
from ledger.replacing import replace

OWN_PREFIX = "CREDLEDGER_"
OPTION_OF = {
    "CREDLEDGER_STORE": "--store",
    "CREDLEDGER_KEYRING": "--keyring",
    "CREDLEDGER_PASSPHRASE_FILE": "--passphrase-file",
    "CREDLEDGER_KEY_FILE": "--key-file",
    "CREDLEDGER_CA_FILE": "--ca-file",
    "CREDLEDGER_CLIENT_CERT": "--client-cert",
    "CREDLEDGER_CLIENT_KEY": "--client-key",
}
"""The variables that are read, and the options that they stand for."""
STANDARD_INPUT = "-"
SYSTEMD_CREDENTIALS = ("credledger.passphrase", "credledger.key")
"""Names under which systemd hands over a passphrase, or a key file."""


class Given(Discreet, msgspec.Struct, frozen=True):
    """What was said on the command line; None where nothing was."""

    SHOWN: ClassVar = ("keyring", "slot")

    store: str | None = None
    keyring: str | None = None
    passphrase_file: str | None = None
    key_file: str | None = None
    slot: int | None = None
    new_passphrase_file: str | None = None
    accept_clock: bool | None = None
    accept_async: bool | None = None


class Settings(Discreet, msgspec.Struct, frozen=True):
    """Where everything is, decided once for a command."""

    SHOWN: ClassVar = ("keyring", "slot")

    store: str
    """The store's URL as given, or the default one."""
    keyring: Path
    """Absolute, links resolved."""
    passphrase_file: str | None
    """A path, `-`, or None for a prompt."""
    key_file: Path | None
    slot: int | None
    new_passphrase_file: str | None
    accept_clock: bool = False
    """Whether a clock far ahead of the log is right; recorded."""
    accept_async: bool = False
    """Whether to go on although commits wait for no standby; recorded."""

    @property
    def sqlite_path(self) -> Path | None:
        """The database file of a SQLite store; None for another engine."""
        return sqlite_path(self.store)


class TlsFiles(msgspec.Struct, frozen=True):
    """The files for TLS with a service that is asked; None where nothing was said."""

    authority: Path | None = None
    """Whose certificate the service has."""
    certificate: Path | None = None
    """The own one, where the service asks for it."""
    key: Path | None = None
    """Its key; without it, it stands in the certificate's file."""

    @property
    def identity(self) -> tuple[Path, Path] | None:
        """The own certificate and its key; `usage` for a key alone."""
        if self.certificate is None:
            if self.key is not None:
                raise InvalidInput(
                    "usage",
                    "A client's key needs its certificate.",
                    hint="Give --client-cert with --client-key, or CREDLEDGER_CLIENT_CERT.",
                )
            return None
        return self.certificate, self.key or self.certificate


NO_TLS_FILES = TlsFiles()


def decide_tls(given: TlsFiles, environment: Mapping[str, str] | None = None) -> TlsFiles:
    """The same by flag, else by environment; a certificate that is told brings its own key."""
    told = os.environ if environment is None else environment

    def named(name: str) -> Path | None:
        return Path(told[name]) if told.get(name) else None

    certificate, key = given.certificate, given.key
    if certificate is None:
        certificate = named("CREDLEDGER_CLIENT_CERT")
        key = key or named("CREDLEDGER_CLIENT_KEY")
    return TlsFiles(given.authority or named("CREDLEDGER_CA_FILE"), certificate, key)


def decide(given: Given, environment: Mapping[str, str] | None = None) -> Settings:
    """Settle every setting; `invalid-store`, `two-secrets` and `usage` for what cannot be."""
    told = os.environ if environment is None else environment
    _refuse_empty(given)
    passphrase_file = given.passphrase_file
    key_file = given.key_file
    if passphrase_file is not None and key_file is not None:
        raise InvalidInput("two-secrets", "Give either --passphrase-file or --key-file, not both.")
    if passphrase_file is None and key_file is None:
        passphrase_file = told.get("CREDLEDGER_PASSPHRASE_FILE") or None
        key_file = None if passphrase_file else told.get("CREDLEDGER_KEY_FILE") or None
    store = given.store or told.get("CREDLEDGER_STORE") or _default_store()
    if not store.startswith(("postgresql://", "postgres://")):
        sqlite_path(store)
    keyring = given.keyring or told.get("CREDLEDGER_KEYRING") or _default_keyring()
    return Settings(
        store=store,
        keyring=real_path(keyring),
        passphrase_file=passphrase_file,
        key_file=real_path(key_file) if key_file else None,
        slot=given.slot,
        new_passphrase_file=given.new_passphrase_file,
        accept_clock=bool(given.accept_clock),
        accept_async=bool(given.accept_async),
    )


def _refuse_empty(given: Given) -> None:
    """`usage` for an option without text: the ledger that another setting names is not meant."""
    for name in Given.__struct_fields__:
        if getattr(given, name) == "":
            raise InvalidInput(
                "usage",
                f"--{name.replace('_', '-')} is empty.",
                hint="Say which, or leave the option out. Is a variable of the shell unset?",
            )


def with_systemd_credential(
    settings: Settings, environment: Mapping[str, str] | None = None
) -> Settings:
    """The settings with what systemd hands to the service, where nothing else unlocks.

    That is a credential named `credledger.passphrase` or `credledger.key` (systemd.exec(5)).
    """
    told = os.environ if environment is None else environment
    folder = told.get("CREDENTIALS_DIRECTORY")
    if not folder or settings.passphrase_file is not None or settings.key_file is not None:
        return settings
    passphrase_file, key_file = (Path(folder) / name for name in SYSTEMD_CREDENTIALS)
    if passphrase_file.exists():
        return replace(settings, passphrase_file=str(passphrase_file))
    if key_file.exists():
        return replace(settings, key_file=key_file)
    return settings


def sqlite_path(store: str) -> Path | None:
    """The resolved file of a `sqlite:` URL, None for PostgreSQL; `invalid-store` otherwise."""
    if store.startswith(("postgresql://", "postgres://")):
        return None
    invalid = InvalidInput(
        "invalid-store",
        "A store is written sqlite:///ABSOLUTE/PATH or postgresql://USER@HOST/DATABASE.",
        hint="For example --store sqlite:///var/lib/credledger/ledger.db.",
    )
    try:
        parts = urlsplit(store)
    except ValueError:
        raise invalid from None  # its text may quote a password
    absolute = parts.path.startswith("/") and store.startswith("sqlite:///")
    if parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment or not absolute:
        raise invalid
    path = Path("/" + path_in(parts.path).lstrip("/"))
    if "\0" in str(path) or path == Path("/"):
        raise InvalidInput("invalid-store", "The store's path cannot be a file's.")
    return real_path(str(path))


def real_path(text: str) -> Path:
    """The path without links; one that leads in a circle stays, and fails when it is opened."""
    return Path(os.path.realpath(Path(text).expanduser()))


def account() -> str:
    """Who runs the process, as the operating system says it: `alice@host`."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def handed_on() -> dict[str, str]:
    """The environment that a started program gets: ours without `CREDLEDGER_*`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OWN_PREFIX)}


def _default_store() -> str:
    import platformdirs

    folder = Path(platformdirs.user_data_dir("credledger", appauthor=False))
    return sqlite_url(folder.resolve() / "store" / "ledger.db")


def _default_keyring() -> str:
    import platformdirs

    folder = Path(platformdirs.user_config_dir("credledger", appauthor=False))
    return str(folder / "keys" / "keyring")
