"""Our ASGI extension (``scope["extensions"]["tusd_py"]``): what this server offers an application besides ASGI."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypedDict

from tusd_py.serving.http.cycle import BodyListener, Cycle
from tusd_py.serving.http.sendfile import SendfileWriter, SendSlots
from tusd_py.serving.http.splice import PipePool, SpliceReader

#: Our key in ``scope["extensions"]``.
EXTENSION = "tusd_py"

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class ExtensionMethods(TypedDict, total=False):
    """The value in the scope: methods for the request that is being answered."""

    #: Returns the declared trailers; they are complete once the body has ended.
    trailers: Callable[[], list[tuple[bytes, bytes]]]
    #: See ``Cycle.send_interim``.
    send_interim: Callable[[int, Iterable[tuple[bytes, bytes]]], bool]
    #: See the methods of ``AsgiExtension``.
    take_buffered_body: Callable[[Receive], list[bytes] | None]
    attach_body: Callable[[Receive, BodyListener], Cycle | None]
    acquire_socket: Callable[[Receive, Callable[[], None]], SpliceReader | None]
    acquire_send_socket: Callable[[Send], Awaitable[SendfileWriter | None]]
    respond: Callable[[Send, int, Sequence[tuple[bytes, bytes]], bytes], bool]
    is_disconnected: Callable[[], bool]


class AsgiExtension:
    """The extension of one connection. It is made once and always serves the request that is being answered.

    ``resume_after`` is called with how many bytes of a body are left when its socket is given back.
    """

    def __init__(
        self, pipes: PipePool | None, send_slots: SendSlots | None, resume_after: Callable[[int], None]
    ) -> None:
        #: The request that is being answered.
        self.cycle: Cycle | None = None
        self._pipes = pipes
        self._send_slots = send_slots
        self._resume_after = resume_after
        methods: ExtensionMethods = {
            "trailers": self._trailers,
            "send_interim": self._send_interim,
            "take_buffered_body": self.take_buffered_body,
            "attach_body": self.attach_body,
            "acquire_socket": self.acquire_socket,
            "acquire_send_socket": self.acquire_send_socket,
            "respond": self.respond,
            "is_disconnected": self.is_disconnected,
        }
        #: The value of ``scope["extensions"]``.
        self.extensions = {EXTENSION: methods}

    def close(self) -> None:
        """Break the reference cycle with the connection, which then need not wait for the garbage collector."""
        self.extensions.clear()
        self._resume_after = _do_nothing

    def _trailers(self) -> list[tuple[bytes, bytes]]:
        cycle = self.cycle
        return [] if cycle is None else cycle.trailers.copy()

    def _send_interim(self, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> bool:
        cycle = self.cycle
        return cycle is not None and cycle.send_interim(status, headers)

    def respond(self, send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a whole response at once; return whether that was possible. ``send`` must be the server's own."""
        cycle = self.cycle
        return cycle is not None and send == cycle.send and cycle.respond(status, headers, body)

    def is_disconnected(self) -> bool:
        """Whether the client of the request that is being answered has closed the connection, or its side of it.

        Also while the connection is not read because a body is not wanted yet: then its end has not been received.
        """
        cycle = self.cycle
        if cycle is None or cycle.disconnected or cycle.transport.is_closing():
            return True
        connection = cycle.transport.get_extra_info("socket")
        if connection is None or not hasattr(select, "POLLRDHUP"):  # other systems than Linux
            return False
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def take_buffered_body(self, receive: Receive) -> list[bytes] | None:
        """Return the whole body if it has arrived and nothing of it was received yet; ``None`` takes nothing.

        A small body arrives with its head: taken this way, it needs no waiting. ``receive`` must be the server's own:
        a middleware that wraps it wants to see the bytes.
        """
        cycle = self.cycle
        if cycle is None or receive != cycle.receive or not cycle.is_complete or cycle.waiting_for_100_continue:
            return None
        if cycle.buffered_bytes != cycle.received_bytes:
            return None
        cycle.more_body = False
        return cycle.take_pieces()

    def attach_body(self, receive: Receive, listener: BodyListener) -> Cycle | None:
        """Pass the body to ``listener`` as it arrives; return what pauses it, or ``None`` if that is not possible.

        ``receive`` must be the server's own: a middleware that wraps it wants to see the bytes.
        """
        cycle = self.cycle
        if cycle is None or receive != cycle.receive or cycle.response_complete:
            return None
        cycle.attach(listener)
        return cycle

    def acquire_socket(self, receive: Receive, on_close: Callable[[], None]) -> SpliceReader | None:
        """Return exclusive access to the socket, to move the body; ``None`` if that is not possible now.

        Until the reader is closed nothing of the body is received. ``on_close`` is called when it is, before anything
        more is received. ``receive`` must be the server's own: a middleware that wraps it wants to see the bytes.
        """
        cycle, pipes = self.cycle, self._pipes
        if cycle is None or pipes is None or receive != cycle.receive or cycle.transport.is_closing():
            return None
        transport = cycle.transport
        bytes_left = cycle.body_bytes_left()
        if not bytes_left or transport.get_extra_info("sslcontext") is not None or (ends := pipes.acquire()) is None:
            return None
        descriptor = _duplicate_socket(transport)
        if descriptor is None:
            pipes.release(ends, is_empty=True)
            return None

        def on_closed(bytes_left: int) -> None:
            on_close()
            cycle.socket_borrowed = False
            cycle.received_bytes += reader.bytes_read
            self._resume_after(bytes_left)

        reader = SpliceReader(pipes, ends, descriptor, bytes_left, on_closed)
        cycle.socket_borrowed = True
        cycle.flow.pause_reading()
        reader.pieces = cycle.take_pieces()
        return reader

    async def acquire_send_socket(self, send: Send) -> SendfileWriter | None:
        """Return exclusive access to the socket, to send more of the response's body; ``None`` if not possible now.

        Waits until the client has taken what was sent before. ``send`` must be the server's own.
        """
        cycle, slots = self.cycle, self._send_slots
        if cycle is None or slots is None or send != cycle.send or cycle.transport.is_closing():
            return None
        transport = cycle.transport
        if not cycle.response_bytes_left() or transport.get_extra_info("sslcontext") is not None:
            return None
        if not cycle.is_unbuffered:
            # From here on "drained" must mean empty: nothing may be sent past bytes that are still buffered.
            cycle.is_unbuffered = True
            transport.set_write_buffer_limits(0, 0)
        await cycle.flow.drain()
        if transport.is_closing() or transport.get_write_buffer_size() or not slots.acquire():
            return None
        descriptor = _duplicate_socket(transport)
        if descriptor is None:
            slots.release()
            return None

        def on_closed(bytes_sent: int) -> None:
            cycle.expected_content_length -= bytes_sent

        return SendfileWriter(slots, descriptor, on_closed)


def _do_nothing(_: int) -> None:
    """Stand for the method of a connection that is closed."""


def _duplicate_socket(transport: asyncio.Transport) -> int | None:
    try:
        return os.dup(transport.get_extra_info("socket").fileno())
    except OSError:
        return None
