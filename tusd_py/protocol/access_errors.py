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


class TooManyBodies(TusError):
    """Requests append to as many uploads of this client at once as the server allows, and none has ended in time."""

    # Not 429, which clients do not retry: the server was slow for them, they have done nothing wrong.
    status = 423
    code = "ERR_TOO_MANY_REQUESTS_AT_ONCE"
    sentence = "this client may send bytes to {at_once} uploads at once; try again shortly"
    retry_after_seconds = 1

    def __init__(self, at_once: int = 0) -> None:
        super().__init__()
        self.at_once = at_once


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
    """The upload does not fit into a quota of its owner, or of the address of an anonymous client.

    ``resets_at`` is empty for quotas of what exists now, which no time resets.
    """

    status = 413
    code = "ERR_QUOTA_EXCEEDED"

    quota: str
    limit: int
    used: int
    resets_at: str

    def __str__(self) -> str:
        return f"{self._state('bytes')}; {self._reset('delete uploads, or wait until some expire')}"

    @property
    def members(self) -> dict[str, object]:
        return {"quota": self.quota, "limit": self.limit, "used": self.used, "resets-at": self.resets_at or None}

    def _state(self, unit: str) -> str:
        return f"the quota {self.quota} is {self.limit} {unit}, of which {self.used} are used"

    def _reset(self, otherwise: str) -> str:
        return f"it is reset at {self.resets_at}" if self.resets_at else otherwise


@dataclass(eq=False)
class FileQuotaReached(QuotaReached):
    """The same for a quota of files: no upload fits, however small it is."""

    status = 403
    code = "ERR_FILE_QUOTA_EXCEEDED"

    def __str__(self) -> str:
        return f"{self._state('files')}; {self._reset('complete or delete an unfinished upload first')}"


@dataclass(eq=False)
class LinkEnded(TusError):
    """The link was genuine, but it has expired, was revoked, or was for a single use."""

    status = 403
    code = "ERR_LINK_ENDED"
    sentence = "this link can no longer be used: it {problem}"

    problem: str


class LinkFilled(TusError):
    """The link lets its bearer fill one upload, which has begun with another length or has all its bytes."""

    status = 403
    code = "ERR_LINK_FILLED"
    sentence = "this link is for one upload, and another one was made with it"


class LinkOriginRefused(TusError):
    """A web page of an origin for which the link was not made uses it."""

    status = 403
    code = "ERR_LINK_ORIGIN"
    sentence = "this link cannot be used from a web page of this origin"


class LinkInUse(TusError):
    """A download link for a single use serves another request at the moment."""

    status = 409
    code = "ERR_LINK_IN_USE"
    sentence = "this link is for a single download, and one is running; try again if it has broken off"
    retry_after_seconds = 30


class CodeUnknown(TusError):
    """The text that a person has entered is not an active access code."""

    status = 404
    code = "ERR_CODE_UNKNOWN"
    sentence = "no active access code has these characters"


class TooManyGuesses(TusError):
    """The address has entered too many wrong access codes, and must wait before the next attempt."""

    status = 429
    code = "ERR_TOO_MANY_GUESSES"
    sentence = "wrong access codes came from this address; try again in {retry_after_seconds} seconds"

    def __init__(self, retry_after_seconds: int = 10) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class CodeEnded(TusError):
    """The access code has expired or was terminated."""

    status = 403
    code = "ERR_CODE_ENDED"
    sentence = "the access code has ended; the bytes stored so far are kept for the owner of the code"


@dataclass(eq=False)
class CodeLimitReached(TusError):
    """The upload does not fit into what the access code allows."""

    status = 403
    code = "ERR_CODE_LIMIT"
    sentence = "the access code allows {allowed}; {used} are used"

    allowed: str
    used: str


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


class DownloadRefused(TusError):
    """Browsers get the bytes at another origin, and are not sent there."""

    status = 403
    code = "ERR_DOWNLOAD_REFUSED"
    sentence = "this origin sends no content to browsers (server.download_url, server.download_redirect)"


class DownloadsOnly(TusError):
    """The request was sent to the origin of downloads, which only downloads are for."""

    status = 421
    code = "ERR_DOWNLOADS_ONLY"
    sentence = "this origin is for downloads only (server.download_url)"


@dataclass(eq=False)
class CredentialsRevoked(Unauthenticated):
    """The credentials of a running request were revoked before it could complete an upload."""

    problem: str = "the credentials were revoked while the request ran"


@dataclass(eq=False)
class LoginRefused(Unauthenticated):
    """Unknown names, wrong passwords and disabled accounts are answered alike."""

    code = "ERR_LOGIN_REFUSED"

    problem: str = "the name or the password is wrong"
    is_audited: bool = False  # the audit log has an entry about it, so the request needs none


@dataclass(eq=False)
class RefreshRefused(Unauthenticated):
    """The refresh token is unknown, expired, used already or revoked."""

    code = "ERR_REFRESH_REFUSED"

    problem: str = "the refresh token is not accepted; log in again"
