"""Threads for calls that would block the event loop.

``ThreadPool`` serves what blocks: files, and hooks that are plain functions. ``cpu_threads`` serves what computes.
``in_executor`` calls a function in such a pool of another module. ``asyncio.to_thread`` is only for the start: it uses
the default executor of the event loop, which everything shares, and a few calls that hang would stop everything.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from tusd_py.cancellation import uninterrupted, wait_until_done

P = ParamSpec("P")
T = TypeVar("T")

#: For computations that release the interpreter's lock, such as digests of large pieces: one thread per processor,
#: since more would only share them. An executor of the standard library, because threads submit to it too.
cpu_threads = ThreadPoolExecutor(os.cpu_count() or 1, "cpu")


async def in_executor(executor: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``asyncio.to_thread`` with a chosen executor: if cancelled, the call goes on and its result is dropped."""
    call = partial(copy_context().run, work, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(executor, call)


class ThreadPool:
    """At most ``count`` threads, started on demand, for the coroutines of one event loop.

    It differs from an executor of the standard library in two ways. It makes one future for each call instead of two,
    without locks or callbacks between them, which halves the cost of a hop to a thread; a small upload is one such hop.
    And its threads are daemons: a program ends without ``close`` even if a call never returns.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._jobs: SimpleQueue[tuple[asyncio.Future[Any], Callable[..., Any] | None, tuple[Any, ...]]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Call ``work`` with positional arguments in a thread.

        Cancelling the future prevents the call if it has not begun. If it has, the call continues, occupies its thread
        until it ends, and its result is dropped.
        """
        assert not kwargs, "positional arguments only"
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(future, work, args)
        if self._unfinished > len(self._threads) < self._count:
            thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``work`` in a thread and return its result. If cancelled, wait until the call has ended.

        So the next task never finds an earlier call still using the same file.
        """
        return await uninterrupted(self.submit(work, *args, **kwargs))

    async def close(self) -> None:
        """Finish the submitted calls and end the threads."""
        loop = asyncio.get_running_loop()
        ends = [loop.create_future() for _ in self._threads]
        for end in ends:
            self._put(end, None, ())
        self._threads.clear()
        for end in ends:
            await wait_until_done(end)

    def abandon(self) -> None:
        """End each thread once its call has ended, without waiting: a call may hang."""
        loop = asyncio.get_running_loop()
        for _ in self._threads:
            self._put(loop.create_future(), None, ())
        self._threads.clear()

    def _put(self, future: asyncio.Future[Any], work: Callable[..., Any] | None, args: tuple[Any, ...]) -> None:
        self._unfinished += 1
        self._jobs.put((future, work, args))

    def _serve(self) -> None:
        while True:
            future, work, args = self._jobs.get()
            result, error = None, None
            try:
                result = None if work is None or future.cancelled() else work(*args)
            except BaseException as caught:  # noqa: BLE001 - the outermost handler of a thread: passed to the caller
                # A future accepts no StopIteration.
                error = RuntimeError("raised StopIteration") if isinstance(caught, StopIteration) else caught
            try:
                future.get_loop().call_soon_threadsafe(self._finish, future, result, error)
            except RuntimeError:
                pass  # the event loop is closed: the caller is gone
            if work is None:
                return
            del future, work, args, result, error  # an idle thread keeps no body in memory

    def _finish(self, future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
        self._unfinished -= 1
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
