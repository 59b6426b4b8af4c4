"""The cookies of a login in a browser: two that scripts cannot read, and the CSRF token.

On HTTPS their names begin with ``__Host-`` or ``__Secure-``, so that neither plain HTTP nor a subdomain can set them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Scope

from tusd_py.access.login import IssuedTokens
from tusd_py.protocol.headers import Headers
from tusd_py.web.location import Locator

CSRF_HEADER = b"x-csrf-token"
#: The only path that needs the refresh token.
_REFRESH_PATH = "/api/auth"
#: The name of each cookie, its prefix on HTTPS, and its path.
_ACCESS = ("tusd_session", "__Host-", "/")
_REFRESH = ("tusd_refresh", "__Secure-", _REFRESH_PATH)
_CSRF = ("tusd_csrf", "__Host-", "/")
_Cookie = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCookies:
    """Reads and sets the cookies of a session."""

    locator: Locator
    same_site: Literal["strict", "lax", "none"] = "lax"

    def access_token(self, scope: Scope, headers: Headers) -> bytes | None:
        """The access token in the cookies of a request."""
        return self._read(_ACCESS, scope, headers)

    def refresh_token(self, scope: Scope, headers: Headers) -> str | None:
        """The refresh token in the cookies of a request."""
        found = self._read(_REFRESH, scope, headers)
        return None if found is None else found.decode()

    def set(self, response: Response, tokens: IssuedTokens, scope: Scope, headers: Headers) -> None:
        """Let ``response`` set all cookies of a session.

        They live as long as the session: HEAD of a running upload accepts an access token that has just expired.
        """
        values = (_ACCESS, tokens.access_token), (_REFRESH, tokens.refresh_token), (_CSRF, tokens.csrf_token)
        for cookie, value in values:
            self._write(response, cookie, value, tokens.refresh_seconds, scope, headers)

    def clear(self, response: Response, scope: Scope, headers: Headers) -> None:
        """Let ``response`` delete the cookies."""
        for cookie in (_ACCESS, _REFRESH, _CSRF):
            self._write(response, cookie, "", 0, scope, headers)

    def _read(self, cookie: _Cookie, scope: Scope, headers: Headers) -> bytes | None:
        text = headers.get(b"cookie")
        if not text:
            return None
        # The parser of the standard library gives up at the first cookie that is not of its form, such as JSON.
        value = cookie_parser(text).get(self._name(cookie, scope, headers))
        return value.encode("utf-8", "replace") if value else None

    def _write(
        self, response: Response, cookie: _Cookie, value: str, seconds: int, scope: Scope, headers: Headers
    ) -> None:
        response.set_cookie(
            self._name(cookie, scope, headers),
            value,
            max_age=seconds,
            path=cookie[2],
            secure=self._is_https(scope, headers),
            httponly=cookie is not _CSRF,
            samesite=self.same_site,
        )

    def _name(self, cookie: _Cookie, scope: Scope, headers: Headers) -> str:
        name, prefix, _ = cookie
        return prefix + name if self._is_https(scope, headers) else name

    def _is_https(self, scope: Scope, headers: Headers) -> bool:
        """Whether the browser speaks HTTPS, as the settings or a trusted proxy say."""
        if self.locator.public_url:
            return self.locator.public_url.startswith("https:")
        return (self.locator.forwarded(scope, headers).proto or scope.get("scheme", "http")).lower() == "https"


def csrf_token_of(headers: Headers) -> str:
    """The CSRF token in the header of a request; empty without one."""
    return headers.get(CSRF_HEADER) or ""
