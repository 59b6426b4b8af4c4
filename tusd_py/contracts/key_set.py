"""Fetching the published keys of tokens (JWKS)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable


class FetchFailed(Exception):
    """The key set could not be fetched; the text says why and has no credentials."""


#: Returns the document, in bounded time. Raises ``FetchFailed``.
FetchKeys = Callable[[], Awaitable[bytes]]
