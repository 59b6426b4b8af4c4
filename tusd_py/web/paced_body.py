"""A request body that is read no faster than its owner may upload."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tusd_py.access.bandwidth import Bandwidth, BodyPace
from tusd_py.access.quota import subject_of
from tusd_py.contracts.zero_copy import SocketReader
from tusd_py.model.caller import Caller
from tusd_py.web.request_body import AsgiBody, EmptyBody


class PacedBody:
    """See ``RequestBody``. While it waits the client is slowed down by TCP: no more is received than one turn.

    Bytes that have arrived are passed on at once, and their time is waited for before the next ones, or before the end
    of the body. Moving bytes from socket to file stays possible, one turn at a time.
    """

    def __init__(self, body: AsgiBody, pace: BodyPace) -> None:
        self._body = body
        self._pace = pace
        self._charged = 0  # bytes
        self._is_stopped = False
        self._waiter: asyncio.Future[None] | None = None
        self.trailers = body.trailers
        body.read_ahead_bytes = pace.turn_bytes

    async def read(self, wait_seconds: float | None = None, bytes_min: int = 1) -> Sequence[bytes] | None:
        """See ``RequestBody.read``. Returns ``None`` after a wait, so that its caller can acquire the socket."""
        if await self._has_waited(wait_seconds):
            return None
        self._body.read_ahead_bytes = self._pace.turn_bytes
        self._body.resume()
        return await self._body.read(wait_seconds, bytes_min)

    def acquire_socket(self) -> SocketReader | None:
        """See ``ZeroCopyBody.acquire_socket``."""
        if self._seconds_left() and not self._is_stopped:
            return None
        reader = self._body.acquire_socket()
        if reader is not None:
            reader.bytes_max = self._pace.turn_bytes
        return reader

    def stop(self, reason: Exception) -> None:
        """See ``RequestBody.stop``: what has arrived is passed on at once."""
        self._is_stopped = True
        # The client may have sent bytes before it came back with another request.
        self._body.resume()
        self._body.stop(reason)
        self._wake()

    def close(self) -> None:
        """See ``AsgiBody.close``."""
        self._seconds_left()
        self._pace.close()
        self._body.close()

    @property
    def bytes_received(self) -> int:
        return self._body.bytes_received

    @property
    def bytes_zero_copy(self) -> int:
        return self._body.bytes_zero_copy

    @property
    def was_read(self) -> bool:
        return self._body.was_read

    @property
    def is_ended(self) -> bool:
        return self._body.is_ended

    @property
    def is_gone(self) -> bool:
        return self._body.is_gone

    def _seconds_left(self) -> float:
        """How long to wait for what has arrived."""
        now = asyncio.get_running_loop().time()
        received = self._body.bytes_received
        if received > self._charged:
            self._pace.charge(received - self._charged, now)
            self._charged = received
        return self._pace.wait_seconds(now)

    async def _has_waited(self, seconds_max: float | None) -> bool:
        """Wait until what has arrived is paid, at most ``seconds_max``; return whether there was anything to pay."""
        seconds = self._seconds_left()
        if not seconds or self._is_stopped:
            return False
        # Bytes that arrived meanwhile would be Python objects, and could not be moved from socket to file.
        self._body.pause()
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds if seconds_max is None else min(seconds, seconds_max), self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def paced(
    bandwidth: Bandwidth, caller: Caller, upload_id: str, body: AsgiBody | PacedBody | EmptyBody
) -> AsgiBody | PacedBody | EmptyBody:
    """``body`` at the pace of its owner; ``upload_id`` is empty for that of a new upload."""
    if not isinstance(body, AsgiBody):
        return body
    now = asyncio.get_running_loop().time()
    return PacedBody(body, bandwidth.pace(subject_of(caller.owner, caller.client), upload_id, now))
