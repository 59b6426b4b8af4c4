"""The contract of a source: the body of one request as it arrives, whatever server carries it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class BodyError(Exception):
    """The body did not reach its end. Every byte received before was given out first."""


class BodyAborted(BodyError):
    """The client went away, or its connection broke."""


class BodyTimeout(BodyError):
    """The client sent nothing for too long."""


class RequestBody(Protocol):
    """Gives out a body in pieces, with read-ahead of bounded size, so that nothing received is lost in a cut."""

    async def read(self, wait_seconds: float | None = None) -> Sequence[bytes] | None:
        """The pieces that have arrived, at least one byte; empty at the clean end of the body, again and again.

        ``None`` when nothing has come within ``wait_seconds``; ask again then. Raises ``BodyAborted``,
        ``BodyTimeout`` or the reason given to ``stop``, each only after the last piece.
        The first call tells the client to go ahead (``100 Continue``): call it after every check.
        """
        ...

    def trailers(self) -> Sequence[tuple[bytes, bytes]]:
        """The trailers that the head declared, names in lower case; all of them once ``read`` gave the clean end."""
        ...

    def stop(self, reason: Exception) -> None:
        """Take in no more bytes: ``read`` gives out what has arrived, then raises ``reason``. The first reason stays.

        A body that has already ended cleanly is not disturbed.
        """
        ...
