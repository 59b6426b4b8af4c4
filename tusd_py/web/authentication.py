"""Finds out on whose behalf a request is made: from its bearer token, or where the settings allow it from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from starlette.requests import cookie_parser
from starlette.types import Scope

from tusd_py.access.account_tokens import session_of
from tusd_py.access.download_tokens import PARAMETER as DOWNLOAD_PARAMETER
from tusd_py.access.download_tokens import PREFIX as DOWNLOAD_PREFIX
from tusd_py.access.errors import TokenInvalid
from tusd_py.access.links import LINK_PARAMETER, LINK_PREFIX
from tusd_py.access.policy import AccessPolicy
from tusd_py.access.ports import AccessPorts
from tusd_py.contracts.credentials import TokenVerifier
from tusd_py.model.principal import Principal, Verb
from tusd_py.protocol.access_errors import LinkOriginRefused, Unauthenticated
from tusd_py.protocol.errors import AccessDenied
from tusd_py.protocol.headers import Headers
from tusd_py.web.cross_origin import CrossOriginPolicy
from tusd_py.web.download_origin import BEARER, DownloadOrigin
from tusd_py.web.errors import CrossOriginRequest, CsrfTokenMissing
from tusd_py.web.session_cookies import SessionCookies, csrf_token_of

#: Returns the backends of access control; opens them at the first request.
OpenAccess = Callable[[], Awaitable[AccessPorts]]

ANONYMOUS = Principal()

# What the tokens that this server makes begin with; a kind and "_" follow.
_OWN = b"tusd_"
# The query of a request may have at most this many parameters; the token is looked for among them.
_PARAMETERS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """Authenticates requests. It exists only where access control is on.

    ``open_access`` returns what verifies the tokens that this server makes itself, by their prefix (``tusd_key_``);
    ``verifier`` is for all others. ``cookie`` and ``query_parameter`` name where a token may be besides the header
    ``Authorization``; empty is nowhere.
    """

    policy: AccessPolicy
    cross_origin: CrossOriginPolicy
    verifier: TokenVerifier | None = None
    open_access: OpenAccess | None = None
    cookie: str = ""
    query_parameter: str = ""
    session_cookies: SessionCookies | None = None  # None without accounts
    download_origin: DownloadOrigin | None = None  # where cookies do not count
    accepts_links: bool = False  # whether the query of a request may have the signature of a link

    async def authenticate(self, scope: Scope, headers: Headers, method: str) -> Principal:
        """The principal of a request whose method, after an override, is ``method``; anonymous without a token.

        Raises ``Unauthenticated`` for a token that is not accepted, even where anonymous requests are allowed: the
        client believes that it acts for its user. Also raises ``CrossOriginRequest`` or ``KeysUnavailable``.
        """
        token = self._token(scope, headers, method)
        if token is None:
            return ANONYMOUS if self.session_cookies is None else await self._of_session(scope, headers, method)
        principal = await self._verify(token, method)
        origin = headers.get(b"origin") if principal.origins else None
        if origin is not None and origin.lower() not in principal.origins:
            raise LinkOriginRefused
        return principal

    def recall(self, scope: Scope, headers: Headers, access: AccessPorts | None) -> Principal | None:
        """The principal that ``authenticate`` returns for an ordinary request, without waiting.

        Ordinary is a token in ``Authorization`` that was verified before, or none where anonymous requests are allowed.
        ``None`` for every other request: the query and cookies may have credentials, and what is refused is recorded.
        """
        if scope.get("query_string"):
            return None
        value = headers.get_bytes(b"authorization")
        if value is None:
            counts_cookies = bool(self.cookie) or self.session_cookies is not None
            is_anonymous = self.policy.allows_anonymous and not (counts_cookies and b"cookie" in headers)
            return ANONYMOUS if is_anonymous else None
        if value[: len(BEARER)].lower() != BEARER:
            return None
        token = value[len(BEARER) :].strip()
        verifier = self.verifier
        if token.startswith(_OWN):
            verifier = None if access is None else access.verifiers.get(_prefix_of(token))
        principal = None if verifier is None else verifier.recall(token)
        # Links and codes have rules of their own.
        is_ordinary = principal is not None and not (principal.grant or principal.origins or principal.is_expired)
        return principal if is_ordinary else None

    async def _of_session(self, scope: Scope, headers: Headers, method: str) -> Principal:
        """The principal of the cookies of a login; anonymous without them.

        Raises ``CrossOriginRequest`` or ``CsrfTokenMissing`` for what another page may have made the browser send.
        """
        assert self.session_cookies is not None and self.open_access is not None
        token = self.session_cookies.access_token(scope, headers)
        if token is None or self._ignores_cookies(scope, headers):
            return ANONYMOUS
        if method != "GET" and self.cross_origin.refuses({**scope, "method": "POST"}):
            raise CrossOriginRequest
        principal = await self._verify(token, method)
        logins = (await self.open_access()).logins
        if method != "GET" and (
            logins is None or not logins.is_csrf_token(session_of(principal), csrf_token_of(headers))
        ):
            raise CsrfTokenMissing
        return principal

    def _ignores_cookies(self, scope: Scope, headers: Headers) -> bool:
        """Whether the request was sent to the origin of downloads, where user content is displayed."""
        return self.download_origin is not None and self.download_origin.is_at(scope, headers)

    async def _verify(self, token: bytes, method: str) -> Principal:
        verifier = self.verifier
        if token.startswith(_OWN):
            verifier = None if self.open_access is None else (await self.open_access()).verifiers.get(_prefix_of(token))
        if verifier is None:
            raise Unauthenticated("this server accepts no such tokens")
        try:
            # tus-js-client forgets the URL and starts over after a 401 to HEAD, but renews its token before PATCH.
            return await verifier.verify(token, allow_expired=method == "HEAD")
        except TokenInvalid as invalid:
            raise Unauthenticated(str(invalid)) from None

    async def require(self, scope: Scope, verb: Verb) -> Principal:
        """The principal of a request that is about no single upload and needs ``verb``.

        Raises as ``authenticate``, and ``Unauthenticated`` or ``AccessDenied`` if ``verb`` is not permitted.
        """
        principal = await self.authenticate(scope, Headers(scope["headers"]), scope["method"])
        if principal.is_expired:
            raise Unauthenticated("the token has expired")
        if not self.policy.permits(principal, verb):
            raise Unauthenticated if principal.is_anonymous else AccessDenied
        return principal

    def _token(self, scope: Scope, headers: Headers, method: str) -> bytes | None:
        query = scope.get("query_string", b"")
        if query and self.download_origin is not None and method in ("GET", "HEAD"):
            found = _from_query(query, DOWNLOAD_PARAMETER)
            if found is not None and self.download_origin.is_at(scope, headers):
                return DOWNLOAD_PREFIX + found
        if query and self.accepts_links and (found := _from_query(query, LINK_PARAMETER)) is not None:
            # The link comes before other credentials: the client may send these with every request to this server.
            return LINK_PREFIX + found
        value = headers.get_bytes(b"authorization")
        # Other schemes may be for a proxy in front of this server; browsers then send them beside the cookie.
        if value is not None and value[: len(BEARER)].lower() == BEARER:
            return value[len(BEARER) :].strip()
        if self.query_parameter and method == "GET":
            found = _from_query(query, self.query_parameter)
            if found is not None:
                return found
        if (
            self.cookie
            and not self._ignores_cookies(scope, headers)
            and (found := _from_cookie(headers, self.cookie)) is not None
        ):
            # A browser adds cookies by itself, also to requests that a page of another origin makes. Such a page cannot
            # read the answer to a GET; but HEAD interrupts a running upload, and may make its client the owner.
            if method != "GET" and self.cross_origin.refuses({**scope, "method": "POST"}):
                raise CrossOriginRequest
            return found
        return None


def _prefix_of(token: bytes) -> bytes:
    """What a token that this server makes begins with: empty if its form is another one."""
    return token[: token.find(b"_", len(_OWN)) + 1]


def link_suffix(scope: Scope) -> str:
    """The query with the signature, if the client used a link; empty for the owner, which needs no signature."""
    found = _from_query(scope.get("query_string", b""), LINK_PARAMETER) or b""
    return f"?{LINK_PARAMETER}={quote(found)}" if found else ""


def _from_query(query: bytes, name: str) -> bytes | None:
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_PARAMETERS_MAX)
    except ValueError:
        return None
    return next((value.encode("utf-8", "replace") for key, value in pairs if key == name), None)


def _from_cookie(headers: Headers, name: str) -> bytes | None:
    # The parser of the standard library gives up at the first cookie that is not of its form, such as JSON.
    value = cookie_parser(headers.get(b"cookie") or "").get(name)
    return None if value is None else value.encode("utf-8", "replace")
