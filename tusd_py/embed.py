"""The server as a part of somebody else's application: mount it, and give it Python callables as hooks."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import Receive, Scope, Send

from tusd_py.contracts.hooks import AuthorizeFunction, HookFunction, HookFunctions
from tusd_py.contracts.records import RecordsError
from tusd_py.model.hooks import Hook
from tusd_py.service import Service
from tusd_py.settings import Settings, Storage


class Tus:
    """An ASGI application that takes uploads below wherever it is mounted.

    ``app.mount("/files", Tus(data_dir="./data", post_finish=publish))`` is all it needs: what it stores with is opened
    by the first request. An application that has a lifespan of its own should enter ``lifespan`` there, so that running
    uploads are saved, and hooks awaited, when it shuts down.

    ``settings`` are the server's, without those about listening; ``data_dir`` overrides the one in them.
    A hook takes a ``HookEvent`` and returns a ``HookResponse`` or ``None``. It may be ``async``; one that is not runs
    in
    a thread. ``pre_create``, ``pre_finish`` and ``pre_terminate`` are waited for; the others are told in order for each
    upload, and post-finish again after a crash, until it has returned. ``authorize`` takes an ``AuthorizeEvent`` and is
    asked first, for every request but OPTIONS.
    """

    def __init__(
        self,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        authorize: AuthorizeFunction | None = None,
        pre_create: HookFunction | None = None,
        post_create: HookFunction | None = None,
        post_receive: HookFunction | None = None,
        pre_finish: HookFunction | None = None,
        post_finish: HookFunction | None = None,
        pre_terminate: HookFunction | None = None,
        post_terminate: HookFunction | None = None,
    ) -> None:
        settings = settings or Settings()
        if data_dir is not None:
            storage = {**settings.storage.model_dump(), "data_dir": os.fspath(data_dir)}
            settings = settings.model_copy(update={"storage": Storage(**storage)})
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
        given: HookFunctions = {hook: function for hook, function in functions.items() if function}
        self._service = Service(settings, given)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or, where this is the whole application, follow the server's lifespan."""
        if scope["type"] == "lifespan":
            await self._follow(receive, send)
        else:
            await self._service.endpoint(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncIterator[None]:
        """Open at the start and close at the end: ``Starlette(lifespan=uploads.lifespan)``."""
        await self._service.open()
        try:
            yield
        finally:
            await self._service.close()

    def drain(self) -> None:
        """Begin a graceful end: running bodies are saved and answered 503. Call it on the event loop."""
        self._service.active_bodies.drain()

    async def _follow(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._service.open()
        except (OSError, RecordsError) as failure:
            # Said, not raised: servers take an exception here for "knows no lifespan" and start all the same.
            await send({"type": "lifespan.startup.failed", "message": str(failure)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._service.close()
        await send({"type": "lifespan.shutdown.complete"})
