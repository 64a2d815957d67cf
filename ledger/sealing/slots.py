"""Slots: the ways to unlock a keyring, each a key pair with a label.

The private half (X25519) is sealed by what its holder has: a passphrase through Argon2id
(RFC 9106, parameters stored), or a key file of 32 random bytes. That of a slot of recovery shares
is in the file in no form: it exists in the shares only, see `shares.py`. The keyring's root and the
slot's own Ed25519 signing key are HPKE-sealed (RFC 9180, X25519, HKDF-SHA256, AES-256-GCM) to the
public half, so a slot can be given a new root without its holder's passphrase.

Seals are bound to ledger, slot and purpose: none of them opens in another place. HPKE in base mode
does not tell who sealed, so what a slot opens is read with as much suspicion as the file itself.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Callable
from importlib import resources
from typing import Any, ClassVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from msgspec import structs

from ledger.discreet import Discreet
from ledger.errors import InvalidInput, KeyUnavailable, Unavailable
from ledger.sealing.confidential import Confidential

Random = Callable[[int], bytes]
PASSPHRASE, KEY_FILE, SHARES = "passphrase", "key-file", "shares"
KINDS = (PASSPHRASE, KEY_FILE, SHARES)
OPERATOR, AUDITOR = "operator", "auditor"
KEY_FILE_BYTES = 32
PASSPHRASE_LENGTH_MIN = 12
PASSPHRASE_DIFFERENT_MIN = 5
PASSPHRASE_BYTES_MAX = 4096
LABEL_LENGTH_MAX = 64
SLOT_ID_MAX = 2**32 - 1
_SALT_BYTES = 16
_MEMORY_KIB_MIN, _MEMORY_KIB_MAX = 19 * 1024, 4 * 1024 * 1024
_ITERATIONS_MIN, _ITERATIONS_MAX = 2, 64
_LANES_MAX = 64
_NONCE_BYTES = 12
_INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_SEALED_PRIVATE_KEY_BYTES = 12 + 32 + 16
_SEALED_KEY_BYTES = 32 + 32 + 16
_HALF_LABEL = b"credledger/v1/sealed-half"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Argon2Cost(msgspec.Struct, frozen=True):
    """Argon2id parameters; 64 MiB, 3 passes and 4 lanes unless told (RFC 9106, section 4)."""

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4

    def check(self) -> None:
        """Refuse parameters below the floor, or so high that a file could stop the host."""
        fits = (
            _MEMORY_KIB_MIN <= self.memory_kib <= _MEMORY_KIB_MAX
            and _ITERATIONS_MIN <= self.iterations <= _ITERATIONS_MAX
            and 1 <= self.lanes <= _LANES_MAX
        )
        if not fits:
            raise KeyUnavailable(
                "keyring-weak", "A slot of the keyring has Argon2id parameters out of range."
            )


class Holding(Confidential, msgspec.Struct, frozen=True):
    """What a slot's holder has: a passphrase's text, a key file's bytes, or what shares gave."""

    SHOWN: ClassVar = ("kind",)

    kind: str
    secret: bytes


class Slot(Discreet, msgspec.Struct, frozen=True):
    """One way to unlock, as it lies in the keyring; all byte strings are opaque to others."""

    SHOWN: ClassVar = ("id", "label", "kind", "opens", "created_at")

    id: int
    label: str
    kind: str
    opens: str
    """`operator` or `auditor`."""
    created_at: int
    """Microseconds UTC."""
    cost: Argon2Cost
    salt: bytes
    public_key: bytes
    signing_public_key: bytes
    sealed_private_key: bytes
    """Empty for a slot of recovery shares, whose private half lies in no file."""
    sealed_signing_key: bytes
    sealed_root: bytes
    """Empty in an operator's keyring for an auditor's slot: that root is not theirs."""

    def entry(self) -> dict[str, Any]:
        """All of it, as a keyring's file has it."""
        return {**structs.asdict(self), "cost": structs.asdict(self.cost)}

    def half(self) -> bytes:
        """A digest of the sealed private half: which passphrase opens it shows in no other way."""
        return hashlib.sha256(_HALF_LABEL + self.salt + self.sealed_private_key).digest()

    def check(self) -> None:
        """Demand the format's shape of what came from a file; ValueError if it has another."""
        fits = (
            1 <= self.id <= SLOT_ID_MAX
            and _is_label(self.label)
            and self.kind in KINDS
            and self.opens in (OPERATOR, AUDITOR)
            and self.created_at >= 0
            and len(self.salt) == _SALT_BYTES
            and len(self.public_key) == len(self.signing_public_key) == 32
            and len(self.sealed_private_key) == _sealed_private_key_bytes(self.kind)
            and len(self.sealed_signing_key) == _SEALED_KEY_BYTES
            and len(self.sealed_root) in (0, _SEALED_KEY_BYTES)
        )
        if not fits:
            raise ValueError("no slot")


