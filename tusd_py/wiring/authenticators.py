"""Builds what authenticates requests from the settings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tusd_py.access.errors import KeyInvalid
from tusd_py.model.principal import Role
from tusd_py.settings import JwtSettings, Settings
from tusd_py.web.authentication import Authenticator, OpenAccess
from tusd_py.web.cross_origin import CrossOriginPolicy
from tusd_py.web.download_origin import DownloadOrigin
from tusd_py.web.location import Locator
from tusd_py.web.session_cookies import SessionCookies
from tusd_py.wiring.access import access_policy, key_fetcher

if TYPE_CHECKING:
    from tusd_py.access.verification_keys import KeySource
    from tusd_py.contracts.credentials import TokenVerifier

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def authenticator(
    settings: Settings, locator: Locator | None = None, open_access: OpenAccess | None = None
) -> Authenticator | None:
    """The authenticator of requests, or ``None`` while access control is off.

    ``open_access`` is called for the tokens that this server makes itself.
    Reads the file of the public key. Raises ``OSError`` with a sentence for the operator if a key cannot be used.
    """
    policy = access_policy(settings)
    if policy is None:
        return None
    jwt = settings.jwt
    return Authenticator(
        policy=policy,
        cross_origin=CrossOriginPolicy(
            locator=locator or Locator(), allow_origins=settings.cors.allow_origins if settings.cors.enabled else ()
        ),
        verifier=_verifier(jwt) if jwt.enabled else None,
        open_access=open_access,
        download_origin=download_origin(settings, locator or Locator()),
        session_cookies=session_cookies(settings, locator or Locator()),
        cookie=jwt.cookie,
        query_parameter=jwt.query_parameter,
        accepts_links=settings.links.enabled,
    )


def download_origin(settings: Settings, locator: Locator) -> DownloadOrigin | None:
    """The separate origin of downloads, or ``None`` without one."""
    server = settings.server
    if not server.download_url:
        return None
    return DownloadOrigin(url=server.download_url, locator=locator, redirects=server.download_redirect)


def session_cookies(settings: Settings, locator: Locator) -> SessionCookies | None:
    """The cookies of accounts, or ``None`` without them."""
    accounts = settings.accounts
    if not (accounts.enabled and accounts.cookies):
        return None
    return SessionCookies(locator=locator, same_site=accounts.cookie_same_site)


def open_to_everyone(settings: Settings) -> str | None:
    """A warning if every client on the network may upload to this server, read its metrics and use its API."""
    server = settings.server
    is_local = server.host in _LOOPBACK or bool(server.unix_socket) or server.systemd_socket
    if is_local or settings.has_access_control or has_authorize_hook(settings):
        return None
    return (
        f"every client that reaches {server.host} can upload: no access control is configured "
        "(access.anonymous, jwt, or an authorize hook; docs/access.md)"
    )


def tokens_without_key(settings: Settings) -> str | None:
    """A warning if ``[jwt]`` is configured except for its key: an empty variable must not open a server unnoticed."""
    if settings.jwt.enabled or settings.jwt == JwtSettings():
        return None
    return "[jwt] has settings but no key, so no token is accepted: set jwt.secret, jwt.public_key or jwt.jwks_url"


def has_authorize_hook(settings: Settings) -> bool:
    """Whether the settings have a hook that decides on every request."""
    hooks = settings.hooks
    return "authorize" in hooks.enabled_events and bool(hooks.http_urls or hooks.executables_dir)


def allowed_algorithms(jwt: JwtSettings) -> tuple[str, ...]:
    """The algorithms that a token may be signed with; the token itself never decides."""
    return jwt.algorithms or (("HS256",) if jwt.secret else ("RS256", "ES256", "EdDSA"))


def _verifier(jwt: JwtSettings) -> TokenVerifier:
    # Imported here: only servers that accept tokens load the libraries, which take about 10 MiB.
    from tusd_py.access.claims import ClaimNames
    from tusd_py.access.jwt_tokens import JwtRules, JwtVerifier

    rules = JwtRules(
        algorithms=allowed_algorithms(jwt),
        issuer=jwt.issuer,
        audience=jwt.audience,
        required_claims=jwt.required_claims,
        leeway_seconds=jwt.leeway_seconds,
        expired_head_seconds=jwt.expired_head_seconds,
        names=ClaimNames(
            subject=jwt.subject_claim,
            roles=jwt.roles_claim,
            length_max=jwt.length_max_claim,
            bytes_per_day=jwt.bytes_per_day_claim,
            bytes_per_month=jwt.bytes_per_month_claim,
            allowed_types=jwt.allowed_types_claim,
            default_roles=frozenset(map(Role, jwt.default_roles)),
        ),
    )
    return JwtVerifier(rules, _key_source(jwt), time.time, time.monotonic)


def _key_source(jwt: JwtSettings) -> KeySource:
    from tusd_py.access.jwks import JwksCache
    from tusd_py.access.verification_keys import StaticKey, public_key, secret_key

    if jwt.secret:
        return StaticKey(secret_key(jwt.secret))
    if jwt.jwks_url:
        return JwksCache(key_fetcher(jwt.jwks_url), time.monotonic)
    is_pem = jwt.public_key.lstrip().startswith("-----BEGIN")
    try:
        pem = jwt.public_key.encode() if is_pem else Path(jwt.public_key).read_bytes()
        return StaticKey(public_key(pem))
    except OSError as error:
        raise OSError(f"jwt.public_key: {error.strerror}: {jwt.public_key}") from error
    except KeyInvalid as error:
        raise OSError(f"jwt.public_key cannot be used: {error}") from None
