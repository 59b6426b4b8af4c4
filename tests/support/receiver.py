"""A receiver of hooks, written after tusd's documentation: an HTTP endpoint that records its requests.

Its answers are set for each hook; of a list, each call gets the next one. Nothing here imports the server.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """The response to a call: ``content`` as JSON, or ``raw``. ``hangs`` sends nothing, ``is_cut`` a part of it."""

    content: object = field(default_factory=dict)
    raw: bytes | None = None
    status: int = 200
    content_type: str | None = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    hangs: bool = False
    is_cut: bool = False

    @property
    def body(self) -> bytes:
        return json.dumps(self.content).encode() if self.raw is None else self.raw


HANG = Answer(hangs=True)
CUT = Answer({"HTTPResponse": {"Body": "never whole"}}, is_cut=True)


@dataclass(frozen=True)
class Call:
    """One received request: its JSON, and its headers as they were sent."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    payload: dict[str, Any]
    raw: bytes = b""

    @property
    def hook(self) -> str:
        return str(self.payload["Type"] if "Type" in self.payload else self.payload["type"])

    @property
    def upload(self) -> Any:
        return self.payload["Event"]["Upload"]

    @property
    def request(self) -> Any:
        return self.payload["Event"]["HTTPRequest"]

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Receiver:
    """Answers ``{}`` unless ``answers`` has an ``Answer`` for the hook, or a list of them."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.calls: list[Call] = []
        self.connections: set[tuple[str, int]] = set()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Send head and body together: the client's delayed acknowledgement would distort measurements.
            wbufsize = -1

            def do_POST(self) -> None:
                receiver.connections.add(self.client_address)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                call = Call(self.command, self.path, tuple(self.headers.items()), json.loads(body), body)
                receiver._answer(self, receiver._next(call))

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hooks"

    def of(self, hook: str) -> list[Call]:
        """The calls of one hook, in order."""
        return [call for call in self.calls if call.hook == hook]

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next(self, call: Call) -> Answer:
        with self._lock:
            self.calls.append(call)
            answer = self.answers.get(call.hook, Answer())
            if isinstance(answer, list):
                answer = answer.pop(0) if answer else Answer()
            return answer

    def _answer(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.hangs:
            self._closing.wait(60)
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        if answer.content_type is not None:
            handler.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers:
            handler.send_header(name, value)
        if answer.status != 204:
            handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        if answer.is_cut:
            handler.wfile.write(answer.body[: len(answer.body) // 2])
            handler.close_connection = True
        elif answer.status != 204:
            handler.wfile.write(answer.body)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()