class OpenedSlot(Confidential, msgspec.Struct, frozen=True):
    """What a slot's holder gets."""

    SHOWN: ClassVar = ("slot",)

    slot: Slot
    root: bytes
    signing_key: Ed25519PrivateKey
    private_key: X25519PrivateKey
    """The slot's private half, to which every later root is sealed too."""


def passphrase(text: str) -> Holding:
    """A passphrase that already exists; NFC, UTF-8."""
    try:
        encoded = unicodedata.normalize("NFC", text).encode()
    except UnicodeEncodeError:
        # The error at hand quotes the passphrase, so it is not kept as a cause.
        encoded = b""
    if not 1 <= len(encoded) <= PASSPHRASE_BYTES_MAX:
        raise InvalidInput("invalid-passphrase", "The passphrase is empty, too long or no text.")
    return Holding(PASSPHRASE, encoded)


def new_passphrase(text: str) -> Holding:
    """A passphrase to be set: at least 12 characters, 5 different ones, and not a common one.

    Blanks, and letters that differ in case only, do not count as different.
    """
    holding = passphrase(text)
    if len(unicodedata.normalize("NFC", text)) < PASSPHRASE_LENGTH_MIN:
        raise InvalidInput(
            "weak-passphrase",
            f"The passphrase needs at least {PASSPHRASE_LENGTH_MIN} characters.",
            hint="A sentence or five random words do well; no special characters are demanded.",
        )
    if len(_seen(text)) < PASSPHRASE_DIFFERENT_MIN:
        raise InvalidInput(
            "weak-passphrase",
            f"The passphrase needs at least {PASSPHRASE_DIFFERENT_MIN} different characters"
            " besides blanks.",
            hint="A sentence or five random words do well; no special characters are demanded.",
        )
    if _plain(text) in _common():
        raise InvalidInput(
            "weak-passphrase",
            "The passphrase is among the ones everybody tries first.",
            hint="A sentence of your own or five random words do well.",
        )
    return holding


def key_file(content: bytes) -> Holding:
    """The content of a key file, exactly 32 random bytes; `key-file-empty`, `wrong-key-file`."""
    if not content:
        raise KeyUnavailable(
            "key-file-empty",
            "The key file is empty: a run that was to make it was cut off.",
            hint="Delete it and run the command again; if a slot was made with it before,"
            " put back a copy.",
        )
    if len(content) != KEY_FILE_BYTES:
        raise KeyUnavailable(
            "wrong-key-file",
            "A key file holds exactly 32 random bytes.",
            hint="Put back a copy of the key file; delete it if no slot was ever made with it.",
        )
    return Holding(KEY_FILE, content)


def shares_of(private_key: bytes) -> Holding:
    """What combined recovery shares give: the slot's private half itself, 32 bytes."""
    return Holding(SHARES, private_key)


def new_slot(
    ledger_id: bytes,
    slot_id: int,
    label: str,
    opens: str,
    holding: Holding,
    root: bytes,
    *,
    created_at: int,
    random: Random,
    cost: Argon2Cost,
    signing_key: Ed25519PrivateKey | None = None,
) -> Slot:
    """A slot whose holder can open `root`; `signing_key` is made unless handed in.

    The private half is random, but for a slot of recovery shares, where it is the holding.
    """
    cost.check()
    if not _is_label(label):
        raise InvalidInput(
            "invalid-label", f"A label has 1 to {LABEL_LENGTH_MAX} printable characters."
        )
    private_key = X25519PrivateKey.from_private_bytes(
        holding.secret if holding.kind == SHARES else random(32)
    )
    signer = signing_key or Ed25519PrivateKey.from_private_bytes(random(32))
    salt = random(_SALT_BYTES)
    info = _info(ledger_id, slot_id, "private")
    public_key = private_key.public_key()
    return Slot(
        id=slot_id,
        label=label,
        kind=holding.kind,
        opens=opens,
        created_at=created_at,
        cost=cost,
        salt=salt,
        public_key=public_key.public_bytes_raw(),
        signing_public_key=signer.public_key().public_bytes_raw(),
        sealed_private_key=_sealed_half(private_key, holding, salt, cost, info, random),
        sealed_signing_key=_SUITE.encrypt(
            signer.private_bytes_raw(), public_key, _info(ledger_id, slot_id, "signing")
        ),
        sealed_root=_SUITE.encrypt(root, public_key, _info(ledger_id, slot_id, "root")),
    )


def seal_root(ledger_id: bytes, slot: Slot, root: bytes) -> bytes:
    """The root, sealed to a slot without its holder."""
    public_key = X25519PublicKey.from_public_bytes(slot.public_key)
    return _SUITE.encrypt(root, public_key, _info(ledger_id, slot.id, "root"))


def reseal_private_key(
    ledger_id: bytes, slot: Slot, old: Holding, new: Holding, random: Random, cost: Argon2Cost
) -> tuple[str, Argon2Cost, bytes, bytes]:
    """Kind, cost, salt and sealed private half under a new holding."""
    cost.check()
    private_key = _private_key(ledger_id, slot, old)
    salt, info = random(_SALT_BYTES), _info(ledger_id, slot.id, "private")
    return new.kind, cost, salt, _sealed_half(private_key, new, salt, cost, info, random)


