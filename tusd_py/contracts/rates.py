"""The contract of the limit on creations."""

from __future__ import annotations

from typing import Protocol


class CreationRate(Protocol):
    """Limits how many uploads a client creates in a minute."""

    def ensure_allowed(self, subject: str) -> None:
        """Count a creation of ``subject``. Raises ``TooManyCreations``."""
        ...
