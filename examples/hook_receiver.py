"""Hooks over HTTP, received by the standard library alone: ``python examples/hook_receiver.py 9000``.

Then ``TUSD_PY_HOOKS__HTTP_URLS=http://127.0.0.1:9000/hooks tusd-py serve``, with the hooks that it handles in
``TUSD_PY_HOOKS__ENABLED_EVENTS=authorize,pre-create,pre-finish``.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


def refused(status: int, sentence: str, flag: str) -> Json:
    return {flag: True, "HTTPResponse": {"StatusCode": status, "Body": sentence + "\n"}}


def authorize(event: Json) -> Json:
    """Allow only clients with the right token."""
    tokens = event["HTTPRequest"]["Header"].get("Authorization", [])
    return {} if tokens == ["Bearer let-me-in"] else refused(401, "who are you?", "RejectRequest")


def pre_create(event: Json) -> Json:
    """Require a name, convert it to lower case, and allow at most 1 GB."""
    upload = event["Upload"]
    name = upload["MetaData"].get("filename", "")
    if not name:
        return refused(422, "give the file a name", "RejectUpload")
    if upload["Size"] > 1_000_000_000:
        return refused(413, "at most 1 GB", "RejectUpload")
    return {"ChangeFileInfo": {"MetaData": {**upload["MetaData"], "filename": name.lower()}}}


def pre_finish(event: Json) -> Json:
    """Tell the client where its file is. Invoked again if this response does not arrive."""
    return {"HTTPResponse": {"Header": {"X-File": f"/library/{event['Upload']['ID']}"}}}


HANDLERS = {"authorize": authorize, "pre-create": pre_create, "pre-finish": pre_finish}


class Hooks(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are reused
    wbufsize = -1  # send head and body of the response together

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        response = HANDLERS.get(request["Type"], lambda _: {})(request["Event"])
        body = json.dumps(response).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), Hooks)
    print(f"receiving hooks at http://127.0.0.1:{server.server_address[1]}/hooks", flush=True)
    server.serve_forever()
