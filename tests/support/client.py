"""A small tus client on raw sockets: a connection that a test can stall or cut, and an upload that always retries.

It records every offset that the server reported and every byte that it sent, with the time, so that tests can compare
them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

TUS = {"Tus-Resumable": "1.0.0"}
BODY = {"Content-Type": "application/offset+octet-stream"}
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """A response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def offset(self) -> int | None:
        value = self.headers.get("upload-offset")
        return None if value is None else int(value)


class Connection:
    """One HTTP/1.1 connection on which a test sends requests piece by piece."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str) -> None:
        self._reader, self._writer, self._authority = reader, writer, authority
        self._method = ""

    @classmethod
    async def open(cls, url: str) -> Connection:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port), parts.netloc)

    @property
    def own_port(self) -> int:
        port: int = self._writer.get_extra_info("sockname")[1]
        return port

    async def send_head(self, method: str, url: str, headers: Mapping[str, str]) -> None:
        self._method = method
        target = urlsplit(url)._replace(scheme="", netloc="").geturl()
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes | memoryview) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, *, interim: bool = False) -> Answer:
        """Return the next response, 1xx only with ``interim``. Raises ``ConnectionError`` if the connection ends."""
        while True:
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as error:
                raise ConnectionResetError("the connection ended without an answer") from error
            status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
            status = int(status_line.split(" ")[1])
            headers: dict[str, str] = {}
            for name, value in (line.split(":", 1) for line in lines):
                # Cookies cannot be combined in one line: a line each.
                key = name.lower()
                before = f"{headers[key]}\n" if key == "set-cookie" and key in headers else ""
                headers[key] = before + value.strip()
            if status >= 200:
                return Answer(status, headers, await self._body(status, headers))
            if interim:
                return Answer(status, headers)

    async def _body(self, status: int, headers: Mapping[str, str]) -> bytes:
        if self._method == "HEAD" or status in (204, 304):
            return b""
        try:
            if "content-length" in headers:
                return await self._reader.readexactly(int(headers["content-length"]))
            if headers.get("transfer-encoding", "").lower() == "chunked":
                return b"".join([chunk async for chunk in self._chunks()])
            return await self._reader.read()
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the answer was cut") from error

    async def _chunks(self) -> AsyncIterator[bytes]:
        while length := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(length + 2))[:length]
        await self._reader.readuntil(b"\r\n")

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | memoryview | None = None
    ) -> Answer:
        length = {} if body is None else {"Content-Length": str(len(body))}
        await self.send_head(method, url, {**headers, **length})
        return await self.answer_while(self.send(body or b""))

    async def answer_while(self, sending: Coroutine[Any, Any, None], timeout_seconds: float = 30.0) -> Answer:
        """Return the response to a request while ``sending`` sends its body; the response may come before its end."""
        tasks = asyncio.create_task(self.answer()), asyncio.create_task(sending)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return await asyncio.wait_for(tasks[0], timeout_seconds)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def end(self, *, half: bool = False, reset: bool = False) -> None:
        """Close the connection with FIN; with ``half`` only the sending side; with ``reset`` by RST.

        Returns when the server has closed its side too, except after a reset.
        """
        if reset:
            own_end = self._writer.get_extra_info("socket")
            own_end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif half:
            self._writer.write_eof()
            while await self._reader.read(_PIECE_BYTES):
                pass
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass  # the server has closed it already

    def close(self) -> None:
        """Abort the connection; unsent bytes are discarded."""
        self._writer.transport.abort()


async def request(
    method: str, url: str, headers: Mapping[str, str] = TUS, body: bytes | memoryview | None = None
) -> Answer:
    """Send one request on a connection of its own."""
    connection = await Connection.open(url)
    try:
        return await connection.request(method, url, headers, body)
    finally:
        connection.close()


async def create(endpoint: str, length: int, headers: Mapping[str, str] = TUS) -> str:
    """Create an upload and return its URL."""
    answer = await request("POST", endpoint, {**headers, "Upload-Length": str(length)}, b"")
    assert answer.status == 201, answer
    return urljoin(endpoint, answer.headers["location"])


def patch_headers(offset: int, length: int | None = None) -> dict[str, str]:
    """The headers of a PATCH at ``offset`` with a body of ``length`` bytes."""
    announced = {} if length is None else {"Content-Length": str(length)}
    return {**TUS, **BODY, "Upload-Offset": str(offset), **announced}


@dataclass(frozen=True)
class ReportedOffset:
    """An offset that the server reported, and the time at which the client read it."""

    at: float
    offset: int


@dataclass
class PatientUpload:
    """Uploads ``content`` and retries after every failure: create, HEAD, then PATCH from the offset, until complete.

    ``run`` raises ``AssertionError`` if the server reports an offset that was never sent or that goes backwards, or if
    it answers with a status from which a client cannot recover.
    """

    endpoint: str
    content: memoryview
    rate: float = float("inf")  # bytes per second; may be changed while it runs
    answer_seconds: float = 10.0
    headers: Mapping[str, str] = field(default_factory=dict)  # of the creation, in addition to the length
    clock: Callable[[], float] = time.monotonic
    url: str | None = None
    sent: int = 0  # the highest offset ever handed to the network
    reported: list[ReportedOffset] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    broken: int = 0  # requests that ended without an answer
    timed_out: int = 0
    resent_bytes: int = 0
    own_port: int = 0  # of the connection of the running (or last) PATCH
    _position: int = 0
    _sent_at: list[tuple[float, int]] = field(default_factory=list)

    async def run(self) -> str:
        """Upload to the end and return the URL of the upload."""
        while not (self.reported and self.reported[-1].offset == len(self.content)):
            try:
                await asyncio.sleep(0 if await self._step() else 0.1)
            except (OSError, TimeoutError) as error:
                self.broken += 1
                self.timed_out += isinstance(error, TimeoutError)
                await asyncio.sleep(0.2)
        assert self.url is not None
        return self.url

    async def _step(self) -> bool:
        """One request cycle. Returns False if the server asked to retry later."""
        if self.url is None:
            return await self._create()
        answer = await asyncio.wait_for(request("HEAD", self.url), self.answer_seconds)
        self.statuses.append(answer.status)
        if answer.status in (423, 503):
            return False
        assert answer.status == 200, f"HEAD: {answer}"
        offset = self._record_offset(answer)
        return offset == len(self.content) or await self._append(offset)

    async def _create(self) -> bool:
        headers = {**TUS, "Upload-Length": str(len(self.content)), **self.headers}
        answer = await asyncio.wait_for(request("POST", self.endpoint, headers, b""), self.answer_seconds)
        self.statuses.append(answer.status)
        if answer.status == 503:
            return False
        assert answer.status == 201, f"POST: {answer}"
        self.url = urljoin(self.endpoint, answer.headers["location"])
        return True

    async def _append(self, offset: int) -> bool:
        assert self.url is not None
        connection = await Connection.open(self.url)
        self.own_port = connection.own_port
        try:
            await connection.send_head("PATCH", self.url, patch_headers(offset, len(self.content) - offset))
            answer = await connection.answer_while(self._send_from(connection, offset), self.answer_seconds)
        finally:
            connection.close()
        self.statuses.append(answer.status)
        if answer.status == 204:
            self._record_offset(answer)
            return True
        # 400: interrupted by another request for the same upload, for instance one of an earlier connection.
        assert answer.status in (400, 409, 423, 503), f"PATCH: {answer}"
        return False

    async def _send_from(self, connection: Connection, offset: int) -> None:
        self.resent_bytes += max(0, self.sent - offset)
        self._position, due = offset, self.clock()
        self._sent_at = [(due, offset)]
        while self._position < len(self.content):
            piece_bytes = int(min(_PIECE_BYTES, max(1024, self.rate / 8)))
            piece = self.content[self._position : self._position + piece_bytes]
            self._position += len(piece)
            self.sent = max(self.sent, self._position)
            await connection.send(piece)
            self._sent_at.append((self.clock(), self._position))
            due = max(due, self.clock() - 0.2) + len(piece) / self.rate
            # Sending does not block while the kernel buffers everything: other tasks run after every piece.
            await asyncio.sleep(max(0.0, due - self.clock()))

    def _record_offset(self, answer: Answer) -> int:
        offset = answer.offset
        assert offset is not None, f"an answer without Upload-Offset: {answer}"
        last = self.reported[-1].offset if self.reported else 0
        assert last <= offset <= self.sent, f"reported {offset} after {last}, while {self.sent} bytes were sent"
        self.reported.append(ReportedOffset(self.clock(), offset))
        return offset

    @property
    def position(self) -> int:
        """The offset that the running (or last) PATCH has reached."""
        return self._position

    def position_at(self, at: float) -> int:
        """The offset that the running (or last) PATCH had reached at ``at``; its start if it began later."""
        index = bisect_right(self._sent_at, at, key=lambda entry: entry[0])
        return self._sent_at[max(0, index - 1)][1] if self._sent_at else 0

    def first_reported_after(self, at: float) -> ReportedOffset | None:
        """The first offset that the server reported after the time ``at``; None if there is none."""
        return next((report for report in self.reported if report.at > at), None)
