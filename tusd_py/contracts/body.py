"""The contract of a request body: it yields the bytes of one request as they arrive, from any server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class BodyError(Exception):
    """The body did not reach its end. ``read`` raises this only after it has returned every byte that arrived."""


class BodyAborted(BodyError):
    """The client closed the connection, or the connection broke."""


class BodyTimeout(BodyError):
    """The client sent nothing, or too little, for too long."""


class RequestBody(Protocol):
    """One request's body, read in pieces. It reads ahead by a bounded amount, so that no received byte is lost."""

    async def read(self, wait_seconds: float | None = None, bytes_min: int = 1) -> Sequence[bytes] | None:
        """Return the pieces that have arrived, at least one byte; an empty sequence at the clean end, repeatedly.

        Waits for ``bytes_min`` bytes, or the end of the body, but not longer than ``wait_seconds``. Returns ``None``
        when nothing arrives within that time; call it again then. Raises ``BodyAborted``,
        ``BodyTimeout`` or the reason given to ``stop``, each only after the last piece was returned. The first call
        sends ``100 Continue`` to a client that waits for it, so call it after every check of the request.
        """
        ...

    def trailers(self) -> Sequence[tuple[bytes, bytes]]:
        """Return the declared trailers, names in lower case. They are complete once ``read`` returned the clean end."""
        ...

    def stop(self, reason: Exception) -> None:
        """Accept no more bytes: ``read`` returns what has arrived and then raises ``reason``.

        Only the first reason counts. A body that has already ended cleanly is unaffected.
        """
        ...
