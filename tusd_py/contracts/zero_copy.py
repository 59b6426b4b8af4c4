"""The contract of pouring: large bodies go straight into a file, and from there to who downloads.

Sources and sinks, stores and servers may offer it.

Reading and writing pieces works always; this is how the same bytes move without becoming objects in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tusd_py.contracts.body import RequestBody
from tusd_py.contracts.store import Sink
from tusd_py.protocol.outcomes import Content


class SocketReader(Protocol):
    """A body on loan for a moment. Nobody else takes of it until ``close``."""

    @property
    def pieces(self) -> Sequence[bytes]:
        """What had arrived before: it comes first."""
        ...

    @property
    def taken_bytes(self) -> int:
        """How many bytes of the body were taken beyond ``pieces``: moved, or lost with a file that failed."""
        ...

    @property
    def moves(self) -> bool:
        """Whether ``move`` is to be had here; where not, ``take`` is."""
        ...

    def move(self, descriptor: int, offset: int) -> int:
        """Write what comes next to the file at ``offset``; how many bytes, at least one, or 0 when the moment is over.

        For a thread: it blocks on the file, and on the client no longer than milliseconds. A moment is over soon,
        however fast the client is, and at once when it is slow. Raises ``OSError`` for what the file does.
        """
        ...

    def take(self, buffer: memoryview) -> int:
        """Fill ``buffer``, from its start, with what comes next: how many bytes, or 0 when the moment is over.

        For a thread, like ``move``, and for bytes that somebody wants to see, or that cannot be moved unseen.
        """
        ...

    def close(self) -> None:
        """Give the body back. No ``move`` or ``take`` may be under way."""
        ...


class Watcher(Protocol):
    """Sees bytes pass by, in threads, while they are written and more come."""

    def see(self, piece: memoryview) -> None:
        """These come next. May return before it is done with them, but not before it is with those of the last call."""
        ...

    def done(self) -> None:
        """Return once nothing that was seen is needed any more."""
        ...


@runtime_checkable
class ZeroCopyBody(RequestBody, Protocol):
    """A source whose body can be lent."""

    def tap(self) -> SocketReader | None:
        """The body, where that is worth it now; ``None`` where it is better read. For the task that reads."""
        ...


@runtime_checkable
class ZeroCopySink(Sink, Protocol):
    """A sink over a file."""

    async def pour(self, tap: SocketReader, watcher: Watcher | None = None) -> None:
        """Take what ``tap`` has, behind all that was written before; its pieces are to be written first.

        What passes is shown to ``watcher``, which is done with it when this returns. Raises like ``write``. ``tap`` is
        not touched any more once this returns, even if cancelled.
        """
        ...


class SocketWriter(Protocol):
    """The way to a client, on loan for a moment. Nobody else sends anything until ``close``."""

    @property
    def given_bytes(self) -> int:
        """How many bytes of files the client was given."""
        ...

    def move(self, descriptor: int, offset: int, count: int) -> int:
        """Give the client up to ``count`` bytes of the file from ``offset`` on; how many, or 0 when the moment is over.

        For a thread: it blocks on the file, and on the client no longer than milliseconds. A moment is over soon,
        however fast the client is, and at once when it is slow or gone, or the file gives nothing: reading tells why.
        """
        ...

    def close(self) -> None:
        """Give the way back. No ``move`` may be under way."""
        ...


@runtime_checkable
class ZeroCopyContent(Content, Protocol):
    """The content of a file."""

    async def pour(self, spout: SocketWriter) -> None:
        """Give what comes next through ``spout``, for as long as it takes any; what is read after comes behind it.

        Raises like reading. ``spout`` is not touched any more once this returns, even if cancelled.
        """
        ...
