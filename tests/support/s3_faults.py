"""A TCP proxy in front of an S3 server that refuses with 503, or does not answer at all, while a test says so."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from types import TracebackType

_RELAY_BYTES = 64 * 1024
_BODY = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>a fault</Message></Error>'
_REFUSAL = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_BODY)
)


class S3Mode(StrEnum):
    """What happens to new requests. A change breaks the connections that are relayed."""

    RELAY = "relay"
    REFUSE = "503"
    HANG = "hang"  # also after the mode has changed: the client has to give up by itself


class S3Faults:
    """Listens on ``port`` while entered, and relays to ``target_port``."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._mode = S3Mode.RELAY
        self._tasks: set[asyncio.Task[None]] = set()
        self._relayed: set[asyncio.Task[None]] = set()
        self.struck = 0  # requests that were refused or not answered
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, mode: S3Mode) -> None:
        """Treat new requests by ``mode``, and break what is relayed."""
        self._mode = mode
        for task in self._relayed:
            task.cancel()

    async def __aenter__(self) -> S3Faults:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._mode is S3Mode.RELAY:
            self._relayed.add(task)
            task.add_done_callback(self._relayed.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._mode is S3Mode.RELAY:
                await self._relay(reader, writer)
            elif self._mode is S3Mode.REFUSE:
                await self._refuse(reader, writer)
            else:
                self.struck += 1
                await _read_away(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass_on(reader, to_server))
                group.create_task(_pass_on(from_server, writer))
        except* OSError:
            pass
        finally:
            to_server.transport.abort()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.struck += 1
        writer.write(_REFUSAL + _BODY)
        await writer.drain()
        writer.write_eof()
        # The rest of the request is read: a reset would take the answer away.
        async with asyncio.timeout(5):
            await _read_away(reader)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_RELAY_BYTES):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


async def _read_away(reader: asyncio.StreamReader) -> None:
    while await reader.read(_RELAY_BYTES):
        pass
