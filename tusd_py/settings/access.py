"""The settings of access control: anonymous clients, and tokens of an identity provider."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator

from tusd_py.model.principal import ASSIGNABLE_ROLES
from tusd_py.settings.values import (
    Bool,
    Confidential,
    Count,
    CountOrNone,
    Expects,
    PositiveSeconds,
    Seconds,
    Section,
    Size,
    Text,
    WholeSeconds,
    check_one_url,
)

_KEY_BYTES_MIN = 32
#: Algorithms by the kind of key that they need. Which of them a key may be used for never depends on the token.
SECRET_ALGORITHMS = ("HS256", "HS384", "HS512")
PUBLIC_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

_KEY_ID = re.compile(r"[A-Za-z0-9-]{1,32}", re.ASCII)
_COOKIE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]*", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z0-9._~-]*", re.ASCII)


def check_jwt_secret(value: str) -> str:
    """A shared secret. The message does not repeat the value."""
    if value and len(value.encode()) < _KEY_BYTES_MIN:
        raise ValueError(f"at least {_KEY_BYTES_MIN} bytes, such as the output of: openssl rand -base64 32")
    return value


def check_signing_secret(value: str) -> str:
    """An id and a secret. The message does not repeat the value."""
    key_id, separator, secret = value.partition(":")
    if not separator or not _KEY_ID.fullmatch(key_id):
        raise ValueError("a list of ID:SECRET, each id of letters, digits and hyphens")
    check_jwt_secret(secret or "-")
    return value


def check_unique_ids(values: tuple[str, ...]) -> tuple[str, ...]:
    if len({value.partition(":")[0] for value in values}) < len(values):
        raise ValueError("a list of ID:SECRET with a different id each")
    return values


def check_algorithm(value: str) -> str:
    if value not in (*SECRET_ALGORITHMS, *PUBLIC_ALGORITHMS):
        raise ValueError(f"a list of algorithms, each one of {', '.join((*SECRET_ALGORITHMS, *PUBLIC_ALGORITHMS))}")
    return value


def check_role(value: str) -> str:
    if value not in ASSIGNABLE_ROLES:
        raise ValueError("a list of roles, each one of admin, moderator, uploader, viewer")
    return value


def check_jwks_url(value: str) -> str:
    return value and check_one_url(value)


def check_cookie(value: str) -> str:
    if not _COOKIE.fullmatch(value):
        raise ValueError("the name of a cookie, or empty")
    return value


def check_parameter(value: str) -> str:
    if not _PARAMETER.fullmatch(value):
        raise ValueError("the name of a query parameter, or empty")
    return value


def zone_of(name: str) -> tzinfo:
    """The time zone with this name. UTC needs no database of time zones, which small images lack."""
    return UTC if name == "UTC" else ZoneInfo(name)


def check_time_zone(value: str) -> str:
    try:
        zone_of(value)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError("the name of a time zone such as UTC or Europe/Berlin that this system has (tzdata)") from None
    return value


Names = Annotated[tuple[str, ...], Expects("a list of names")]


class AccessSettings(Section):
    """What clients can do without credentials."""

    anonymous: Annotated[Literal["all", "none"], Expects('"all" or "none"')] = "all"
    claim_seconds: Seconds = 86400
    secrets: Annotated[
        tuple[Annotated[str, AfterValidator(check_signing_secret)], ...],
        AfterValidator(check_unique_ids),
        Confidential(),
        Expects("a list of ID:SECRET"),
    ] = ()


class AccountsSettings(Section):
    """Accounts with passwords, for those without an identity provider, and API keys for programs."""

    enabled: Bool = False
    api_keys: Bool = False
    access_seconds: WholeSeconds = 900
    session_seconds: WholeSeconds = 2592000
    sessions_max: Count = 100
    cookies: Bool = True
    cookie_same_site: Annotated[Literal["strict", "lax", "none"], Expects('"strict", "lax" or "none"')] = "lax"
    password_characters_min: Count = 12

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        if not 60 <= self.access_seconds <= self.session_seconds:
            yield (
                f"accounts.access_seconds is {self.access_seconds}: use at least 60, and at most "
                f"accounts.session_seconds ({self.session_seconds})"
            )


class QuotasSettings(Section):
    """How much each owner, and each address of anonymous clients, may upload."""

    enabled: Bool = False
    bytes_per_day: Size = 10 * 1000**3
    bytes_per_month: Size = 100 * 1000**3
    files_per_day: CountOrNone = 0
    files_per_month: CountOrNone = 0
    bytes_stored: Size = 0
    uploads_at_once: CountOrNone = 0
    time_zone: Annotated[str, AfterValidator(check_time_zone), Expects("a time zone such as Europe/Berlin")] = "UTC"


class RatesSettings(Section):
    """How often clients may do something."""

    creations_per_minute: CountOrNone = 0
    creations_per_address: CountOrNone = 0
    bytes_per_second_per_upload: Size = 0
    bytes_per_second_per_owner: Size = 0
    uploads_receiving_at_once: CountOrNone = 0
    wait_seconds: Seconds = 10
    failed_logins_per_minute: CountOrNone = 5
    failed_logins_per_address: CountOrNone = 20
    storage: Annotated[Literal["memory", "redis"], Expects('"memory" or "redis"')] = "memory"


class LinksSettings(Section):
    """URLs that let their bearer fill or read one upload without credentials."""

    enabled: Bool = False
    seconds_max: PositiveSeconds = 2592000


class CodesSettings(Section):
    """Short codes that let people without an account upload for a while."""

    enabled: Bool = False
    seconds_max: PositiveSeconds = 86400
    token_seconds: PositiveSeconds = 300


class JwtSettings(Section):
    """Signed tokens (JWT) of an identity provider or of your own application."""

    secret: Annotated[str, AfterValidator(check_jwt_secret), Confidential(), Expects("a string")] = ""
    public_key: Text = ""
    jwks_url: Annotated[str, AfterValidator(check_jwks_url), Expects("an absolute URL, or empty")] = ""
    issuer: Text = ""
    audience: Names = ()
    algorithms: Annotated[
        tuple[Annotated[str, AfterValidator(check_algorithm)], ...], Expects("a list of algorithms such as RS256")
    ] = ()
    leeway_seconds: Seconds = 30
    required_claims: Names = ()
    expired_head_seconds: Seconds = 3600
    cookie: Annotated[str, AfterValidator(check_cookie), Expects("the name of a cookie, or empty")] = ""
    query_parameter: Annotated[
        str, AfterValidator(check_parameter), Expects("the name of a query parameter, or empty")
    ] = ""
    subject_claim: Text = "sub"
    roles_claim: Text = "roles"
    default_roles: Annotated[
        tuple[Annotated[str, AfterValidator(check_role)], ...], Expects("a list of roles such as uploader")
    ] = ("uploader",)
    length_max_claim: Text = ""
    bytes_per_day_claim: Text = ""
    bytes_per_month_claim: Text = ""
    allowed_types_claim: Text = ""

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        sources = [name for name in ("secret", "public_key", "jwks_url") if getattr(self, name)]
        if len(sources) > 1:
            yield f"jwt.{sources[0]} and jwt.{sources[1]} are both set: set only one of them"
        if not self.subject_claim:
            yield "jwt.subject_claim is empty: name the claim with the id of the user, such as sub"
        # A public key that is taken for a shared secret lets every reader of it sign tokens.
        kind, allowed = ("secret", SECRET_ALGORITHMS) if self.secret else ("public", PUBLIC_ALGORITHMS)
        if self.enabled and not set(self.algorithms) <= set(allowed):
            yield (
                f"jwt.algorithms has {', '.join(sorted(set(self.algorithms) - set(allowed)))}, which a {kind} key "
                f"cannot be used with: use {', '.join(allowed)}"
            )

    @property
    def enabled(self) -> bool:
        """Whether tokens are accepted."""
        return bool(self.secret or self.public_key or self.jwks_url)
