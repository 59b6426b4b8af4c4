"""Checks of access control, accounts and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from tusd_py.commands.checks.result import Check, warning
from tusd_py.settings import Settings
from tusd_py.wiring.authenticators import (
    allowed_algorithms,
    authenticator,
    has_authorize_hook,
    open_to_everyone,
    tokens_without_key,
)


def check_access(settings: Settings) -> Iterator[Check]:
    """Whether anyone authenticates clients, and what authenticates them works."""
    if everyone := open_to_everyone(settings):
        yield warning(everyone)
    if keyless := tokens_without_key(settings):
        yield warning(keyless)
    accounts = settings.accounts
    has_credentials = settings.jwt.enabled or accounts.enabled or accounts.api_keys
    if settings.access.anonymous == "none" and not has_credentials and not has_authorize_hook(settings):
        yield warning('access.anonymous is "none", and nothing authenticates clients: every request is answered 401')
    if settings.jwt.enabled:
        yield _token_keys(settings)
    if accounts.enabled:
        yield from _accounts(settings)


def _accounts(settings: Settings) -> Iterator[Check]:
    if find_spec("argon2") is None:
        yield Check(False, "accounts.enabled needs the package argon2-cffi: install tusd-py[accounts]")
        return
    yield Check(True, "people can log in with accounts (tusd-py user list)")
    is_local = settings.server.host in ("127.0.0.1", "::1", "localhost")
    has_https = settings.server.tls_certificate or settings.server.public_url.startswith("https:")
    if not is_local and not has_https and not settings.server.trusted_proxies:
        yield warning(
            "people log in over plain HTTP as far as the server knows: set server.public_url or server.trusted_proxies "
            "if a proxy ends TLS, so that cookies are only sent over HTTPS"
        )


def _token_keys(settings: Settings) -> Check:
    try:
        authenticator(settings)
    except OSError as error:
        return Check(False, str(error))
    return Check(True, f"tokens (JWT) are accepted with {', '.join(allowed_algorithms(settings.jwt))}")
