"""Hooks that are Python callables, sync or async, in the process of the server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from tusd_py.contracts.hooks import HookFailed, HookFunctions, HookRequest, HookResponse, HookReturn
from tusd_py.hooks.responses import CountInvocation, validate_response
from tusd_py.model.hooks import Hook
from tusd_py.threads import ThreadPool

_NOTHING = HookResponse()

#: Functions that block at the same time; more wait, and count that wait as their own.
THREADS = 32


class CallableHooks:
    """Calls at most one function a hook. A function that is not ``async`` runs in a thread and may block there.

    After ``timeout_seconds`` an async function is cancelled; one in a thread cannot be, and runs on unheard.
    """

    def __init__(self, functions: HookFunctions, timeout_seconds: float, count: CountInvocation) -> None:
        self._functions = dict(functions)
        self._timeout_seconds = timeout_seconds
        self._count = count
        self._threads = ThreadPool(THREADS, "hook")

    def handles(self, hook: Hook) -> bool:
        """See ``HookHandler.wants``."""
        return hook in self._functions

    async def invoke(self, event: HookRequest) -> HookResponse:
        """See ``HookHandler.ask``."""
        function = self._functions.get(event.hook)
        if function is None:
            return _NOTHING
        try:
            async with asyncio.timeout(self._timeout_seconds) as limit:
                answer = await self._call(function, event)
        except Exception as failure:
            # Whatever a user's function raises is its failure, not ours: the gate says so, the log tells all.
            self._count(event.hook, True)
            if limit.expired():
                raise HookFailed(f"{event.hook} took more than {self._timeout_seconds:g} seconds") from failure
            raise HookFailed(f"{event.hook} raised {type(failure).__name__}: {failure}") from failure
        problem = validate_response(answer)
        self._count(event.hook, problem is not None)
        if problem is not None:
            raise HookFailed(f"{event.hook} {problem}")
        return answer or _NOTHING

    async def close(self) -> None:
        """See ``HookHandler.close``."""

    async def _call(self, function: Callable[[Any], HookReturn], event: HookRequest) -> HookResponse | None:
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
            answer = function(event)
        else:
            answer = await self._threads.submit(copy_context().run, function, event)
        # A plain function may hand back a coroutine: a lambda, a partial.
        return await answer if inspect.isawaitable(answer) else answer
