"""``Tus``: the server as an ASGI application to mount into another one, with hooks as Python callables."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from tusd_py.contracts.hooks import AuthorizeFunction, HookFunction, HookFunctions
from tusd_py.contracts.records import RecordsError
from tusd_py.model.hooks import Hook
from tusd_py.service import Service
from tusd_py.settings import Settings, from_mapping
from tusd_py.web.app import PrefixRoute


class Tus:
    """An ASGI application that serves tus wherever it is mounted.

    ``app.mount("/files", Tus(data_dir="./data", post_finish=publish))`` is enough: the first request opens the
    backends. An application with a lifespan should enter ``lifespan`` in it, so that a shutdown saves running uploads
    and waits for running hooks.

    ``settings`` are those of the server, as sections of values such as ``{"uploads": {"length_max": "2GiB"}}``; the
    ones about listening have no effect. ``data_dir`` overrides that of the section ``storage``. Mistakes in them raise
    ``SettingsError`` with the sentences of the command line.

    A hook takes a ``HookEvent`` and returns a ``HookResponse`` or ``None``; it may be ``async``, otherwise it runs in a
    thread. The client waits for ``pre_create``, ``pre_finish`` and ``pre_terminate``. The other hooks run in the
    background, in order for each upload; post-finish is repeated after a crash until it has returned. ``authorize``
    takes an ``AuthorizeEvent`` and runs before every request but OPTIONS.
    """

    def __init__(
        self,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        settings: Settings | Mapping[str, Mapping[str, object]] | None = None,
        authorize: AuthorizeFunction | None = None,
        pre_create: HookFunction | None = None,
        post_create: HookFunction | None = None,
        post_receive: HookFunction | None = None,
        pre_finish: HookFunction | None = None,
        post_finish: HookFunction | None = None,
        pre_terminate: HookFunction | None = None,
        post_terminate: HookFunction | None = None,
    ) -> None:
        if not isinstance(settings, Settings):
            settings = from_mapping(settings or {}, "settings")
        if data_dir is not None:
            given = from_mapping({"storage": {"data_dir": os.fspath(data_dir)}}, "data_dir").storage
            storage = settings.storage.model_copy(update={"data_dir": given.data_dir})
            settings = settings.model_copy(update={"storage": storage})
        functions: dict[Hook, Any] = {
            Hook.AUTHORIZE: authorize,
            Hook.PRE_CREATE: pre_create,
            Hook.POST_CREATE: post_create,
            Hook.POST_RECEIVE: post_receive,
            Hook.PRE_FINISH: pre_finish,
            Hook.POST_FINISH: post_finish,
            Hook.PRE_TERMINATE: pre_terminate,
            Hook.POST_TERMINATE: post_terminate,
        }
        provided: HookFunctions = {hook: function for hook, function in functions.items() if function}
        self._service = Service(settings, provided)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or handle the lifespan if this is the whole application."""
        if scope["type"] == "lifespan":
            await self._handle_lifespan(receive, send)
        else:
            await self._service.endpoint(scope, receive, send)

    def route(self, path: str) -> BaseRoute:
        """A route for Starlette and FastAPI that serves ``path`` with and without a slash at its end, and all below.

        A ``Mount`` does not match without the slash: it redirects, or leaves the request to a later route.
        """
        return PrefixRoute(path, self)

    @asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncIterator[None]:
        """A lifespan that opens and closes the backends: ``Starlette(lifespan=uploads.lifespan)``."""
        await self._service.open()
        try:
            yield
        finally:
            await self._service.close()

    def drain(self) -> None:
        """Begin a graceful shutdown: running uploads are saved and answered 503. Call it on the event loop."""
        self._service.active_bodies.drain()

    async def _handle_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._service.open()
        except (OSError, RecordsError) as failure:
            # Sent, not raised: ASGI servers take an exception here as "lifespan not supported" and start anyway.
            await send({"type": "lifespan.startup.failed", "message": str(failure)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._service.close()
        await send({"type": "lifespan.shutdown.complete"})
