"""A TCP proxy that breaks connections by a plan that its seed determines. It does not depend on HTTP or tus."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType

_RELAY_BYTES = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_TRICKLED_PIECES = 30


class Kind(StrEnum):
    """What happens to a connection."""

    CLEAN = "clean"
    CUT = "cut"  # both ends see an orderly end (FIN)
    RESET = "reset"  # both ends see a reset (RST)
    HALF_CLOSE = "half-close"  # the server sees the end of the request, and may still answer
    DELAY = "delay"  # nothing moves for a while
    TRICKLE = "trickle"  # a few bytes at a time for a while
    LOST_ANSWER = "lost answer"  # the request arrives, its answer does not


# The faults that connections get: two in three break the connection.
_DECK = (*Kind, Kind.CUT, Kind.RESET, Kind.HALF_CLOSE, Kind.LOST_ANSWER)


@dataclass(frozen=True)
class Fault:
    """The fault of one connection: its kind, after how many bytes it happens, and how long a pause takes."""

    kind: Kind
    after_bytes: int
    pause_seconds: float


class Plan:
    """The fault of each connection by its number, the same for the same seed. Each deck contains every kind."""

    def __init__(self, seed: int, after_bytes_max: int) -> None:
        self._seed, self._after_bytes_max = seed, after_bytes_max

    def fault(self, number: int) -> Fault:
        deck = list(_DECK)
        random.Random(f"{self._seed}/deck/{number // len(deck)}").shuffle(deck)
        dice = random.Random(f"{self._seed}/connection/{number}")
        kind = deck[number % len(deck)]
        # Evenly over the magnitudes: within the head of a request as well as deep in a body.
        after_bytes = int(2 ** dice.uniform(3, self._after_bytes_max.bit_length() - 1))
        if kind is Kind.LOST_ANSWER:
            after_bytes = dice.randrange(64)
        elif kind is Kind.HALF_CLOSE:
            # Within a body: half a head is a bad request, which a client does not retry.
            after_bytes += 1024
        return Fault(kind, after_bytes, dice.uniform(0.05, 0.3))


class FaultyProxy:
    """Listens on a port of its own while entered, and relays to ``target_port`` with the faults of ``plan``.

    ``struck`` counts the faults that really happened (a connection may end before its own is due).
    ``unanswered`` counts half-closed connections that the server neither answered nor closed in time.
    """

    def __init__(self, target_port: int, plan: Plan, grace_seconds: float = 5.0) -> None:
        self._target_port, self._plan, self._grace_seconds = target_port, plan, grace_seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.struck: Counter[Kind] = Counter()
        self.unanswered = 0
        self.port = 0

    async def __aenter__(self) -> FaultyProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
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
        task = asyncio.create_task(self._relay(self._plan.fault(self.connections), reader, writer))
        self.connections += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_server = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        await _Link(self, fault, (reader, writer), to_server).run()

    async def half_closed(self, answering: asyncio.Task[None]) -> None:
        """Wait until the server ends its side of a half-closed connection; count it if it does not in time."""
        done, _ = await asyncio.wait((answering,), timeout=self._grace_seconds)
        self.unanswered += not done


class _Link:
    """One relayed connection with its fault."""

    def __init__(
        self,
        proxy: FaultyProxy,
        fault: Fault,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy, self._fault = proxy, fault
        self._client_reader, self._client_writer = client
        self._server_reader, self._server_writer = server

    async def run(self) -> None:
        up = asyncio.create_task(self._relay_up())
        down = asyncio.create_task(self._relay_down())
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            if not down.done():
                await self._after_request(up, down)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            for writer in (self._client_writer, self._server_writer):
                writer.close()

    async def _after_request(self, up: asyncio.Task[None], down: asyncio.Task[None]) -> None:
        """The direction of the request ended first: end the connection as the fault says."""
        if up.exception() is not None or self._fault.kind is not Kind.HALF_CLOSE:
            return
        self._server_writer.write_eof()
        # The client continues to send and must not notice: its bytes are read and discarded.
        dropping = asyncio.create_task(self._drop())
        try:
            await self._proxy.half_closed(down)
        finally:
            dropping.cancel()
            await asyncio.gather(dropping, return_exceptions=True)

    async def _drop(self) -> None:
        while await self._client_reader.read(_RELAY_BYTES):
            pass

    async def _relay_up(self) -> None:
        """Relay the client's bytes until they end, or until a fault ends the connection."""
        fault, relayed, struck = self._fault, 0, self._fault.kind in (Kind.CLEAN, Kind.LOST_ANSWER)
        trickled = 0
        while True:
            bytes_max = _RELAY_BYTES if struck else min(_RELAY_BYTES, fault.after_bytes - relayed)
            if trickled:
                bytes_max, trickled = 1 + trickled * 97 % 700, trickled - 1
                await asyncio.sleep(0.01)
            piece = await self._client_reader.read(bytes_max)
            if not piece:
                return
            self._server_writer.write(piece)
            await self._server_writer.drain()
            relayed += len(piece)
            if not struck and relayed >= fault.after_bytes:
                struck = True
                if await self._strike():
                    return
                trickled = _TRICKLED_PIECES if fault.kind is Kind.TRICKLE else 0

    async def _strike(self) -> bool:
        """Inject the fault. Return whether it ends the relaying."""
        self._proxy.struck[self._fault.kind] += 1
        if self._fault.kind is Kind.RESET:
            self._reset()
        elif self._fault.kind is Kind.DELAY:
            await asyncio.sleep(self._fault.pause_seconds)
        return self._fault.kind in (Kind.CUT, Kind.RESET, Kind.HALF_CLOSE)

    async def _relay_down(self) -> None:
        """Relay the server's bytes to the client: all, or only the first few if the answer is to be lost."""
        left = self._fault.after_bytes if self._fault.kind is Kind.LOST_ANSWER else None
        while piece := await self._server_reader.read(_RELAY_BYTES):
            self._client_writer.write(piece if left is None else piece[:left])
            await self._client_writer.drain()
            if left is not None and len(piece) > left:
                self._proxy.struck[Kind.LOST_ANSWER] += 1
                return
            left = None if left is None else left - len(piece)

    def _reset(self) -> None:
        for writer in (self._client_writer, self._server_writer):
            end = writer.get_extra_info("socket")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
