"""``/api/auth``: people log in with a name and a password, renew their tokens, and log out.

Programs get tokens in the response. Pages ask for cookies instead: no script can read them, and each request that
changes something needs the header ``X-CSRF-Token`` besides them.
"""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from tusd_py.access.account_tokens import session_of
from tusd_py.access.login import METHOD, IssuedTokens, Logins
from tusd_py.access.passwords import PASSWORD_CHARACTERS_MAX
from tusd_py.protocol.access_errors import RefreshRefused
from tusd_py.protocol.headers import Headers
from tusd_py.web.api.call import Access, ApiRoute, Call
from tusd_py.web.api.problems import ApiError
from tusd_py.web.errors import CsrfTokenMissing
from tusd_py.web.session_cookies import SessionCookies, csrf_token_of


async def log_in(call: Call) -> object:
    logins = _logins(call)
    body = await call.json()
    name, password = body.text("name"), body.text("password", characters_max=PASSWORD_CHARACTERS_MAX)
    wants_cookies = body.flag("cookies", False)
    if wants_cookies:
        _cookies(call)
    tokens = await logins.login(name, password, call.address, call.ports.audit)
    return _issued(call, tokens, wants_cookies=wants_cookies)


async def refresh(call: Call) -> object:
    """A new pair of tokens for the refresh token in the body, or in the cookies."""
    logins, token = _logins(call), await _token_of_body(call)
    if token is not None:
        return _issued(call, await logins.refresh(token, call.ports.audit), wants_cookies=False)
    return _issued(call, await logins.refresh(_token_of_cookies(call), call.ports.audit), wants_cookies=True)


async def log_out(call: Call) -> object:
    """End the session, and delete the cookies."""
    logins, token = _logins(call), await _token_of_body(call)
    if token is not None:
        await logins.logout(token, call.address, call.ports.audit)
        return None
    response = Response(status_code=204)
    await logins.logout(_token_of_cookies(call), call.address, call.ports.audit)
    _cookies(call).clear(response, call.request.scope, _headers(call))
    return response


async def show_session(call: Call) -> object:
    """On whose behalf the client acts, and for a session its CSRF token."""
    principal = call.principal
    view: dict[str, object] = {
        "subject": principal.subject,
        "roles": sorted(principal.roles),
        "method": principal.method,
    }
    if principal.method == METHOD:
        view["csrf_token"] = _logins(call).csrf_token(session_of(principal))
    return view


async def _token_of_body(call: Call) -> str | None:
    """The member ``refresh_token``; ``None`` for a request without a body, whose token is in the cookies."""
    if not call.request.headers.get("content-type"):
        return None
    body = await call.json()
    return body.text("refresh_token", "") or None


def _token_of_cookies(call: Call) -> str:
    """The refresh token in the cookies. Raises ``RefreshRefused`` or ``CsrfTokenMissing``."""
    headers = _headers(call)
    token = _cookies(call).refresh_token(call.request.scope, headers)
    if token is None:
        raise RefreshRefused
    logins = _logins(call)
    if not logins.is_csrf_token(logins.session_of(token), csrf_token_of(headers)):
        raise CsrfTokenMissing
    return token


def _issued(call: Call, tokens: IssuedTokens, *, wants_cookies: bool) -> Response:
    view: dict[str, object] = {
        "account": {"name": tokens.account.name, "roles": sorted(tokens.account.roles)},
        "expires_in": tokens.access_seconds,
        "refresh_expires_in": tokens.refresh_seconds,
    }
    if wants_cookies:
        response = JSONResponse({**view, "csrf_token": tokens.csrf_token})
        _cookies(call).set(response, tokens, call.request.scope, _headers(call))
        return response
    credentials = {
        "access_token": tokens.access_token,
        "token_type": "Bearer",
        "refresh_token": tokens.refresh_token,
    }
    return JSONResponse({**view, **credentials})


def _logins(call: Call) -> Logins:
    access = call.ports.access_ports
    if access is None or access.logins is None:
        raise ApiError(404, "accounts are off (accounts.enabled)")
    return access.logins


def _cookies(call: Call) -> SessionCookies:
    _logins(call)  # 404 where accounts are off
    if call.session_cookies is None:
        raise ApiError(400, "this server sets no cookies (accounts.cookies); use the tokens of the response")
    return call.session_cookies


def _headers(call: Call) -> Headers:
    return Headers(call.request.scope["headers"])


ROUTES = (
    ApiRoute("POST", "/api/auth/login", log_in, Access.OPEN),
    ApiRoute("POST", "/api/auth/refresh", refresh, Access.OPEN),
    ApiRoute("POST", "/api/auth/logout", log_out, Access.OPEN),
    ApiRoute("GET", "/api/auth/session", show_session, Access.PRINCIPAL),
)
