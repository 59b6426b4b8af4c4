"""The contract of signing keys: the secret in the database, for servers without one in the settings."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class SigningKeys(Protocol):
    """Keeps one secret under a name. All processes that share the database see the same one."""

    async def find_or_create(self, name: str, secret: str, now: datetime) -> str:
        """The secret with this name; ``secret`` if there was none. Of two processes that create it, one succeeds."""
        ...
