"""The contracts of credentials: verifying a token, and a second look at it when an upload completes."""

from __future__ import annotations

from typing import Protocol

from tusd_py.model.principal import Principal


class TokenVerifier(Protocol):
    """Turns tokens into principals, in bounded time."""

    async def verify(self, token: bytes, *, allow_expired: bool = False) -> Principal:
        """The principal of ``token``, for a while after its expiry with ``allow_expired``.

        Raises ``access.errors.TokenInvalid`` or ``KeysUnavailable``.
        """
        ...

    def recall(self, token: bytes) -> Principal | None:
        """The principal of a token that was verified before, if it still counts; ``None`` if ``verify`` has to look."""
        ...


class CredentialCheck(Protocol):
    """Checks whether credentials of one kind were revoked while a request ran."""

    async def is_valid(self, credential: str) -> bool:
        """Whether ``Principal.credential`` was not revoked; its expiry does not matter."""
        ...
