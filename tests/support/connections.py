"""A small application under uvicorn in a thread, to test its protocol class with raw sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import uvicorn

from .content import content

Message = dict[str, Any]
_DEADLINE_SECONDS = 10.0


@dataclass
class Seen:
    """One request as the application saw it."""

    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    #: "complete" or "aborted"; "taken" if it was complete before anything of it was received; "direct" or "known" if it
    #: was begun without a task, the latter by its likeness to an earlier one.
    ended: str = ""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    bytes_zero_copy: int = 0


@dataclass
class Application:
    """Reads each body to its end once ``may_read`` is set, then responds 200 with its path. ``/unread`` reads nothing.

    ``/interim`` sends interim responses before and after the response begins. ``/transferred`` acquires the socket to
    move its body through a file. ``/sent`` responds with as many bytes as its query says, from a file whenever it can
    acquire the socket. ``/taken`` takes a body that has arrived completely. ``/wrapped``, ``/sent-wrapped`` and
    ``/taken-wrapped`` try the same with a ``receive`` or ``send`` that is not the server's.
    """

    seen: list[Seen] = field(default_factory=list)
    sent_interim: list[bool] = field(default_factory=list)
    may_read: threading.Event = field(default_factory=threading.Event)

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        seen = Seen(scope["path"], scope["headers"])
        self.seen.append(seen)
        extension = scope.get("extensions", {}).get("tusd_py", {})
        send_interim = extension.get("send_interim", lambda *_: False)
        if scope["path"] == "/interim":
            for offset in (b"0", b"5"):
                self.sent_interim.append(send_interim(104, [(b"upload-offset", offset)]))
        if scope["path"].startswith("/sent"):
            used = send if scope["path"] == "/sent" else (lambda message: send(message))
            await _send_file(seen, int(scope["query_string"]), send, lambda: extension["acquire_send_socket"](used))
            return
        if scope["path"] != "/unread":
            while not self.may_read.is_set():  # noqa: ASYNC110 - another thread sets it
                await asyncio.sleep(0.002)
            if scope["path"] in ("/transferred", "/wrapped"):
                own = receive if scope["path"] == "/transferred" else (lambda: receive())
                await _transfer(seen, receive, lambda: extension["acquire_socket"](own, lambda: None))
            if scope["path"].startswith("/taken"):
                own = receive if scope["path"] == "/taken" else (lambda: receive())
                if (pieces := extension["take_buffered_body"](own)) is not None:
                    seen.body, seen.ended = b"".join(pieces), "taken"
            await self._read(seen, receive)
        seen.trailers = list(extension["trailers"]()) if "trailers" in extension else []
        text = scope["path"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
        self.sent_interim.append(send_interim(104))
        await send({"type": "http.response.body", "body": text})

    def begin_directly(self, whole: Any, run: Callable[[Any, Any], None]) -> bool | Repetition:
        """Answer ``/direct`` without a task; ``/direct-later`` is begun so, and then left to a task.

        ``/direct-known`` returns how requests begin that are like it.
        """
        if not whole.scope["path"].startswith("/direct"):
            return False
        loop = asyncio.get_running_loop()
        if whole.scope["path"] == "/direct-later":
            loop.call_soon(run, whole, None)
        else:
            body = b"".join(whole.peek_body())
            self.seen.append(Seen(whole.scope["path"], whole.scope["headers"], body, ended="direct"))
            loop.call_soon(self.respond_directly, whole, run)
        return Repetition(self) if whole.scope["path"] == "/direct-known" else True

    def respond_directly(self, whole: Any, run: Callable[[Any, Any], None]) -> None:
        headers = [(b"content-length", b"0")]
        if not whole.respond_directly(201, headers):

            async def send_response(scope: Any, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
                await send({"type": "http.response.start", "status": 201, "headers": headers})
                await send({"type": "http.response.body", "body": b""})

            run(whole, send_response)

    async def _read(self, seen: Seen, receive: Callable[[], Awaitable[Message]]) -> None:
        while not seen.ended:
            message = await receive()
            seen.body += message.get("body", b"")
            if message["type"] == "http.disconnect":
                seen.ended = "aborted"
            elif not message["more_body"]:
                seen.ended = "complete"


@dataclass
class Repetition:
    """Answers requests that are like an earlier one, but those of length 1 by a task."""

    application: Application
    names: tuple[bytes, ...] = (b"upload-length", b"upload-metadata")

    def begin(self, whole: Any, run: Callable[[Any, Any], None], values: Sequence[str]) -> bool:
        if values[0] == "1":
            return False
        self.application.seen.append(Seen(whole.path, whole.headers, ended="known"))
        asyncio.get_running_loop().call_soon(self.application.respond_directly, whole, run)
        return True


async def _transfer(seen: Seen, receive: Callable[[], Awaitable[Message]], acquire: Callable[[], Any]) -> None:
    """Move the body through a file until a burst reads nothing."""
    message = await receive()
    seen.body += message["body"]
    with tempfile.TemporaryFile() as file:
        while reader := acquire():
            seen.body += b"".join(reader.pieces)
            start = os.fstat(file.fileno()).st_size
            at = start
            while moved := await asyncio.to_thread(reader.splice, file.fileno(), at):
                at += moved
            reader.close()
            seen.body += os.pread(file.fileno(), at - start, start)
            seen.bytes_zero_copy += reader.bytes_read
            if not reader.bytes_read:
                break


async def _send_file(
    seen: Seen, count: int, send: Callable[[Message], Awaitable[None]], acquire: Callable[[], Any]
) -> None:
    """Respond with that many bytes of ``content(count)``: a piece, then a burst from a file, and so on."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % count)]})
    at = 0
    with tempfile.TemporaryFile() as file:
        file.write(content(count, count))
        file.flush()
        while at < count:
            piece = os.pread(file.fileno(), min(10_000, count - at), at)
            at += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if writer := await acquire():
                while at < count and (moved := await asyncio.to_thread(writer.sendfile, file.fileno(), at, count - at)):
                    at += moved
                seen.bytes_zero_copy += writer.bytes_sent
                writer.close()
    await send({"type": "http.response.body", "body": b""})
    seen.ended = "complete"


