"""The contract of a second look at credentials: whether they are still valid when an upload completes."""

from __future__ import annotations

from typing import Protocol


class CredentialCheck(Protocol):
    """Whether credentials of one kind have been revoked since a request began."""

    async def is_valid(self, credential: str) -> bool:
        """Whether ``credential``, that of a principal, still counts, however long ago it expired."""
        ...
