"""Checking a proof that somebody handed over: no store, no key, no network."""

from __future__ import annotations

from typing import Any

from ledger.log.proof_document import BYTES_MAX, InclusionProof, read_proof
from tools.people.documents import StandardInput, decode_text, parse_json, read_bytes, within
from tools.when import to_text

_PURPOSE = "the proof"


def check_proof(place: str, standard_input: StandardInput, pinned: bytes | None) -> dict[str, Any]:
    """What the proof in a file, or `-`, proves; Tampered where it does not hold.

    `not-a-proof`, `proof-newer`, `invalid-json` and the like for what is no proof at all.
    """
    purpose = within(_PURPOSE, place)
    content = read_bytes(place, _PURPOSE, BYTES_MAX, standard_input)
    proof = read_proof(parse_json(decode_text(content, purpose), purpose))
    signer_class = proof.check(pinned)
    found: dict[str, Any] = {
        "ok": True,
        "ledger_id": proof.trust.ledger.id.hex(),
        "pinned": pinned is not None,
    }
    if isinstance(proof, InclusionProof):
        row, head = proof.fields, proof.head
        found |= {
            "position": row.position,
            "topic": row.topic,
            "recorded_at": to_text(row.recorded_at),
            "sealed_sha256": proof.sealed_digest.hex(),
        }
    else:
        head = proof.second
        found |= {"from_size": proof.first.size, "from_root": proof.first.root.hex()}
    return found | {
        "size": head.size,
        "root": head.root.hex(),
        "signer": head.signer.hex(),
        "signer_class": signer_class,
    }
