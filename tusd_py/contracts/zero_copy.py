"""The contract of zero-copy transfers: large bodies move between socket and store without becoming Python objects.

Request bodies, sinks, contents and servers may offer it; reading and writing pieces always works as well. Bytes move in
bursts: a socket is acquired, a thread transfers for a few milliseconds, and the socket is given back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, runtime_checkable

from tusd_py.contracts.body import RequestBody
from tusd_py.contracts.store import Sink
from tusd_py.protocol.outcomes import Content

#: Starts to process bytes and returns a future; the memory may be used again once that future is done. Called in a
#: thread, in the order of the bytes, and only after the future of the call before is done.
ByteObserver = Callable[[memoryview], Future[None]]


class SocketReader(Protocol):
    """Exclusive, time-boxed access to the socket behind a request body. Until ``close`` the body is not read."""

    #: Bytes of the body that were received before the socket was acquired. They precede everything read from it.
    pieces: Sequence[bytes]
    #: The burst is over when so many bytes were taken from the socket. Set it before the first is.
    bytes_max: int

    @property
    def bytes_read(self) -> int:
        """How many bytes were taken from the socket, ``pieces`` excluded. A failing file may have lost some of them."""
        ...

    @property
    def can_splice(self) -> bool:
        """Whether ``splice`` works here; otherwise use ``read_into``."""
        ...

    def splice(self, descriptor: int, offset: int) -> int:
        """Write the next bytes to the file at ``offset`` and return their number, or 0 when the burst is over.

        Call it in a thread: it blocks on the file, and on the client for milliseconds at most. A burst ends soon with a
        fast client and at once with a slow one. Raises ``OSError`` if the file fails.
        """
        ...

    def read_into(self, buffer: memoryview) -> int:
        """Fill ``buffer`` from its start with the next bytes and return their number, or 0 when the burst is over.

        Call it in a thread. It serves bytes that must be seen, and files and sockets that cannot be spliced.
        """
        ...

    def close(self) -> None:
        """Give the socket back. Neither ``splice`` nor ``read_into`` may be running."""
        ...


@runtime_checkable
class ZeroCopyBody(RequestBody, Protocol):
    """A request body whose socket can be acquired."""

    def acquire_socket(self) -> SocketReader | None:
        """Return the socket for one burst, or ``None`` when the next bytes are better read.

        Call it from the task that calls ``read``.
        """
        ...


@runtime_checkable
class ZeroCopySink(Sink, Protocol):
    """A sink that can read from a socket."""

    @property
    def can_transfer(self) -> bool:
        """Whether ``transfer`` would take bytes now, without waiting for other work than its own."""
        ...

    async def transfer(self, reader: SocketReader, observer: ByteObserver | None = None) -> None:
        """Write what ``reader`` yields behind everything written before. Write ``reader.pieces`` first.

        ``observer`` sees every byte. It is done with them, and ``reader`` is no longer used, when this returns, even if
        cancelled. Raises like ``write``.
        """
        ...


class SocketWriter(Protocol):
    """Exclusive, time-boxed access to the socket behind a response. Until ``close`` nothing else is sent."""

    @property
    def bytes_sent(self) -> int:
        """How many bytes of files were sent."""
        ...

    def sendfile(self, descriptor: int, offset: int, count: int) -> int:
        """Send up to ``count`` bytes of the file from ``offset`` and return their number, or 0 when the burst is over.

        Call it in a thread: it blocks on the file, and on the client for milliseconds at most. A burst ends soon with a
        fast client, and at once when the client is slow or gone or the file yields nothing: reading the file then says
        why.
        """
        ...

    def close(self) -> None:
        """Give the socket back. ``sendfile`` may not be running."""
        ...


@runtime_checkable
class ZeroCopyContent(Content, Protocol):
    """The content of a file."""

    async def transfer(self, writer: SocketWriter) -> None:
        """Send the next bytes through ``writer`` until its burst is over; reading continues behind them.

        ``writer`` is no longer used when this returns, even if cancelled. Raises like reading.
        """
        ...
