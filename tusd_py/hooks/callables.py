"""Hooks that are Python callables, sync or async, in the process of the server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping

from tusd_py.contracts.gate import GateFailed, Hook, HookAnswer, HookEvent
from tusd_py.protocol.ids import is_upload_id

HookFunction = Callable[[HookEvent], HookAnswer | Awaitable[HookAnswer | None] | None]
#: Told after each call: which hook it was, and whether it failed.
Count = Callable[[Hook, bool], None]

_NOTHING = HookAnswer()


class CallableGate:
    """Calls at most one function a hook. A function that is not ``async`` runs in a thread and may block there.

    After ``timeout_seconds`` an async function is cancelled; one in a thread cannot be, and runs on unheard.
    """

    def __init__(self, functions: Mapping[Hook, HookFunction], timeout_seconds: float, count: Count) -> None:
        self._functions = dict(functions)
        self._timeout_seconds = timeout_seconds
        self._count = count

    def wants(self, hook: Hook) -> bool:
        """See ``Gate.wants``."""
        return hook in self._functions

    async def ask(self, event: HookEvent) -> HookAnswer:
        """See ``Gate.ask``."""
        function = self._functions.get(event.hook)
        if function is None:
            return _NOTHING
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await _call(function, event)
        except TimeoutError as failure:
            self._count(event.hook, True)
            raise GateFailed(f"{event.hook} took more than {self._timeout_seconds:g} seconds") from failure
        except Exception as failure:
            # Whatever a user's function raises is its failure, not ours: the gate says so, the log tells all.
            self._count(event.hook, True)
            raise GateFailed(f"{event.hook} raised {type(failure).__name__}: {failure}") from failure
        problem = _problem(answer)
        self._count(event.hook, problem is not None)
        if problem is not None:
            raise GateFailed(f"{event.hook} {problem}")
        return answer or _NOTHING


async def _call(function: HookFunction, event: HookEvent) -> HookAnswer | None:
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        answer = function(event)
    else:
        answer = await asyncio.to_thread(function, event)
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
    return None
