"""Where a token is looked for, and what a request without one is."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tests.support.tokens import SECRET, bearer, token
from tests.unit.web.asgi import scope
from tusd_py.access.jwt_tokens import JwtRules, JwtVerifier
from tusd_py.access.policy import AccessPolicy
from tusd_py.access.ports import AccessPorts
from tusd_py.access.signing import TokenSigner
from tusd_py.access.verification_keys import StaticKey, secret_key
from tusd_py.model.principal import Principal, Verb
from tusd_py.protocol.access_errors import Unauthenticated
from tusd_py.protocol.errors import AccessDenied, TusError
from tusd_py.protocol.headers import Headers
from tusd_py.web.authentication import Authenticator
from tusd_py.web.cross_origin import CrossOriginPolicy
from tusd_py.web.download_origin import DownloadOrigin
from tusd_py.web.errors import CrossOriginRequest, CsrfTokenMissing
from tusd_py.web.location import Locator
from tusd_py.web.session_cookies import SessionCookies

pytestmark = pytest.mark.anyio

ALLOWED = "https://app.example"


def authenticator(*, cookie: str = "", query_parameter: str = "", allows_anonymous: bool = True) -> Authenticator:
    return Authenticator(
        policy=AccessPolicy(allows_anonymous=allows_anonymous),
        cross_origin=CrossOriginPolicy(locator=Locator(), allow_origins=[ALLOWED]),
        verifier=JwtVerifier(JwtRules(algorithms=("HS256",)), StaticKey(secret_key(SECRET)), time.time, lambda: 0.0),
        cookie=cookie,
        query_parameter=query_parameter,
    )


async def ask(
    checked: Authenticator, method: str, headers: dict[str, str], query: str = "", effective: str = ""
) -> Principal:
    asked = scope(method, "/files/x", headers, query_string=query.encode())
    return await checked.authenticate(asked, Headers(asked["headers"]), effective or method)


async def test_authorization_header() -> None:
    """The scheme is compared without case; another scheme may be for a proxy; a bad token is never anonymous."""
    checked = authenticator()
    assert (await ask(checked, "PATCH", {})).is_anonymous
    assert (await ask(checked, "PATCH", {"Authorization": "Basic YTpi"})).is_anonymous
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (await ask(checked, "PATCH", {"Authorization": f"{scheme} {token()}"})).subject == "alice"
    for value in ("Bearer ", "Bearer x", "Bearer " + token(key="another secret of 32 bytes or more")):
        with pytest.raises(Unauthenticated):
            await ask(checked, "PATCH", {"Authorization": value})


class _OwnTokens:
    """Accepts every token and returns it as the subject."""

    async def verify(self, token: bytes, *, allow_expired: bool = False) -> Principal:
        return Principal(subject=token.decode(), method="key")

    def recall(self, token: bytes) -> Principal | None:
        return Principal(subject=token.decode(), method="key")


async def test_own_tokens_by_prefix() -> None:
    """Tokens that this server makes go to the verifier of their prefix; other kinds and broken prefixes are 401."""

    async def open_access() -> AccessPorts:
        return AccessPorts(
            signer=TokenSigner([("k", b"")]),
            clock=lambda: datetime.now(UTC),
            verifiers={b"tusd_key_": _OwnTokens()},
        )

    checked = replace(authenticator(), open_access=open_access)
    principal = await ask(checked, "PATCH", {"Authorization": "Bearer tusd_key_a_b"})
    assert (principal.subject, principal.method) == ("tusd_key_a_b", "key")
    assert (await ask(checked, "PATCH", bearer())).subject == "alice"
    for other in ("tusd_", "tusd_key", "tusd_at_x", "tusd__x", "tusd_key-x"):
        with pytest.raises(Unauthenticated):
            await ask(checked, "PATCH", {"Authorization": f"Bearer {other}"})


async def test_two_authorization_headers_401() -> None:
    """Two tokens are combined with a comma and refused: a proxy may have checked only one of them."""
    asked = scope("PATCH", "/files/x")
    asked["headers"] = [(b"authorization", b"Bearer " + token(name).encode()) for name in ("alice", "bob")]
    with pytest.raises(Unauthenticated):
        await authenticator().authenticate(asked, Headers(asked["headers"]), "PATCH")


async def test_query_parameter_is_for_downloads_only() -> None:
    """Only GET takes a token from the query, and only if a parameter is named."""
    query = f"a=1&jwt={token()}"
    named = authenticator(query_parameter="jwt")
    assert (await ask(named, "GET", {}, query)).subject == "alice"
    assert (await ask(authenticator(), "GET", {}, query)).is_anonymous
    for method in ("HEAD", "PATCH", "POST", "DELETE"):
        assert (await ask(named, method, {}, query)).is_anonymous
    assert (await ask(named, "POST", {}, query, effective="DELETE")).is_anonymous
    assert (await ask(named, "GET", {}, "&".join("x=1" for _ in range(1000)))).is_anonymous
    assert (await ask(named, "GET", bearer("bob"), query)).subject == "bob"


async def test_cookie_of_another_origin_403() -> None:
    """A cookie counts only for requests that no page of another origin has made, whatever the override."""
    named = authenticator(cookie="session")
    cookie = {"Cookie": f"theme=dark; session={token()}"}
    assert (await ask(named, "PATCH", cookie)).subject == "alice"
    assert (await ask(named, "PATCH", {**cookie, "Sec-Fetch-Site": "same-origin"})).subject == "alice"
    assert (await ask(named, "PATCH", {**cookie, "Sec-Fetch-Site": "cross-site", "Origin": ALLOWED})).subject == "alice"
    assert (await ask(named, "GET", {**cookie, "Sec-Fetch-Site": "cross-site"})).subject == "alice"
    attack = {**cookie, "Sec-Fetch-Site": "cross-site", "Origin": "https://attacker.example"}
    for method, effective in (("PATCH", ""), ("POST", ""), ("DELETE", ""), ("GET", "DELETE"), ("HEAD", "")):
        with pytest.raises(CrossOriginRequest):
            await ask(named, method, attack, effective=effective)
    assert (await ask(authenticator(), "PATCH", cookie)).is_anonymous
    for broken in ("session", "=;=", "\xff", "a" * 10_000, "[]=1; session"):
        assert (await ask(named, "PATCH", {"Cookie": broken})).is_anonymous


@pytest.mark.parametrize("neighbour", ['prefs={"a": 1}', "a b c", 'x="unterminated', "a[b]=1", "n=\xe9", "flag", ""])
async def test_cookie_beside_others_of_any_form(neighbour: str) -> None:
    """Cookies that other applications of the domain have set, in whatever form, do not hide the one with the token."""
    named = authenticator(cookie="session")
    for cookies in (f"{neighbour}; session={token()}", f"session={token()}; {neighbour}"):
        assert (await ask(named, "PATCH", {"Cookie": cookies})).subject == "alice"


async def test_expired_token_is_for_head_only() -> None:
    """An expired token is 401 to every method but HEAD."""
    checked, expired = authenticator(), bearer(seconds=-100)
    assert (await ask(checked, "HEAD", expired)).is_expired
    for method in ("PATCH", "POST", "DELETE", "GET"):
        with pytest.raises(Unauthenticated) as refused:
            await ask(checked, method, expired)
        assert refused.value.challenge == (
            'Bearer realm="tusd-py", error="invalid_token", error_description="the token has expired"'
        )


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({}, Unauthenticated),
        (bearer(), AccessDenied),
        (bearer(roles=["viewer"]), None),
        (bearer(seconds=-100), Unauthenticated),
    ],
    ids=["anonymous", "uploader", "viewer", "expired"],
)
@pytest.mark.parametrize("allows_anonymous", [True, False])
async def test_what_is_about_no_upload_needs_a_role(
    headers: dict[str, str], refusal: type[TusError] | None, allows_anonymous: bool
) -> None:
    """What is about no single upload needs a role, also where anonymous uploads are allowed."""
    checked = authenticator(allows_anonymous=allows_anonymous)
    for method in ("GET", "HEAD"):
        if refusal is None:
            assert (await checked.require(scope(method, "/metrics", headers), Verb.OBSERVE)).subject == "alice"
        else:
            with pytest.raises(refusal):
                await checked.require(scope(method, "/metrics", headers), Verb.OBSERVE)


class OneSession:
    """Verifies one access token, and one CSRF token."""

    async def verify(self, token: bytes, *, allow_expired: bool = False) -> Principal:
        return Principal(subject="alice", method="account", credential="alice 0 s1")

    def is_csrf_token(self, session_id: str, token: str) -> bool:
        return (session_id, token) == ("s1", "right")


def of_a_login(download_origin: DownloadOrigin | None = None) -> Authenticator:
    session = cast(Any, OneSession())
    access = AccessPorts(
        signer=TokenSigner([("k", b"x" * 32)]),
        clock=lambda: datetime.now(UTC),
        verifiers={b"tusd_at_": session},
        logins=session,
    )

    async def open_access() -> AccessPorts:
        return access

    return replace(
        authenticator(),
        session_cookies=SessionCookies(locator=Locator()),
        open_access=open_access,
        download_origin=download_origin,
    )


COOKIE = {"Cookie": "tusd_session=tusd_at_x"}
CSRF = {**COOKIE, "X-CSRF-Token": "right"}


async def test_cookies_of_a_login_need_the_csrf_token_403() -> None:
    """For everything but GET."""
    checked = of_a_login()
    assert (await ask(checked, "GET", COOKIE)).subject == "alice"
    assert (await ask(checked, "PATCH", CSRF)).subject == "alice"
    for headers in (COOKIE, {**COOKIE, "X-CSRF-Token": "wrong"}):
        with pytest.raises(CsrfTokenMissing):
            await ask(checked, "PATCH", headers)


async def test_cookies_of_a_login_do_not_count_for_pages_of_other_origins_403() -> None:
    """Although the page knows the CSRF token; one that ``cors.allow_origins`` names may use it."""
    checked = of_a_login()
    assert (await ask(checked, "PATCH", {**CSRF, "Origin": ALLOWED})).subject == "alice"
    with pytest.raises(CrossOriginRequest):
        await ask(checked, "PATCH", {**CSRF, "Origin": "https://evil.example"})


async def test_cookies_of_a_login_do_not_count_at_the_origin_of_downloads() -> None:
    """Content of users is displayed there."""
    checked = of_a_login(DownloadOrigin(url="https://content.example/files/", locator=Locator()))
    assert (await ask(checked, "GET", {**COOKIE, "Host": "content.example"})).is_anonymous
    assert (await ask(checked, "GET", {**COOKIE, "Host": "uploads.example"})).subject == "alice"
