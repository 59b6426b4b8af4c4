"""Threads for hooks that block: their own, so that a slow hook holds up neither digests nor the end of the program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """At most ``count`` calls at once, each in a thread of its own.

    The threads of the standard library's executors are waited for when the program ends: a hook that hangs would keep
    it from ending at all. These are daemons.
    """

    def __init__(self, count: int, name: str) -> None:
        self._free = asyncio.Semaphore(count)
        self._name = name

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``function`` returns, or raises. Cancelled, it runs on unheard, and keeps its place until it ends."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = copy_context()

        def settle(result: T | None, error: BaseException | None) -> None:
            self._free.release()
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # without an error it is a T

        def work() -> None:
            result, error = None, None
            try:
                result = context.run(function, *args, **kwargs)
            except BaseException as caught:  # noqa: BLE001 - the outermost handler of a thread: told to who awaits it
                # A future takes no StopIteration.
                error = RuntimeError("raised StopIteration") if isinstance(caught, StopIteration) else caught
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:
                pass  # the event loop is closed: nobody waits any more

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return await future
