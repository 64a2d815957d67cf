"""A stand-in for a back-end system: it tells orders to one account, whose password it knows."""

import base64
import hmac
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Sales(BaseHTTPRequestHandler):
    """Answers whoever logs in as the account in `sales.json`."""

    def do_GET(self) -> None:
        """Tell the orders, or 401."""
        account = json.loads(Path("sales.json").read_text(encoding="utf-8"))
        login = base64.b64encode(f"{account['User']}:{account['Password']}".encode())
        shown = self.headers.get("Authorization", "").encode()
        is_known = hmac.compare_digest(shown, b"Basic " + login)
        self.send_response(200 if is_known else 401)
        self.end_headers()
        self.wfile.write(b"1,204" if is_known else b"")

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


server = HTTPServer(("127.0.0.1", 0), Sales)
Path("port.new").write_text(str(server.server_port), encoding="ascii")
Path("port.new").rename("port")
server.serve_forever()
