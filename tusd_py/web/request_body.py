"""The body of an ASGI request as a ``RequestBody``: a task reads ahead, so that bytes received before a cut are kept.

ASGI servers drop what the application has not yet received when the client goes away; whoever always sits in
``receive()`` has it before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from starlette.types import Receive

from tusd_py.contracts.body import BodyAborted, BodyTimeout
from tusd_py.contracts.zero_copy import SocketReader
from tusd_py.protocol.errors import ServerShutdown

log = logging.getLogger(__name__)

#: Bytes kept in memory for one request before the client is made to wait.
READ_AHEAD_BYTES = 1024 * 1024
#: A body is lent when its client is quick: so much was read at once,
_BRISK_READ_BYTES = 64 * 1024
#: or taken the last time.
_BRISK_TAKEN_BYTES = 256 * 1024
#: How long a body may be slower than the least rate: radio links fall silent for seconds and then catch up.
_RATE_SECONDS = 20.0
#: A body that is stopped is read until nothing has come for so long: bytes may wait in the server or the kernel that
#: the client sent before it went away and came back.
_QUIET_SECONDS = 0.01
#: But a client that goes on sending does not keep the newcomer waiting.
_STOP_SECONDS = 0.05


class AsgiBody:
    """Reads one request's body. Nothing is received before the first ``read``: no ``100 Continue`` is sent either."""

    def __init__(
        self,
        receive: Receive,
        idle_seconds: float,
        rate_min: float = 0,
        trailers: Callable[[], Sequence[tuple[bytes, bytes]]] = tuple,
        lend: Callable[[Receive], SocketReader | None] | None = None,
        take_whole: Callable[[Receive], list[bytes] | None] | None = None,
    ) -> None:
        #: Of these, ``bytes_poured`` went past this object.
        self.bytes_poured = 0
        self.was_read = False
        self._receive = receive
        self._lend = lend
        self._take_whole = take_whole
        self._loan: SocketReader | None = None
        self._is_brisk = False
        self._bytes_settled = 0  # all but those of the loan
        self._idle_seconds = idle_seconds
        self._rate_min = rate_min
        self._was_full = False
        #: See ``RequestBody.trailers``.
        self.trailers = trailers
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._is_ended = False  # cleanly
        self._reason: Exception | None = None
        self._stopping: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._rate: asyncio.TimerHandle | None = None
        self._heard_at = 0.0

    @property
    def bytes_received(self) -> int:
        """How many bytes of the body have come so far."""
        return self._bytes_settled + (0 if self._loan is None else self._loan.taken_bytes)

    @property
    def is_ended(self) -> bool:
        """Whether the body has come to its clean end: the connection can carry another request."""
        return self._is_ended

    @property
    def is_gone(self) -> bool:
        """Whether the client went away: nobody reads the answer."""
        return isinstance(self._reason, BodyAborted)

    async def read(self, wait_seconds: float | None = None) -> Sequence[bytes] | None:
        """See ``RequestBody.read``."""
        if not self.was_read:
            self._start()
        if not self._pieces and not self._is_ended and self._reason is None and not await self._wait(wait_seconds):
            return None
        if self._pieces:
            self._is_brisk = self._buffered >= _BRISK_READ_BYTES
            return self._take_out()
        if self._is_ended:
            return ()
        assert self._reason is not None
        raise self._reason

    def tap(self) -> SocketReader | None:
        """See ``ZeroCopyBody.tap``."""
        if not self._is_brisk or self._is_ended or self._reason is not None or self._stopping is not None:
            return None
        loan = None if self._lend is None else self._lend(self._receive)
        if loan is None:
            self._is_brisk = False
            return None
        self._loan = loan
        # While it is lent, the client waits for the file; and whoever is lent one is not slow.
        self._was_full = True
        self._bytes_settled += sum(map(len, loan.pieces))
        return _Tap(loan, [*self._take_out(), *loan.pieces], self._end_loan)

    def _end_loan(self) -> None:
        loan, self._loan = self._loan, None
        assert loan is not None
        if loan.taken_bytes:
            self._heard_at = asyncio.get_running_loop().time()
        self._bytes_settled += loan.taken_bytes
        self.bytes_poured += loan.taken_bytes
        self._is_brisk = loan.taken_bytes >= _BRISK_TAKEN_BYTES
        loan.close()

    def _take_out(self) -> list[bytes]:
        pieces, self._pieces, self._buffered = self._pieces, [], 0
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)
        return pieces

    def stop(self, reason: Exception) -> None:
        """See ``RequestBody.stop``."""
        if self._is_ended or self._reason is not None or self._stopping is not None:
            return
        self._stopping = reason
        if self.was_read:
            self._begin_stop()

    def _begin_stop(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(_QUIET_SECONDS, self._check_quiet, self.bytes_received, loop.time() + _STOP_SECONDS)

    def _check_quiet(self, bytes_before: int, deadline: float) -> None:
        if self._is_ended or self._reason is not None:
            return
        loop = asyncio.get_running_loop()
        if self.bytes_received > bytes_before and loop.time() < deadline:
            loop.call_later(_QUIET_SECONDS, self._check_quiet, self.bytes_received, deadline)
            return
        self._break_off(self._stopping)

    def _break_off(self, reason: Exception | None) -> None:
        self._reason = reason
        self.close()
        self._wake()

    def close(self) -> None:
        """Read no further; what is left of the body stays with the server."""
        self._stop_timers()
        if self._task is not None and not self._task.done():
            self._task.cancel()

    def _start(self) -> None:
        self.was_read = True
        whole = None if self._take_whole is None else self._take_whole(self._receive)
        if whole is not None:
            # It came with its head: there is nothing to wait for, so no task to wait with.
            self._pieces = whole
            self._buffered = self._bytes_settled = sum(map(len, whole))
            self._is_ended = True
            return
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        if self._idle_seconds:
            self._idle = loop.call_later(self._idle_seconds, self._check_idle)
        if self._rate_min:
            self._rate = loop.call_later(_RATE_SECONDS, self._check_rate, 0)
        self._task = loop.create_task(self._pump())
        if self._stopping is not None:
            self._begin_stop()

    async def _wait(self, seconds: float | None) -> bool:
        """Wait for something to give out or to raise; False when nothing came in time."""
        loop = asyncio.get_running_loop()
        self._reader = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await self._reader
        finally:
            self._reader = None
            if timer is not None:
                timer.cancel()
        return bool(self._pieces) or self._is_ended or self._reason is not None

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        while self._reason is None:
            try:
                message = await self._receive()
            except Exception:
                # The outermost handler of this task: servers and middleware raise what they like, and bytes that came
                # before count all the same.
                log.warning("the body broke off", exc_info=True)
                message = {"type": "http.disconnect"}
            self._heard_at = loop.time()
            if message["type"] == "http.disconnect":
                self._reason = self._reason or BodyAborted()
                break
            if body := message.get("body", b""):
                self._pieces.append(body)
                self._buffered += len(body)
                self._bytes_settled += len(body)
            if not message.get("more_body", False):
                self._is_ended = True
                break
            self._wake()
            if self._buffered >= READ_AHEAD_BYTES:
                self._was_full = True
                self._writer = loop.create_future()
                await self._writer
                # The client was kept waiting by us, not we by it.
                self._heard_at = loop.time()
        self._stop_timers()
        self._wake()

    def _stop_timers(self) -> None:
        for timer in (self._idle, self._rate):
            if timer is not None:
                timer.cancel()
        self._idle = self._rate = None

    def _check_rate(self, bytes_before: int) -> None:
        is_slow = self.bytes_received - bytes_before < self._rate_min * _RATE_SECONDS
        # A client that we made wait is as slow as we are.
        if is_slow and not self._was_full:
            self._break_off(BodyTimeout())
            return
        self._was_full = self._buffered >= READ_AHEAD_BYTES
        loop = asyncio.get_running_loop()
        self._rate = loop.call_later(_RATE_SECONDS, self._check_rate, self.bytes_received)

    def _check_idle(self) -> None:
        loop = asyncio.get_running_loop()
        is_waiting_for_us = self._buffered >= READ_AHEAD_BYTES or self._loan is not None
        quiet = 0.0 if is_waiting_for_us else loop.time() - self._heard_at
        if quiet >= self._idle_seconds:
            self._break_off(BodyTimeout())
        else:
            self._idle = loop.call_later(self._idle_seconds - quiet, self._check_idle)


class _Tap:
    """What the server lends, behind what was read ahead."""

    def __init__(self, loan: SocketReader, pieces: Sequence[bytes], on_close: Callable[[], None]) -> None:
        self.pieces = pieces
        self.move = loan.move
        self.take = loan.take
        self.moves = loan.moves
        self.close = on_close
        self._loan = loan

    @property
    def taken_bytes(self) -> int:
        return self._loan.taken_bytes


class ActiveBodies:
    """Knows the bodies that are coming in; lives on the event loop."""

    def __init__(self) -> None:
        self.is_draining = False
        self._bodies: set[AsgiBody] = set()

    def drain(self) -> None:
        """Stop every body, and each that comes later. Call it on the event loop as soon as the end is near."""
        self.is_draining = True
        for body in list(self._bodies):
            body.stop(ServerShutdown())

    def reopen(self) -> None:
        """Everything is closed; what is opened again takes bodies again."""
        self.is_draining = False

    def add(self, body: AsgiBody) -> None:
        """A body that shall be stopped when the end comes."""
        self._bodies.add(body)
        if self.is_draining:
            body.stop(ServerShutdown())

    def discard(self, body: AsgiBody) -> None:
        """This body has come to its end."""
        self._bodies.discard(body)
