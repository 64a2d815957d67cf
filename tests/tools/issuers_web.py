"""An issuer's web server, which answers as it should, or late, or drop by drop, or not at all."""

from __future__ import annotations

import gc
import http.server
import ssl
import threading
import warnings
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


class Web(http.server.BaseHTTPRequestHandler):
    """What an issuer's server answers, by path."""

    published = b""
    asked = threading.Semaphore(0)
    """Released by each question for what is held back."""
    go_on = threading.Event()
    """Lets those answers go."""

    def do_GET(self):
        match self.path:
            case "/keys?v=1":
                self._answer(200, self.published)
            case "/large":
                self._answer(200, b" " * 70_000)
            case "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "/keys?v=1")
                self.end_headers()
            case "/slow":
                self.send_response(200)
                self.end_headers()
                self._drip()
            case "/slow-head":
                self.asked.release()
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                self._drip()
            case "/held":
                self.asked.release()
                self.go_on.wait(60)
                self._answer(200, self.published)
            case "/silent":
                self.server.gone.wait(30)
            case _:
                self._answer(404, b"")

    def _drip(self):
        """A byte now and then, for as long as somebody is there."""
        for _ in range(600):
            try:
                self.wfile.write(b" ")
                self.wfile.flush()
            except OSError:
                return
            if self.server.gone.wait(0.05):
                return

    def _answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A server with a certificate that the system is told to believe; its address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    moment = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(minutes=5))
        .not_valid_after(moment + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    place = tmp_path / "certificate.pem"
    place.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.gone = threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(place))
    monkeypatch.setattr(Web, "published", b"")
    monkeypatch.setattr(Web, "asked", threading.Semaphore(0))
    monkeypatch.setattr(Web, "go_on", threading.Event())
    yield f"https://localhost:{server.server_port}"
    server.gone.set()
    Web.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()
    with warnings.catch_warnings():
        # A peer that is gone before its handshake leaves a socket that Python's `ssl` forgets.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
