"""Further slots, auditors and hosts for a house, as the faults need them."""

from __future__ import annotations

import shutil

from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import new_passphrase, passphrase
from ledger.usecases.acting import Acting
from tests.conftest import CHEAP, House
from tests.prepared import settle_in

SECOND = "two otters share one stone"


def with_second_slot(house: House) -> None:
    ledger = house.open()
    ledger.add_slot(
        Acting(), label="ben", opens="operator", holding=new_passphrase(SECOND), cost=CHEAP
    )
    ledger.close()


def copied(house: House, folder: str) -> House:
    """Another host: the same store, a copy of the keyring, a memory of its own."""
    place = house.keyring_path.parent.with_name(folder) / "keyring"
    place.parent.mkdir(mode=0o700)
    shutil.copy(house.keyring_path, place)
    settle_in(place)
    return House(house.store_path, place, house.clock, house.store_url, house.opened)


def with_auditor(house: House, number: int = 2):
    """An auditor's slot, unlocked from its own file."""
    ledger = house.open()
    place = house.keyring_path.parent.with_name(f"auditor{number}") / "keyring"
    ledger.add_slot(
        Acting(),
        label=f"cleo{number}",
        opens="auditor",
        holding=new_passphrase(SECOND),
        auditor_file=place,
        cost=CHEAP,
    )
    ledger.close()
    return place, read_keyring(place).unlock(passphrase(SECOND))
