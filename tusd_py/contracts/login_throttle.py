"""The contract of what slows down failed logins."""

from __future__ import annotations

from typing import Protocol


class LoginThrottle(Protocol):
    """Slows down guesses by account and address, and by address."""

    async def begin(self, name: str, address: str) -> None:
        """Count an attempt before its password is looked at. Raises ``TooManyLogins`` if it comes too early."""
        ...

    async def succeeded(self, name: str, address: str) -> None:
        """Forget the attempts of this account from this address."""
        ...
