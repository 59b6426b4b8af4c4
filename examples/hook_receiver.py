"""Hooks over HTTP, received by the standard library alone: ``python examples/hook_receiver.py 9000``.

Then ``TUSD_PY_HOOKS__HTTP_URLS=http://127.0.0.1:9000/hooks tusd-py serve``, with the hooks that are answered here in
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
    """Only who has a token, for this request and for this upload, is served."""
    tokens = event["HTTPRequest"]["Header"].get("Authorization", [])
    return {} if tokens == ["Bearer let-me-in"] else refused(401, "who are you?", "RejectRequest")


def pre_create(event: Json) -> Json:
    """Uploads need a name, which is told back in lower case, and may have a gigabyte."""
    upload = event["Upload"]
    name = upload["MetaData"].get("filename", "")
    if not name:
        return refused(422, "give the file a name", "RejectUpload")
    if upload["Size"] > 1_000_000_000:
        return refused(413, "at most 1 GB", "RejectUpload")
    return {"ChangeFileInfo": {"MetaData": {**upload["MetaData"], "filename": name.lower()}}}


def pre_finish(event: Json) -> Json:
    """The client learns what became of its file; asked again if this answer does not arrive."""
    return {"HTTPResponse": {"Header": {"X-File": f"/library/{event['Upload']['ID']}"}}}


ANSWERS = {"authorize": authorize, "pre-create": pre_create, "pre-finish": pre_finish}


class Hooks(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the connection is used again
    wbufsize = -1  # head and body of the answer go out together

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = ANSWERS.get(told["Type"], lambda _: {})(told["Event"])
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), Hooks)
    print(f"receiving hooks at http://127.0.0.1:{server.server_address[1]}/hooks", flush=True)
    server.serve_forever()
