"""Routes: methods, roles, results and exceptions become responses."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import cast

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from tests.support.harness import UploadsHarness
from tests.unit.web.asgi import ask
from tusd_py.access.audit import AuditTrail
from tusd_py.access.errors import TokenInvalid
from tusd_py.access.policy import AccessPolicy
from tusd_py.contracts.audit_log import AuditLog
from tusd_py.contracts.locker import LockTimeout
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.model.principal import Principal, Role, Verb
from tusd_py.web.api.call import Access, ApiRoute, Call
from tusd_py.web.api.dispatch import ApiDispatcher
from tusd_py.web.authentication import Authenticator
from tusd_py.web.client_address import ClientAddresses
from tusd_py.web.cross_origin import CrossOriginPolicy
from tusd_py.web.location import Locator

pytestmark = pytest.mark.anyio


async def subject(call: Call) -> object:
    return {"subject": call.principal.subject}


async def nothing(call: Call) -> object:
    return None


async def plain(call: Call) -> object:
    return PlainTextResponse("x")


async def locked(call: Call) -> object:
    raise LockTimeout("u1")


async def broken(call: Call) -> object:
    raise ZeroDivisionError("secret detail")


async def named(call: Call) -> object:
    return {"name": call.path("name")}


ROUTES = (
    ApiRoute("GET", "/api/named/{name}", named, Access.OPEN),
    ApiRoute("GET", "/api/open", subject, Access.OPEN),
    ApiRoute("GET", "/api/client", subject, Access.CLIENT),
    ApiRoute("GET", "/api/principal", subject, Access.PRINCIPAL),
    ApiRoute("POST", "/api/principal", subject, Access.PRINCIPAL, status=201),
    ApiRoute("GET", "/api/observe", subject, Verb.OBSERVE),
    ApiRoute("DELETE", "/api/operate", nothing, Verb.OPERATE),
    ApiRoute("GET", "/api/plain", plain, Access.OPEN),
    ApiRoute("POST", "/api/locked", locked, Access.OPEN),
    ApiRoute("GET", "/api/broken", broken, Access.OPEN),
)

ROLES = {b"ada": Role.ADMIN, b"vera": Role.VIEWER, b"bob": Role.UPLOADER}


class Names:
    """Takes each token for the name of its subject."""

    async def verify(self, token: bytes, *, allow_expired: bool = False) -> Principal:
        if token == b"old" and allow_expired:
            return Principal(subject="bob", is_expired=True)
        if token not in ROLES:
            raise TokenInvalid("the token is not accepted")
        return Principal(subject=token.decode(), roles=frozenset({ROLES[token]}))

    def recall(self, token: bytes) -> Principal | None:
        return None


def application(access: str = "off") -> Starlette:
    authenticator = None
    if access != "off":
        authenticator = Authenticator(
            policy=AccessPolicy(allows_anonymous=access == "all"),
            cross_origin=CrossOriginPolicy(locator=Locator()),
            verifier=Names(),
            query_parameter="jwt",
        )
    open_ports = UploadsHarness().open_ports
    return Starlette(routes=ApiDispatcher(open_ports, authenticator, ClientAddresses()).routes(ROUTES))


async def status(access: str, method: str, path: str, token: str, query: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return (await ask(application(access), method, path, headers, query_string=query.encode())).status


@pytest.mark.parametrize(
    ("path", "access", "anonymous", "uploader", "viewer", "admin"),
    [
        ("/api/open", "none", 200, 200, 200, 200),
        ("/api/client", "none", 401, 200, 200, 200),
        ("/api/client", "all", 200, 200, 200, 200),
        ("/api/principal", "none", 401, 200, 200, 200),
        ("/api/principal", "all", 401, 200, 200, 200),
        ("/api/observe", "none", 401, 403, 200, 200),
        ("/api/observe", "all", 401, 403, 200, 200),
    ],
)
async def test_each_role_reaches_its_routes(
    path: str, access: str, anonymous: int, uploader: int, viewer: int, admin: int
) -> None:
    """Each role and route, with and without anonymous clients; while access control is off every client may use it."""
    found = [await status(access, "GET", path, token) for token in ("", "bob", "vera", "ada")]
    assert found == [anonymous, uploader, viewer, admin]
    assert await status("off", "GET", path, "") == 200


async def test_names_that_no_database_holds_404() -> None:
    """PostgreSQL takes no U+0000, which was answered 503: nothing has such a name or id."""
    assert (await ask(application(), "GET", "/api/named/a\0b")).status == 404
    assert (await ask(application(), "GET", "/api/named/ab")).status == 200


class AwayAtSecondCall(Names):
    """Verifies one token, then fails as a database that is away."""

    def __init__(self) -> None:
        self.calls = 0

    async def verify(self, token: bytes, *, allow_expired: bool = False) -> Principal:
        self.calls += 1
        if self.calls > 1:
            raise RecordsUnavailable("away")
        return await super().verify(token, allow_expired=allow_expired)


async def test_refusal_that_cannot_be_recorded_403() -> None:
    """The audit log asks for the principal of a refused request again; where that fails the answer is the same."""
    harness = UploadsHarness()
    harness.ports = replace(harness.ports, audit=AuditTrail(log=cast(AuditLog, None), clock=harness.clock))
    policy, cross_origin = AccessPolicy(allows_anonymous=False), CrossOriginPolicy(locator=Locator())
    authenticator = Authenticator(policy=policy, cross_origin=cross_origin, verifier=AwayAtSecondCall())
    routes = ApiDispatcher(harness.open_ports, authenticator, ClientAddresses()).routes(ROUTES)
    refused = await ask(Starlette(routes=routes), "DELETE", "/api/operate", {"Authorization": "Bearer vera"})
    assert refused.status == 403


async def test_changes_need_a_verb_of_their_own() -> None:
    """Changes need a verb of their own; an answer of None is 204."""
    assert [await status("none", "DELETE", "/api/operate", each) for each in ("", "vera", "ada")] == [401, 403, 204]


async def test_open_route_ignores_credentials() -> None:
    """A stale token in a header keeps no client from logging in."""
    assert await status("none", "GET", "/api/open", "wrong") == 200
    assert await status("none", "GET", "/api/client", "wrong") == 401


async def test_head_needs_a_valid_token() -> None:
    """HEAD is GET without content, and an expired token does not do."""
    assert await status("none", "HEAD", "/api/principal", "bob") == 200
    assert await status("none", "HEAD", "/api/principal", "old") == 401
    assert await status("none", "HEAD", "/api/observe", "old") == 401


async def test_token_in_the_query() -> None:
    """The parameter that the settings name for a token is known to every route, and no other is."""
    assert await status("none", "GET", "/api/principal", "", query="jwt=bob") == 200
    assert await status("none", "GET", "/api/principal", "", query="jwt=bob&x=1") == 400
    assert await status("off", "GET", "/api/principal", "", query="jwt=bob") == 400


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/api/observe", "GET, HEAD"),
        ("GET", "/api/operate", "DELETE"),
        ("HEAD", "/api/operate", "DELETE"),
        ("PUT", "/api/principal", "GET, HEAD, POST"),
        ("OPTIONS", "/api/principal", "GET, HEAD, POST"),
    ],
)
async def test_wrong_method_405(method: str, path: str, allow: str) -> None:
    """``Allow`` has what the resource accepts."""
    answer = await ask(application(), method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    assert json.loads(answer.body)["code"] == "ERR_METHOD_NOT_ALLOWED"


async def test_status_is_that_of_the_route_and_nothing_is_cached() -> None:
    """The status of the route, and no caching, also of a response that the answer made."""
    created = await ask(application(), "POST", "/api/principal")
    assert (created.status, created.headers["cache-control"]) == (201, "no-store")
    response = await ask(application(), "GET", "/api/plain")
    assert (response.body, response.headers["cache-control"]) == (b"x", "no-store")


async def test_failures_have_the_statuses_of_the_tus_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    """Exceptions of the contracts have the statuses of the tus endpoint; an unexpected one is 500 and logged."""
    refused = await ask(application(), "POST", "/api/locked")
    assert (refused.status, refused.headers["retry-after"]) == (423, "1")
    caplog.set_level(logging.ERROR)
    failed = await ask(application(), "GET", "/api/broken")
    assert (failed.status, json.loads(failed.body)["code"]) == (500, "ERR_INTERNAL_SERVER_ERROR")
    assert (b"secret" in failed.body, "secret detail" in caplog.text) == (False, True)
