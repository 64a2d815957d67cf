"""Trusted issuers as the command line tells them, and their keys as it takes them in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ledger.aggregates.issuers import Issuer, Settings
from ledger.tokens.jose import JWKS_BYTES_MAX, keys_text, read_keys
from projections.documents import time_text
from tools.people.documents import StandardInput, read_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = {
    "issuer": "Issuer",
    "audience": "Audience",
    "algorithms": "Algorithms",
    "speaks_for_local": "Speaks for local",
    "changed_at": "Changed",
}


def told_keys(place: str, standard_input: StandardInput) -> str:
    """The public keys in a JWKS file, without anything else that stands in it; `invalid-jwks`."""
    content = read_bytes(place, "the issuer's keys", JWKS_BYTES_MAX, standard_input)
    return keys_text(read_keys(content))


def changed_settings(settings: Settings, said: Mapping[str, Any]) -> Settings:
    """The settings with what was said; keys told take the place of a URL, and the other way."""
    changes = {name: value for name, value in said.items() if value is not None}
    if "keys" in changes:
        changes.setdefault("keys_url", "")
    elif "keys_url" in changes:
        changes["keys"] = ""
    return msgspec.structs.replace(settings, **changes)


def issuer_document(issuer: Issuer) -> dict[str, object]:
    """What `issuer show` tells."""
    settings = issuer.settings
    told = read_keys(settings.keys.encode()) if settings.keys else ()
    return {
        "issuer": issuer.issuer,
        "audience": settings.audience,
        "algorithms": list(settings.algorithms),
        "keys": [key.kid for key in told],
        "keys_url": settings.keys_url or None,
        "token_type": settings.token_type,
        "user_claim": settings.user_claim,
        "groups_claim": settings.groups_claim or None,
        "application_claim": settings.application_claim or None,
        "clock_skew_s": settings.skew_s,
        "longest_life_s": settings.life_s_max,
        "case_blind": settings.case_blind,
        "speaks_for_local": settings.speaks_for_local,
        "refuses_replay": settings.refuses_replay,
        "encrypted_only": settings.requires_encryption,
        "added_at": time_text(issuer.added_at),
        "changed_at": time_text(issuer.changed_at),
        "position": issuer.position,
    }
