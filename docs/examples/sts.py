"""A token issuer for trying things out: it writes its public keys, then a token for each claim set.

    python sts.py ISSUER AUDIENCE NAME=VALUE ...     jwks.json, sts.key and token, in this folder
    python sts.py --to JWKS ISSUER AUDIENCE ...      the token encrypted to the first key in JWKS

A real issuer keeps its private key to itself, and asks who somebody is before it says so.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from joserfc import jwe, jws
from joserfc.jwk import ECKey

KEY = Path("sts.key")


def key() -> ECKey:
    """The issuer's key, made when it is first needed."""
    if not KEY.exists():
        made = ECKey.generate_key("P-256", {"kid": "sts-1"})
        with os.fdopen(os.open(KEY, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            json.dump(made.as_dict(private=True), file)
    return ECKey.import_key(json.loads(KEY.read_text(encoding="utf-8")))


def main(words: list[str]) -> None:
    """Write the keys and one token."""
    to = None
    if words[0] == "--to":
        to, words = json.loads(Path(words[1]).read_text(encoding="utf-8"))["keys"][0], words[2:]
    issuer, audience, *said = words
    now = int(time.time())
    claims = {"iss": issuer, "aud": audience, "iat": now, "exp": now + 600}
    claims |= {"sub": "nobody", "client_id": "report", "jti": os.urandom(8).hex()}
    for word in said:
        name, _, value = word.partition("=")
        claims[name] = value.split(",") if name == "groups" else value
    published = {"keys": [key().as_dict(private=False)]}
    Path("jwks.json").write_text(json.dumps(published), encoding="utf-8")
    header = {"alg": "ES256", "typ": "at+jwt", "kid": "sts-1"}
    token = jws.serialize_compact(header, json.dumps(claims), key())
    if to is not None:
        heading = {"alg": "ECDH-ES", "enc": "A256GCM", "cty": "JWT", "kid": to["kid"]}
        token = jwe.encrypt_compact(heading, token, ECKey.import_key(to))
    Path("token").touch(0o600)  # whoever reads it is its subject
    Path("token").write_text(token, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
