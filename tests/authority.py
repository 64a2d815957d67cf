"""A time-stamping authority for tests: what RFC 3161 asks of one, encoded by hand in DER.

Nothing of the library that reads stamps is used to make them. It answers in process (`answer`) and
as a web server on this machine (`served`).
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = timedelta(days=1)
_SIGNED_DATA, _TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE, _DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
_CERTIFICATE_USED = "1.2.840.113549.1.9.16.2.47"
_SHA256, _ECDSA_SHA256 = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def set_of(*parts: bytes) -> bytes:
    return der(0x31, *sorted(parts))


def integer(value: int) -> bytes:
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def octets(content: bytes) -> bytes:
    return der(0x04, content)


def identifier(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    encoded = bytearray()
    for arc in (first * 40 + second, *rest):
        group = [arc & 0x7F]
        while arc := arc >> 7:
            group.append(0x80 | arc & 0x7F)
        encoded += bytes(reversed(group))
    return der(0x06, bytes(encoded))


class Authority:
    """A root, and a certificate under it that stamps."""

    def __init__(self, *, purpose=ExtendedKeyUsageOID.TIME_STAMPING, name: str = "tests"):
        now = datetime.now(UTC)
        self.root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = self._certificate(f"{name} root", f"{name} root", self.root_key, now, None)
        self.certificate = self._certificate(name, f"{name} root", self._key, now, purpose)
        self.asked: list[bytes] = []

    def _certificate(self, subject, issuer, key, now, purpose) -> x509.Certificate:
        def named(text):
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        authority = purpose is None
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3650 * _DAY)
            .not_valid_after(now + 3650 * _DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            usage = x509.ExtendedKeyUsage([purpose])
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(self.root_key, hashes.SHA256())

    def root_file(self, place: Path) -> Path:
        place.write_bytes(self.root.public_bytes(Encoding.PEM))
        return place

    def answer(self, request: bytes, moment: datetime | None = None) -> bytes:
        """The DER answer to a DER request, of this moment or another."""
        self.asked.append(request)
        at = 0 if request[1] < 0x80 else request[1] & 0x7F
        imprint = request[2 + at + 3 :]  # behind the outer head and the version
        imprint = imprint[: 2 + imprint[1]]
        time = (moment or datetime.now(UTC)).strftime("%Y%m%d%H%M%SZ").encode()
        info = sequence(
            integer(1),
            identifier("1.3.6.1.4.1.99999.1"),
            imprint,
            integer(len(self.asked)),
            der(0x18, time),
        )
        return sequence(sequence(integer(0)), self._token(info))

    def _token(self, info: bytes) -> bytes:
        certificate = self.certificate.public_bytes(Encoding.DER)
        used = sequence(sequence(sequence(octets(hashlib.sha256(certificate).digest()))))
        attributes = (
            sequence(identifier(_CONTENT_TYPE), set_of(identifier(_TST_INFO))),
            sequence(identifier(_DIGEST), set_of(octets(hashlib.sha256(info).digest()))),
            sequence(identifier(_CERTIFICATE_USED), set_of(used)),
        )
        signed = set_of(*attributes)
        signature = self._key.sign(signed, ec.ECDSA(hashes.SHA256()))
        sha256 = sequence(identifier(_SHA256))
        signer = sequence(
            integer(1),
            sequence(
                self.certificate.issuer.public_bytes(), integer(self.certificate.serial_number)
            ),
            sha256,
            b"\xa0" + signed[1:],
            sequence(identifier(_ECDSA_SHA256)),
            octets(signature),
        )
        content = sequence(identifier(_TST_INFO), der(0xA0, octets(info)))
        data = sequence(integer(3), set_of(sha256), content, der(0xA0, certificate), set_of(signer))
        return sequence(identifier(_SIGNED_DATA), der(0xA0, data))


@contextlib.contextmanager
def served(answer) -> Iterator[str]:
    """A web server on this machine that answers each POST with `answer(handler, request)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                answer(self, body)

        do_GET = do_POST  # noqa: N815 # what a redirect makes of a question

        def log_message(self, *_):
            """Silent."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/tsa"
        finally:
            server.shutdown()
            thread.join()


def replying(content: bytes, status: int = 200, kind: str = "application/timestamp-reply"):
    """Answers everything alike."""

    def answer(handler, _):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer
