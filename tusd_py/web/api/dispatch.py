"""Runs the handler of a route: authenticates, authorises, and turns results and exceptions into responses."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import Receive, Scope, Send

from tusd_py.access.audit import requested_id
from tusd_py.model.audit import AuditActor, AuditKind
from tusd_py.model.principal import Principal, Verb
from tusd_py.protocol.access_errors import LoginRefused, Unauthenticated
from tusd_py.protocol.errors import AccessDenied, TusError
from tusd_py.protocol.headers import Headers
from tusd_py.uploads.ports import Ports
from tusd_py.web.api.call import Access, ApiContext, ApiRoute, Call, ensure_permitted
from tusd_py.web.api.problems import ApiError, problem_response, refusal
from tusd_py.web.api.query import ApiQuery
from tusd_py.web.authentication import ANONYMOUS, Authenticator
from tusd_py.web.client_address import ClientAddresses
from tusd_py.web.errors import InternalError, to_refusal

log = logging.getLogger(__name__)

OpenPorts = Callable[[], Awaitable[Ports]]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


class ApiDispatcher:
    """Serves routes. An ``authenticator`` decides which requests are permitted; ``None``: access control is off."""

    def __init__(
        self,
        open_ports: OpenPorts,
        authenticator: Authenticator | None,
        client_addresses: ClientAddresses,
        context: ApiContext | None = None,
    ) -> None:
        self._open_ports = open_ports
        self._authenticator = authenticator
        self._client_addresses = client_addresses
        self._context = context or ApiContext()

    def routes(self, routes: Iterable[ApiRoute]) -> list[BaseRoute]:
        """Starlette's routes: one for each path, for every method, and one for all other paths below ``/api``."""
        paths: dict[str, dict[str, ApiRoute]] = {}
        for route in routes:
            paths.setdefault(route.path, {})[route.method] = route
        return [
            *(Route(path, self._endpoint(methods), methods=_METHODS) for path, methods in paths.items()),
            _UnknownPath(),
        ]

    def _endpoint(self, methods: dict[str, ApiRoute]) -> Callable[[Request], Awaitable[Response]]:
        allowed = ", ".join(sorted({*methods, "HEAD"} if "GET" in methods else methods))

        async def endpoint(request: Request) -> Response:
            route = methods.get("GET" if request.method == "HEAD" else request.method)
            if route is None:
                sentence = f"this resource does not accept the method; it accepts {allowed}"
                return problem_response(ApiError(405, sentence, headers={"allow": allowed}))
            try:
                return await self._answer(route, request)
            except ApiError as error:
                return problem_response(error)
            except Exception as failure:
                # The outermost handler: every exception becomes a response.
                refused = to_refusal(failure, "")
                is_audited = isinstance(failure, LoginRefused) and failure.is_audited
                if isinstance(failure, AccessDenied | Unauthenticated) and not is_audited:
                    try:
                        await self._record_refusal(route, request, failure)
                    except Exception as error:
                        # The outermost handler of the entry: the client is refused also while the database is away.
                        log.warning("could not record that a request was refused", exc_info=error)
                if isinstance(refused, InternalError):
                    log.error("%s %s failed", request.method, route.path, exc_info=failure)
                elif failure is not refused:
                    log.warning("%s %s: %s: %s", request.method, route.path, type(failure).__name__, failure)
                return refusal(refused)

        return endpoint

    async def _answer(self, route: ApiRoute, request: Request) -> Response:
        principal = await self._principal(route, request)
        if principal.grant and route.access is not Access.BEARER:
            raise AccessDenied  # else the bearer of a link or a code would see what belongs to its owner
        authenticator = self._authenticator
        known = route.query
        if authenticator is not None and authenticator.query_parameter:
            known = (*known, authenticator.query_parameter)
        call = Call(
            ports=await self._open_ports(),
            principal=principal,
            policy=None if authenticator is None else authenticator.policy,
            request=request,
            query=ApiQuery(request.scope.get("query_string", b""), known),
            address=self._client_addresses.key(request.scope, Headers(request.scope["headers"])),
            context=self._context,
            session_cookies=None if authenticator is None else authenticator.session_cookies,
        )
        content = await route.handler(call)
        if isinstance(content, Response):
            content.headers.setdefault("cache-control", "no-store")
            return content
        headers = {"cache-control": "no-store"}
        if content is None:
            return Response(status_code=204, headers=headers)
        return JSONResponse(content, route.status, headers=headers)

    async def _record_refusal(self, route: ApiRoute, request: Request, refused: TusError) -> None:
        """Record a request whose credentials are missing or not enough, if the audit log is on."""
        trail = (await self._open_ports()).audit
        if trail is not None:
            headers = Headers(request.scope["headers"])
            principal = None
            if self._authenticator is not None and isinstance(refused, AccessDenied):
                # Its credentials are good: they were accepted a moment ago.
                principal = await self._authenticator.authenticate(request.scope, headers, "GET")
            address = self._client_addresses.key(request.scope, headers)
            verb = route.access.value if isinstance(route.access, Verb) else request.method.lower()
            reason = f"{refused.status} {refused.code}"
            # The path as it is documented: a client can put anything in the place of an id.
            path = route.path
            for name, value in request.path_params.items():
                if requested := requested_id(str(value)):
                    path = path.replace(f"{{{name}}}", requested)
            trail.record_refusal(AuditActor.of(principal, address), verb, AuditKind.SERVER, path, reason)

    async def _principal(self, route: ApiRoute, request: Request) -> Principal:
        if self._authenticator is None or route.access is Access.OPEN:
            return ANONYMOUS
        if isinstance(route.access, Verb):
            return await self._authenticator.require(request.scope, route.access)
        # As GET, because here HEAD needs a token that is valid now.
        method = "GET" if request.method == "HEAD" else request.method
        principal = await self._authenticator.authenticate(request.scope, Headers(request.scope["headers"]), method)
        ensure_permitted(route.access, principal, self._authenticator.policy)
        return principal


class _UnknownPath(BaseRoute):
    """Refuses the other paths below ``/api``, also those that Starlette's patterns cannot match, with a line end."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return (Match.FULL if path == "/api" or path.startswith("/api/") else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await problem_response(ApiError(404, "the API has no resource at this path"))(scope, receive, send)
