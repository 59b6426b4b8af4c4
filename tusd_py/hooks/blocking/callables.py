"""Hooks that are Python callables, sync or async, in the server process."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from typing import Any

from tusd_py.contracts.hooks import HookEvent, HookFailed, HookFunctions, HookRequest, HookResponse, HookReturn
from tusd_py.contracts.store import Store
from tusd_py.hooks.responses import CountInvocation, validate_response
from tusd_py.model.hooks import Hook
from tusd_py.threads import ThreadPool

_NO_CHANGE = HookResponse()
_OF_WHOLE_FILES = (Hook.PRE_FINISH, Hook.POST_FINISH)

#: Functions that run in threads at the same time. Further hooks wait, and the wait counts against their time limit.
THREADS = 32


class CallableHooks:
    """Calls one function for each hook. A function that is not ``async`` runs in a thread and may block there.

    After ``timeout_seconds`` an async function is cancelled. A function in a thread cannot be: it continues, and what
    it returns is ignored.
    """

    def __init__(
        self, functions: HookFunctions, timeout_seconds: float, count: CountInvocation, store: Store | None = None
    ) -> None:
        self._functions = dict(functions)
        self._timeout_seconds = timeout_seconds
        self._count = count
        self._store = store
        self._threads = ThreadPool(THREADS, "hook")

    def handles(self, hook: Hook) -> bool:
        """See ``HookHandler.handles``."""
        return hook in self._functions

    def handles_partial(self, hook: Hook) -> bool:
        """See ``HookHandler.handles_partial``: an application is asked about whole files only."""
        return hook in self._functions and hook not in _OF_WHOLE_FILES

    async def invoke(self, event: HookRequest) -> HookResponse:
        """See ``HookHandler.invoke``."""
        function = self._functions.get(event.hook)
        if function is None:
            return _NO_CHANGE
        if self._store is not None and isinstance(event, HookEvent):
            storage = {**event.upload.storage, **self._store.location(event.upload)}
            event = replace(event, upload=event.upload.with_storage(storage), store=self._store)
        try:
            async with asyncio.timeout(self._timeout_seconds) as limit:
                response = await self._call(function, event)
        except Exception as failure:
            # Whatever the application's function raises is a failed hook; the log gets the exception.
            self._count(event.hook, True)
            if limit.expired():
                raise HookFailed(f"{event.hook} took more than {self._timeout_seconds:g} seconds") from failure
            raise HookFailed(f"{event.hook} raised {type(failure).__name__}: {failure}") from failure
        problem = validate_response(response)
        self._count(event.hook, problem is not None)
        if problem is not None:
            raise HookFailed(f"{event.hook} {problem}")
        return response or _NO_CHANGE

    async def close(self) -> None:
        """See ``HookHandler.close``."""

    async def _call(self, function: Callable[[Any], HookReturn], event: HookRequest) -> HookResponse | None:
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
            result = function(event)
        else:
            result = await self._threads.submit(copy_context().run, function, event)
        # A plain function, such as a lambda or partial, may return a coroutine.
        return await result if inspect.isawaitable(result) else result
