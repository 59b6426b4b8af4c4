"""Requests that have arrived whole, as our HTTP server offers them to the application, and the application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from tusd_py.commands.startup import prepare
from tusd_py.service import create_app
from tusd_py.settings import Settings

Headers = list[tuple[bytes, bytes]]
TUS = (b"tus-resumable", b"1.0.0")
STREAM = (b"content-type", b"application/offset+octet-stream")


class Whole:
    """A request that has arrived whole. ``can_respond`` says whether the response can be sent at once."""

    def __init__(self, *headers: tuple[bytes, bytes], body: bytes = b"", path: str = "/files/", **scope: Any) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "root_path": "",
            "raw_path": path.encode(),
            "query_string": b"",
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 8080),
            "client": ("192.0.2.7", 4711),
            "headers": [(b"host", b"127.0.0.1:8080"), *headers, (b"content-length", b"%d" % len(body))],
            **scope,
        }
        self.body = body
        self.can_respond = True
        self.disconnected = False
        self.status = 0
        self.response_headers: Headers = []
        self.answered = asyncio.Event()
        self.ran: list[Any] = []

    @property
    def method(self) -> str:
        method: str = self.scope["method"]
        return method

    @property
    def path(self) -> str:
        path: str = self.scope["path"]
        return path

    @property
    def headers(self) -> Headers:
        headers: Headers = self.scope["headers"]
        return headers

    @property
    def is_below_root(self) -> bool:
        return bool(self.scope["root_path"])

    @property
    def address(self) -> dict[str, Any]:
        return {name: self.scope[name] for name in ("http_version", "server", "client", "scheme")}

    @property
    def client_host(self) -> str | None:
        client = self.scope["client"]
        return client[0] if client else None

    def peek_body(self) -> Sequence[bytes]:
        return [self.body] if self.body else []

    def respond_directly(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        if self.can_respond:
            self._on_response(status, [*headers])
        return self.can_respond

    def respond_lines(self, status: int, lines: bytes, count: int) -> bool:
        headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines.split(b"\r\n")[:-1])]
        assert len(headers) == count
        return self.respond_directly(status, headers)

    def run(self, whole: Whole, application: Any) -> None:
        assert whole is self
        self.ran.append(application)
        self.answered.set()

    def _on_response(self, status: int, headers: Headers) -> None:
        self.status, self.response_headers = status, headers
        self.answered.set()

    async def by_task(self, application: Any) -> None:
        """Answer it by an ASGI application."""

        async def receive() -> Any:
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._on_response(message["status"], [*message["headers"]])

        await application(dict(self.scope), receive, send)


@asynccontextmanager
async def served(folder: Path, **sections: Any) -> AsyncIterator[Starlette]:
    settings = Settings(storage={"data_dir": str(folder)}, **sections)
    await asyncio.to_thread(prepare, settings)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


def begin(app: Any, whole: Whole) -> bool:
    is_begun: bool = app.begin_directly(whole, whole.run)
    return is_begun
