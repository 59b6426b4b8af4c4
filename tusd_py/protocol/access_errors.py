"""The errors of access control; the others of the protocol are in ``errors``."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.protocol.errors import TusError


class TooManyCreations(TusError):
    """The client, or its address, has created as many uploads within a minute as the server allows."""

    status = 429
    code = "ERR_TOO_MANY_CREATIONS"
    sentence = "this client may create {per_minute} uploads a minute; try again in {retry_after_seconds} seconds"

    def __init__(self, per_minute: int = 0, retry_after_seconds: int = 60) -> None:
        super().__init__()
        self.per_minute = per_minute
        self.retry_after_seconds = retry_after_seconds


class TooManyLogins(TusError):
    """Too many logins of this account, or from this address, have failed within a minute."""

    status = 429
    code = "ERR_TOO_MANY_LOGINS"
    sentence = "too many logins have failed; try again in {retry_after_seconds} seconds"

    def __init__(self, retry_after_seconds: int = 60) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


@dataclass(eq=False)
class QuotaReached(TusError):
    """The upload does not fit into a quota of its owner, or of the address of an anonymous client."""

    status = 413
    code = "ERR_QUOTA_EXCEEDED"
    sentence = "the quota {quota} is {limit} bytes, of which {used} are used; it is reset at {resets_at}"

    quota: str
    limit: int
    used: int
    resets_at: str


@dataclass(eq=False)
class Unauthenticated(TusError):
    """The request has no credentials, or credentials that are not accepted; ``problem`` says why, for the client."""

    status = 401
    code = "ERR_UNAUTHENTICATED"

    problem: str = ""

    def __str__(self) -> str:
        return self.problem or "this server needs credentials; send Authorization: Bearer with a token"

    @property
    def challenge(self) -> str:
        """The value of WWW-Authenticate (RFC 6750, 3): without an error code if the request had no credentials."""
        if not self.problem:
            return 'Bearer realm="tusd-py"'
        return f'Bearer realm="tusd-py", error="invalid_token", error_description="{self.problem}"'
