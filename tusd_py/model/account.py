"""Accounts of people, their sessions, and the API keys of programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from tusd_py.model.principal import NO_LIMITS, PrincipalLimits, Role, Verb

#: A name is the owner of uploads, and part of published names: lower case, so that no two look alike.
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person who logs in with a password.

    ``generation`` grows whenever what was issued before must not be accepted any more.
    """

    id: str
    name: str
    password_hash: str
    roles: frozenset[Role]
    created_at: datetime
    is_disabled: bool = False
    generation: int = 0
    logged_in_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChanges:
    """The changes of an administrator to an account; ``None`` leaves a value as it is."""

    password_hash: str | None = None
    roles: frozenset[Role] | None = None
    is_disabled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSession:
    """One login, from which access tokens are renewed. ``digest`` is that of its only valid refresh token.

    ``rotation`` counts the refresh tokens of the session.
    """

    id: str
    account_id: str
    digest: str
    created_at: datetime
    expires_at: datetime
    rotated_at: datetime
    rotation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """The credentials of a program, which acts for ``owner``. Only the digest of its secret is kept.

    ``verbs`` restricts what the roles permit; ``None`` does not. ``limits`` are those of its uploads.
    """

    id: str
    digest: str
    label: str
    owner: str
    roles: frozenset[Role]
    verbs: frozenset[Verb] | None
    created_at: datetime
    limits: PrincipalLimits = NO_LIMITS
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether the key is accepted at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def account_name(text: str) -> str:
    """The name of an account as it is kept: capitals do not matter. Raises ``ValueError``."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise ValueError("a name has 1 to 128 letters (a-z), digits, and . _ @ + -, and begins with a letter or digit")
    return name
