"""Routing: the tus endpoint under its base path first, then the routes of a Starlette application."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tusd_py.access.errors import KeysUnavailable
from tusd_py.model.principal import Verb
from tusd_py.protocol.access_errors import DownloadsOnly
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.headers import Headers
from tusd_py.web.api.problems import refusal
from tusd_py.web.authentication import Authenticator
from tusd_py.web.cross_origin import CrossOriginPolicy
from tusd_py.web.direct import DirectAnswers
from tusd_py.web.download_origin import DownloadOrigin
from tusd_py.web.errors import CrossOriginRequest, to_refusal
from tusd_py.web.metrics import ServerMetrics

#: What probes may ask for by any name of the server.
_HEALTH = ("/healthz", "/readyz")
_SLASHES = re.compile("/{2,}")


class PrefixRoute(BaseRoute):
    """Routes ``base_path``, with and without its final slash, and every path below it to an ASGI application.

    It never redirects: browsers send another preflight after a redirect, and some clients do not follow redirects. So
    slashes that follow each other count as one, for which tusd redirects.
    """

    def __init__(self, base_path: str, app: ASGIApp) -> None:
        self._prefix = base_path.rstrip("/")
        #: Whether it matches every path.
        self.matches_all = not self._prefix
        self._app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        root_path = scope.get("root_path", "")
        prefix = root_path + self._prefix
        path = scope["path"]
        if "//" in path:
            path = _SLASHES.sub("/", path)
        if path != prefix and not path.startswith(prefix + "/"):
            return Match.NONE, {}
        app_root_path = scope.get("app_root_path", root_path)
        return Match.FULL, {"path": path, "root_path": prefix, "app_root_path": app_root_path}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def metrics_route(metrics: ServerMetrics, path: str, authenticator: Authenticator | None) -> Route:
    """The metrics for Prometheus. Several server processes share them in files, so a thread reads them.

    With an ``authenticator`` only principals that may observe get them.
    """

    async def serve(request: Request) -> Response:
        if authenticator is not None:
            try:
                await authenticator.require(request.scope, Verb.OBSERVE)
            except (TusError, KeysUnavailable) as failure:
                return refusal(to_refusal(failure, request.method))
        body = await run_in_threadpool(metrics.exposition)
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    return Route(path, serve)


class ServerApp(Starlette):
    """A Starlette application that tries ``endpoint`` before its middleware and its other routes.

    The tus endpoint turns its own exceptions into responses with CORS headers. Starlette's middleware for that would
    cost a fifth of the time of a small request. No path is redirected to add a slash. Requests to the other routes that
    may change state are refused where ``cross_origin`` refuses them. If the endpoint is at ``/``, the other routes come
    first.
    """

    def __init__(
        self,
        endpoint: PrefixRoute,
        routes: list[BaseRoute],
        lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
        cross_origin: CrossOriginPolicy,
        download_origin: DownloadOrigin | None = None,
        direct: DirectAnswers | None = None,
    ) -> None:
        super().__init__(routes=routes, lifespan=lifespan)
        self.router.redirect_slashes = False
        self._endpoint = endpoint
        self._first = routes if endpoint.matches_all else []
        self._cross_origin = cross_origin
        self._download_origin = download_origin
        if direct is not None and not endpoint.matches_all:
            #: Called by our HTTP server for each request that has arrived whole.
            self.begin_directly = direct.begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match, child_scope = self._endpoint.matches(scope)
        if match is not Match.FULL or any(route.matches(scope)[0] is not Match.NONE for route in self._first):
            if scope["type"] == "http" and (refused := self._refusal(scope)) is not None:
                await refusal(refused)(scope, receive, send)
            else:
                await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        scope.update(child_scope)
        await self._endpoint.handle(scope, receive, send)

    def _refusal(self, scope: Scope) -> TusError | None:
        """Why a request to the other routes is refused, if it is."""
        if self._cross_origin.refuses(scope):
            return CrossOriginRequest()
        origin = self._download_origin
        if origin is None or scope["path"] in _HEALTH or not origin.is_at(scope, Headers(scope["headers"])):
            return None
        return DownloadsOnly()
