"""A bounded pool of threads for calls that block on the disk. What those calls do stands elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPool:
    """At most ``count`` threads, started as they are needed, for the coroutines of one event loop.

    An executor of the standard library does the same; this one makes one future a call instead of two, without locks
    or callbacks between them, which halves the cost of a hop, and a small upload is one hop.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._jobs: SimpleQueue[tuple[asyncio.Future[Any], Callable[..., Any] | None, tuple[Any, ...]]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Start ``work`` in a thread. Cancelling the future does not stop it."""
        assert not kwargs, "positional arguments only"
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(future, work, args)
        if self._unfinished > len(self._threads) < self._count:
            # Daemons: a program that ends without close() is not held up by idle threads.
            thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do ``work`` in a thread and return its result. Cancelled, it still waits until the thread is done with it.

        So whoever comes next never finds an earlier call still busy with the same file.
        """
        future = self.submit(work, *args, **kwargs)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await wait_until_done(future)
            raise

    async def close(self) -> None:
        """Finish what was submitted and end the threads."""
        loop = asyncio.get_running_loop()
        ends = [loop.create_future() for _ in self._threads]
        for end in ends:
            self._put(end, None, ())
        self._threads.clear()
        for end in ends:
            await wait_until_done(end)

    def _put(self, future: asyncio.Future[Any], work: Callable[..., Any] | None, args: tuple[Any, ...]) -> None:
        self._unfinished += 1
        self._jobs.put((future, work, args))

    def _serve(self) -> None:
        while True:
            future, work, args = self._jobs.get()
            result, error = None, None
            try:
                result = None if work is None else work(*args)
            except BaseException as caught:  # noqa: BLE001 - the outermost handler of a thread: told to who awaits it
                error = caught
            try:
                future.get_loop().call_soon_threadsafe(self._settle, future, result, error)
            except RuntimeError:
                pass  # the event loop is closed: nobody waits any more
            if work is None:
                return
            del future, work, args, result, error  # an idle thread keeps no body in memory

    def _settle(self, future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
        self._unfinished -= 1
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


async def wait_until_done(future: asyncio.Future[Any]) -> None:
    """Wait until ``future`` is done, however often the waiting task is cancelled; raises that cancellation after."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as caught:
            cancelled = caught
    if cancelled is not None:
        raise cancelled


class DaemonThreads:
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
