"""An ASGI client for tests: a scripted ``receive``, a recording ``send``, and scopes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Scope


def body(data: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


GONE: Message = {"type": "http.disconnect"}


class Incoming:
    """A ``receive`` that returns these messages, then never returns. It waits for an event, and raises an exception."""

    def __init__(self, *messages: Message | asyncio.Event | Exception) -> None:
        self.left = list(messages)
        self.waiting = 0

    async def __call__(self) -> Message:
        while True:
            if not self.left:
                self.waiting += 1
                await asyncio.Event().wait()
            if isinstance(first := self.left[0], asyncio.Event):
                await first.wait()
                self.left.pop(0)
                continue
            message = self.left.pop(0)
            if isinstance(message, Exception):
                raise message
            assert not isinstance(message, asyncio.Event)
            return message


class Outgoing:
    """A ``send`` that records the messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def is_over(self) -> bool:
        return len(self.messages) > 1 and not self.messages[-1].get("more_body", False)


def scope(method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()],
        **more,
    }


async def ask(
    app: ASGIApp, method: str, path: str, headers: Mapping[str, str] | None = None, data: bytes = b"", **more: Any
) -> Outgoing:
    """One request with its whole body, and its response."""
    length = {"content-length": str(len(data))} if data else {}
    out = Outgoing()
    await app(scope(method, path, {**(headers or {}), **length}, **more), Incoming(body(data, more=False)), out)
    return out
