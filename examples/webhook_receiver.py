"""Webhooks, received and verified by the standard library alone.

``WEBHOOK_SECRET=whsec_... python examples/webhook_receiver.py 9000``, with the same secret in ``webhooks.endpoints``.
"""

from __future__ import annotations

import hmac
import json
import os
import sys
import time
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
TOLERANCE_SECONDS = 300
seen: set[str] = set()  # in production: in your database, in the same transaction as your changes


def is_genuine(event_id: str, timestamp: str, signatures: str, body: bytes) -> bool:
    """Whether the request was sent by the owner of the key, and recently."""
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    digest = hmac.digest(KEY, f"{event_id}.{timestamp}.".encode() + body, "sha256")
    expected = "v1," + b64encode(digest).decode()
    return any(hmac.compare_digest(expected, signature) for signature in signatures.split())


class Webhooks(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        event_id, timestamp, signatures = (self.headers.get(name, "") for name in names)
        if not is_genuine(event_id, timestamp, signatures, body):
            self.respond(401)
            return
        if event_id not in seen:  # the same event may be delivered twice
            seen.add(event_id)
            event = json.loads(body)
            print(event["type"], event["upload"]["id"], flush=True)
        self.respond(204)

    def respond(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), Webhooks)
    print(f"receiving webhooks at http://127.0.0.1:{server.server_address[1]}/webhooks", flush=True)
    server.serve_forever()