@dataclass
class Served:
    """A server that accepts connections on ``port``."""

    port: int
    application: Application
    server: uvicorn.Server

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=_DEADLINE_SECONDS)

    def exchange(self, *pieces: bytes) -> bytes:
        """Send ``pieces`` and return everything that arrives until the server closes the connection."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return rest(connection)

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)


@contextmanager
def served(
    http: type[asyncio.Protocol] | str, loop: Literal["asyncio", "uvloop"], keep_alive_seconds: int
) -> Iterator[Served]:
    """Serve an ``Application`` with this protocol class on this event loop."""
    application = Application()
    application.may_read.set()
    config = uvicorn.Config(
        application,
        http=http,
        loop=loop,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=keep_alive_seconds,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: server.started)
        yield Served(listener.getsockname()[1], application, server)
    finally:
        application.may_read.set()
        server.force_exit = server.should_exit = True
        thread.join(_DEADLINE_SECONDS)
        listener.close()


def until(condition: Callable[[], bool]) -> None:
    """Return as soon as ``condition`` holds; fail the test if it does not in time."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition does not hold in time"
        time.sleep(0.002)


def rest(connection: socket.socket, quiet_seconds: float = _DEADLINE_SECONDS) -> bytes:
    """Return what arrives until the server closes the connection. Raises ``TimeoutError`` if it stays open."""
    connection.settimeout(quiet_seconds)
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def answer(connection: socket.socket) -> bytes:
    """The next response of ``Application``, whose body is the path and nothing else."""
    connection.settimeout(_DEADLINE_SECONDS)
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(1)
        assert piece, f"closed after {received!r}"
        received += piece
    head = received.lower()
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0]) if b"content-length: " in head else 0
    while length:
        piece = connection.recv(length)
        assert piece, f"closed after {received!r}"
        received, length = received + piece, length - len(piece)
    return received
