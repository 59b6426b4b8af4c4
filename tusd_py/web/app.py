"""The Starlette application of a server: the tus endpoint, the page, health and metrics, each where it belongs."""

from __future__ import annotations

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

from tusd_py.web.metrics import Metrics


class PrefixRoute(BaseRoute):
    """Hands an application every path at and below ``base_path``, with and without the slash, never by a redirect.

    Browsers ask again for permission after a redirect, and some clients follow none.
    """

    def __init__(self, base_path: str, app: ASGIApp) -> None:
        self._prefix = base_path.rstrip("/")
        self._app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        root_path = scope.get("root_path", "")
        here = root_path + self._prefix
        path = scope["path"]
        if path != here and not path.startswith(here + "/"):
            return Match.NONE, {}
        return Match.FULL, {"root_path": here, "app_root_path": scope.get("app_root_path", root_path)}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def metrics_route(metrics: Metrics, path: str) -> Route:
    """The counts for Prometheus; several worker processes share theirs in files, so they are read in a thread."""

    async def serve(_: Request) -> Response:
        body = await run_in_threadpool(metrics.exposition)
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    return Route(path, serve)


class ServerApp(Starlette):
    """A Starlette application that asks ``endpoint`` before its middleware and its other routes.

    The tus endpoint answers for its own faults, readable from other origins; Starlette's layers for that would only
    cost a fifth of each small request. Nothing is ever redirected for a slash.
    """

    def __init__(
        self,
        endpoint: PrefixRoute,
        routes: list[BaseRoute],
        lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
    ) -> None:
        super().__init__(routes=[endpoint, *routes], lifespan=lifespan)
        self.router.redirect_slashes = False
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match, child_scope = self._endpoint.matches(scope)
        if match is not Match.FULL:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        scope.update(child_scope)
        await self._endpoint.handle(scope, receive, send)
