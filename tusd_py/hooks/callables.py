"""Hooks that are Python callables, sync or async, in the process of the server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping

from tusd_py.contracts.gate import GateFailed, Hook, HookAnswer, HookEvent
from tusd_py.hooks.threads import Threads
from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.ids import is_upload_id
from tusd_py.protocol.metadata import format_metadata

HookFunction = Callable[[HookEvent], HookAnswer | Awaitable[HookAnswer | None] | None]
#: Told after each call: which hook it was, and whether it failed.
Count = Callable[[Hook, bool], None]

_NOTHING = HookAnswer()

#: Functions that block at the same time; more wait, and count that wait as their own.
THREADS = 32


class CallableGate:
    """Calls at most one function a hook. A function that is not ``async`` runs in a thread and may block there.

    After ``timeout_seconds`` an async function is cancelled; one in a thread cannot be, and runs on unheard.
    """

    def __init__(self, functions: Mapping[Hook, HookFunction], timeout_seconds: float, count: Count) -> None:
        self._functions = dict(functions)
        self._timeout_seconds = timeout_seconds
        self._count = count
        self._threads = Threads(THREADS, "hook")

    def wants(self, hook: Hook) -> bool:
        """See ``Gate.wants``."""
        return hook in self._functions

    async def ask(self, event: HookEvent) -> HookAnswer:
        """See ``Gate.ask``."""
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
                raise GateFailed(f"{event.hook} took more than {self._timeout_seconds:g} seconds") from failure
            raise GateFailed(f"{event.hook} raised {type(failure).__name__}: {failure}") from failure
        problem = _problem(answer)
        self._count(event.hook, problem is not None)
        if problem is not None:
            raise GateFailed(f"{event.hook} {problem}")
        return answer or _NOTHING

    async def _call(self, function: HookFunction, event: HookEvent) -> HookAnswer | None:
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
            answer = function(event)
        else:
            answer = await self._threads.run(function, event)
        # A plain function may hand back a coroutine: a lambda, a partial.
        return await answer if inspect.isawaitable(answer) else answer


def _problem(answer: object) -> str | None:
    """What is wrong with a hook's answer; None if nothing is."""
    if answer is None:
        return None
    if not isinstance(answer, HookAnswer):
        return f"returned {type(answer).__name__}; return a HookAnswer or None"
    if answer.upload_id is not None and not is_upload_id(answer.upload_id):
        return f"chose the id {answer.upload_id!r}; ids are letters, digits, '-' and '_', at most 128"
    status = answer.overlay.status if answer.overlay is not None else None
    if status is not None and not 200 <= status <= 599:
        return f"answered with the status {status!r}; a status is a number from 200 to 599"
    try:
        format_metadata(dict.fromkeys(answer.metadata or {}, b""))
    except InvalidMetadata as failure:
        return f"changed the metadata: {failure}"
    if not all(isinstance(value, str | bytes) for value in (answer.metadata or {}).values()):
        return "changed the metadata: values are text or bytes"
    return None
