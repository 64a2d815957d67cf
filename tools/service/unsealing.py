"""Unsealing over the unix socket: who has a passphrase or key hands it over, once.

Only the service's own account and the system's administrator may try, so that no other local
process can guess, or keep the service busy with deriving keys. One attempt is made at a time.
"""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from ledger.errors import InvalidInput, Refused
from ledger.sealing import slots
from ledger.sealing.keyring import UnlockedKeyring
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import Holding
from tools.people.documents import StandardInput
from tools.service.bodies import Body, one_of
from tools.service.patterns import BASE64
from tools.service.peers import Peer
from tools.service.seal import Opened, Seal
from tools.settings import Settings

UNSEAL_PATH = "/v1/unseal"
KeyContent = Annotated[
    bytes,
    Meta(
        min_length=1,
        max_length=1024,
        description="The content of a key file.",
        extra_json_schema={"pattern": BASE64},
    ),
]


class Unseal(Body, frozen=True):
    """What opens a slot: one of the two."""

    TOGETHER: ClassVar[dict[str, Any]] = one_of(passphrase="string", key="string")

    passphrase: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    key: KeyContent | None = None
    slot: Annotated[int, Meta(ge=1)] | None = None


class Unsealed(msgspec.Struct, frozen=True):
    """The slot that unlocked; now, if it was sealed before."""

    slot: int
    was_sealed: bool


def let_unseal(peer: Peer) -> None:
    """`not-allowed-to-unseal` for whoever may not; nothing of his is to be read."""
    if peer.uid is None or peer.uid not in (0, os.geteuid()):
        raise Refused(
            "not-allowed-to-unseal",
            "Only the service's own account may unseal it, over its unix socket.",
            hint="Run `credledger unseal` as that account or as root.",
        )


async def unseal(seal: Seal, body: Unseal) -> Opened:
    """Open the ledger, for whom `let_unseal` lets; whatever opening a ledger may raise.

    Where it is open already, what was handed over is not looked at.
    """
    holding = _holding(body)

    def unlock(settings: Settings, _: StandardInput) -> tuple[Holding, UnlockedKeyring]:
        slot = body.slot or settings.slot
        return holding, read_keyring(settings.keyring).unlock(holding, slot)

    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(seal.threads, lambda: seal.open(unlock))


def _holding(body: Unseal) -> Holding:
    if (body.passphrase is None) == (body.key is None):
        raise InvalidInput("passphrase-or-key", "Give either a passphrase or a key.")
    if body.key is not None:
        return slots.key_file(body.key)
    assert body.passphrase is not None
    return slots.passphrase(body.passphrase)
