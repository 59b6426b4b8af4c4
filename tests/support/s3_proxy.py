"""A proxy before an S3 server that breaks chosen requests: so many of one operation, each in a given way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit

_SLOW_PIECES = 5
_ERROR = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>injected</Message></Error>'


class Break(StrEnum):
    """What happens to a request."""

    UNAVAILABLE = "503"  # it does not arrive; the answer is 503 SlowDown
    INTERNAL = "500"  # it does not arrive; the answer is 500 InternalError
    RESET = "reset"  # it does not arrive; the connection is reset
    LOST = "lost answer"  # it arrives; the connection is reset before the answer
    SILENT = "silent"  # it arrives; there is no answer
    HALF = "half answer"  # it arrives; the connection ends within the answer
    SLOW = "slow answer"  # it arrives; the answer comes in pieces with pauses
    ERROR_200 = "200 with an error"  # it arrives; the answer is 200 with InternalError in its body
    HELD = "held"  # it waits until ``release``, then it arrives, whether its sender still lives or not
    CHANGED = "changed"  # it arrives with one wrong byte
    NONE = "none"  # it arrives and is answered: only the next ones are broken


@dataclass
class S3Proxy:
    """Forwards requests to the server at ``target_port``. ``breaks`` says how many of which operation are broken."""

    target_port: int
    port: int = 0
    broken: list[str] = field(default_factory=list)  # the operations that were broken
    passed: list[str] = field(default_factory=list)  # the operations that were answered
    _breaks: list[tuple[str, Break]] = field(default_factory=list)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _clients: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def breaks(self, operation: str, how: Break, count: int = 1) -> None:
        """Break the next ``count`` requests of ``operation``; ``*`` stands for every operation."""
        self._breaks += [(operation, how)] * count

    def mend(self) -> None:
        """Break no more requests."""
        self._breaks.clear()

    def release(self) -> None:
        """Let the requests arrive that are held."""
        self._released.set()

    async def settle(self) -> None:
        """Wait until the requests that were held, or whose senders have gone, are done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _break_of(self, name: str, operation: str, has_body: bool) -> Break | None:
        for index, (broken, how) in enumerate(self._breaks):
            if broken in ("*", name) and (has_body or how is not Break.CHANGED):
                del self._breaks[index]
                if how is not Break.NONE:
                    self.broken.append(operation)
                return how
        return None

    async def close(self) -> None:
        """End every connection."""
        self.release()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await self.settle()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._clients.discard(task)
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. False if the connection ends."""
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if headers.get("expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        kept = [line for line in lines if not line.lower().startswith(("expect:", "connection:"))]
        operation = operation_of(lines[0], headers)
        # The objects by which a server tries and recognises the bucket are at times of their own.
        is_probe = "/probe" in lines[0] or "/tusd-py.mark" in lines[0]
        name = "Trial" if "/tails/probe" in lines[0] else "Probe" if is_probe else operation
        how = self._break_of(name, operation, bool(body))
        how = None if how is Break.NONE else how
        if how in (Break.UNAVAILABLE, Break.INTERNAL):
            code = b"SlowDown" if how is Break.UNAVAILABLE else b"InternalError"
            writer.write(_response(int(how), _ERROR % code))
            return True
        if how is Break.RESET:
            return _reset(writer)
        if how is Break.CHANGED:
            body = bytes([body[0] ^ 1]) + body[1:]
        request = "\r\n".join([*kept, "Connection: close", "", ""]).encode("latin-1") + body
        # Once sent, a request arrives, even if its sender ends.
        task = asyncio.get_running_loop().create_task(self._forward(request, how, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)
        if how in (Break.LOST, Break.HALF):
            return _reset(writer)
        if how is None:
            self.passed.append(name)
        return not writer.is_closing()

    async def _forward(self, request: bytes, how: Break | None, writer: asyncio.StreamWriter) -> None:
        if how is Break.HELD:
            await self._released.wait()
        upstream, sender = await asyncio.open_connection("127.0.0.1", self.target_port)
        try:
            sender.write(request)
            answer = await upstream.read()
        finally:
            sender.transport.abort()
            with suppress(ConnectionError):
                await sender.wait_closed()
        if how is Break.SILENT:
            await self._released.wait()
            return
        if how is Break.LOST:
            return
        if how is Break.ERROR_200:
            answer = _response(200, _ERROR % b"InternalError")
        if how is Break.HALF:
            answer = answer[: -max(1, len(answer.partition(b"\r\n\r\n")[2]) // 2)]
        # A connection that ends after its answer needs no length, but ours goes on.
        answer = answer.replace(b"Connection: close\r\n", b"", 1)
        with suppress(ConnectionError):
            for piece in _pieces(answer) if how is Break.SLOW else [answer]:
                writer.write(piece)
                await writer.drain()
                if how is Break.SLOW:
                    await asyncio.sleep(0.3)


def operation_of(request_line: str, headers: dict[str, str]) -> str:
    """The name of an operation of S3."""
    method, target, _ = request_line.split(" ")
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    kind = "-parts" if "uploadId" in query else "-uploads" if "uploads" in query else ""
    names = {
        "PUT": "PutObject",
        "PUT-parts": "UploadPartCopy" if "x-amz-copy-source" in headers else "UploadPart",
        "POST-uploads": "CreateMultipartUpload",
        "POST-parts": "CompleteMultipartUpload",
        "DELETE": "DeleteObject",
        "DELETE-parts": "AbortMultipartUpload",
        "HEAD": "HeadObject",
        "GET": "ListObjects" if "list-type" in query else "GetObject",
        "GET-parts": "ListParts",
        "GET-uploads": "ListMultipartUploads",
    }
    return names.get(method + kind, method)


@asynccontextmanager
async def s3_proxy(target_port: int) -> AsyncIterator[S3Proxy]:
    """Start a proxy for a block, in the event loop of the test."""
    proxy = S3Proxy(target_port)
    server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0, limit=1024 * 1024)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


def _response(status: int, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 %d Injected\r\nContent-Length: %d\r\nContent-Type: application/xml\r\n\r\n"
        % (
            status,
            len(body),
        )
        + body
    )


def _pieces(answer: bytes) -> list[bytes]:
    size = len(answer) // _SLOW_PIECES + 1
    return [answer[start : start + size] for start in range(0, len(answer), size)]


def _reset(writer: asyncio.StreamWriter) -> bool:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False
