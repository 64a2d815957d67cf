r"""Time stamps: an authority's word that a head was there at a time, in the form of RFC 3161.

    request   = DER TimeStampReq over SHA-512(text of the note), certificate asked for, no nonce
    line      = — <name> base64(key id || DER TimeStampResp)
    key id    = SHA256(name || 0x0A || 0xFF || "credledger/v1/rfc3161")[:4]

Without a nonce an authority may answer with an older stamp of the same text, and that proves more.
The name is what whoever keeps the stamps calls the authority; it is no part of what is signed. A
stamp counts if its certificate leads to a root that was named, and is for time stamping; it is
looked at as of the stamped time, so a stamp outlives its certificate. Whether a certificate was
revoked is not asked: that would need the network.

A stamp says *when*, never *what*: an authority signs whatever it is given.

Source: RFC 3161, by the library `rfc3161-client`; C2SP signed-note for the line (kind 0xFF).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from ledger.anchors.signed_note import NoteSignature, key_id
from ledger.errors import InvalidInput

RESPONSE_BYTES_MAX = 64 * 1024
_KIND, _LABEL = b"\xff", b"credledger/v1/rfc3161"


def stamp_request(text: bytes) -> bytes:
    """What an authority is asked, as DER."""
    builder = TimestampRequestBuilder(data=text, hash_algorithm=HashAlgorithm.SHA512, nonce=False)
    return builder.build().as_bytes()


def is_stamp(signature: NoteSignature) -> bool:
    """Whether a line says that it is a time stamp."""
    return signature.key_id == key_id(signature.name, _KIND, _LABEL)


def stamp_line(name: str, response: bytes) -> NoteSignature:
    """An authority's answer as a line under the note."""
    return NoteSignature(name, key_id(name, _KIND, _LABEL), response)


def time_stamped(text: bytes, response: bytes, roots: Sequence[x509.Certificate]) -> int | None:
    """When the text was stamped, in microseconds UTC; None where the answer does not prove it."""
    try:
        decoded = decode_timestamp_response(response)
        VerifierBuilder(roots=list(roots)).build().verify_message(decoded, text)
        return _time_us(decoded)
    except (VerificationError, ValueError, TypeError, OverflowError):
        return None


def read_certificates(content: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file; `invalid-certificate` where it holds none."""
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise InvalidInput(
            "invalid-certificate", "The file with the authority's root holds no PEM certificate."
        ) from error


def _time_us(response: TimeStampResponse) -> int:
    moment = response.tst_info.gen_time
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000_000)