def open_slot(ledger_id: bytes, slot: Slot, holding: Holding) -> OpenedSlot:
    """Unlock; `wrong-passphrase` or `wrong-key-file` if the holding is not this slot's."""
    return reopen_slot(ledger_id, slot, _private_key(ledger_id, slot, holding))


def reopen_slot(ledger_id: bytes, slot: Slot, private_key: X25519PrivateKey) -> OpenedSlot:
    """The same with a private half that was opened before; `keyring-damaged` if it is not its."""
    try:
        root = _SUITE.decrypt(slot.sealed_root, private_key, _info(ledger_id, slot.id, "root"))
        signing = _SUITE.decrypt(
            slot.sealed_signing_key, private_key, _info(ledger_id, slot.id, "signing")
        )
        signing_key = Ed25519PrivateKey.from_private_bytes(signing)
    except (InvalidTag, ValueError) as error:
        raise KeyUnavailable(
            "keyring-damaged", "The slot opens, but the keyring behind it is damaged."
        ) from error
    return OpenedSlot(slot, root, signing_key, private_key)


def wrong_holding(holding: Holding) -> KeyUnavailable:
    """Told where no slot opens with this holding."""
    if holding.kind == KEY_FILE:
        return KeyUnavailable(
            "wrong-key-file",
            "No slot of the keyring opens with this key file.",
            hint="Check --key-file and --keyring: a key file opens only slots made with it.",
        )
    if holding.kind == SHARES:
        return KeyUnavailable(
            "wrong-shares",
            "No slot of the keyring opens with these recovery shares.",
            hint="They fit together, so they are another slot's: of another ledger, of a slot that"
            " was removed, or made after this copy of the keyring.",
        )
    return KeyUnavailable(
        "wrong-passphrase",
        "No slot of the keyring opens with this passphrase.",
        hint="Type it again, or check --passphrase-file and --keyring: an older keyring opens with"
        " the passphrase of its time.",
    )


def _private_key(ledger_id: bytes, slot: Slot, holding: Holding) -> X25519PrivateKey:
    if holding.kind != slot.kind:
        raise wrong_holding(holding)
    if holding.kind == SHARES:
        return _half_of_shares(slot, holding)
    cipher = AESGCM(_holding_key(holding, slot.salt, slot.cost))
    sealed = slot.sealed_private_key
    try:
        raw = cipher.decrypt(
            sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _info(ledger_id, slot.id, "private")
        )
        return X25519PrivateKey.from_private_bytes(raw)
    except (InvalidTag, ValueError) as error:
        raise wrong_holding(holding) from error


def _half_of_shares(slot: Slot, holding: Holding) -> X25519PrivateKey:
    private_key = X25519PrivateKey.from_private_bytes(holding.secret)
    if not hmac.compare_digest(private_key.public_key().public_bytes_raw(), slot.public_key):
        raise wrong_holding(holding)
    return private_key


def _sealed_half(
    private_key: X25519PrivateKey,
    holding: Holding,
    salt: bytes,
    cost: Argon2Cost,
    info: bytes,
    random: Random,
) -> bytes:
    """The private half as it lies in the file: empty where it lies in shares."""
    if holding.kind == SHARES:
        return b""
    nonce = random(_NONCE_BYTES)
    cipher = AESGCM(_holding_key(holding, salt, cost))
    return nonce + cipher.encrypt(nonce, private_key.private_bytes_raw(), info)


def _sealed_private_key_bytes(kind: str) -> int:
    return 0 if kind == SHARES else _SEALED_PRIVATE_KEY_BYTES


def _holding_key(holding: Holding, salt: bytes, cost: Argon2Cost) -> bytes:
    if holding.kind == KEY_FILE:
        return HKDFExpand(SHA256(), 32, b"credledger/v1/key-file" + salt).derive(holding.secret)
    derivation = Argon2id(
        salt=salt,
        length=32,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    try:
        return derivation.derive(holding.secret)
    except MemoryError as error:
        raise Unavailable(
            "not-enough-memory",
            f"Deriving the key of a passphrase needs {cost.memory_kib // 1024} MiB of memory.",
            hint="Free some memory, or raise the limit of this process, and run it again.",
        ) from error


def _info(ledger_id: bytes, slot_id: int, purpose: str) -> bytes:
    return b"credledger/v1/slot\0" + ledger_id + slot_id.to_bytes(4, "big") + purpose.encode()


def _is_label(text: str) -> bool:
    return 1 <= len(text) <= LABEL_LENGTH_MAX and text.isprintable()


def _plain(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _seen(text: str) -> set[str]:
    return {
        character
        for character in unicodedata.normalize("NFC", text).casefold()
        if not character.isspace() and unicodedata.category(character) not in _INVISIBLE
    }


def _common() -> frozenset[str]:
    listed = resources.files("ledger.sealing").joinpath("common-passphrases.txt")
    return frozenset(listed.read_text(encoding="utf-8").split())
