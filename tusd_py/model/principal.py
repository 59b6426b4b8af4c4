"""The principal of a request: the person or program for which the client acts, with its roles and limits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """The role of a principal; ``access.policy`` has the permissions of each."""

    ADMIN = "admin"
    MODERATOR = "moderator"
    UPLOADER = "uploader"
    VIEWER = "viewer"
    ANONYMOUS = "anonymous"  # every request, where anonymous access is allowed
    UPLOAD_LINK = "upload-link"  # the bearer of such a link; its uploads are those of the link
    DOWNLOAD_LINK = "download-link"
    CODE = "code"  # the bearer of an access code; its uploads are those made with the code


#: The roles that an account, a key or a token can have.
ASSIGNABLE_ROLES = (Role.ADMIN, Role.MODERATOR, Role.UPLOADER, Role.VIEWER)


class Verb(StrEnum):
    """The act that a request needs permission for."""

    CREATE = "create"
    APPEND = "append"
    INSPECT = "inspect"
    DOWNLOAD = "download"
    TERMINATE = "terminate"
    OBSERVE = "observe"  # metrics, and lists of jobs and events
    OPERATE = "operate"  # changes of jobs and endpoints
    SHARE = "share"  # links and access codes


#: A media type that may be declared, or several with ``*``.
TYPE_PATTERN = re.compile(r"[A-Za-z0-9!#$&^_.+*-]{1,127}/[A-Za-z0-9!#$&^_.+*-]{1,127}", re.ASCII)
#: How many of them limits may have.
TYPES_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalLimits:
    """Limits that come with the credentials; ``None`` leaves those of the server as they are."""

    length_max: int | None = None  # bytes of one upload
    types: tuple[str, ...] | None = None  # media types that may be declared, with wildcards
    bytes_per_day: int | None = None
    bytes_per_month: int | None = None


NO_LIMITS = PrincipalLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated client. Anonymous clients have an empty ``subject``.

    ``is_expired`` says that the credentials were genuine but have expired: they are enough to read an offset.
    ``credential`` names credentials that can be revoked, for a second look at them (``AccessPorts.checks``); it is no
    secret. ``verbs`` restricts what the roles permit. ``grant`` is the link or the code whose bearer the client is: its
    own uploads are those with this grant only, or the one named by ``upload_id``.
    """

    subject: str = ""
    roles: frozenset[Role] = field(default_factory=frozenset)
    method: str = "anonymous"  # how it was authenticated
    is_expired: bool = False
    limits: PrincipalLimits = NO_LIMITS
    credential: str = ""
    verbs: frozenset[Verb] | None = None
    grant: str = ""
    upload_id: str = ""
    origins: tuple[str, ...] = ()  # of the web pages that may use the credentials; empty allows all

    @property
    def is_anonymous(self) -> bool:
        return not self.subject
