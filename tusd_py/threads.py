"""Threads for calls that would block the event loop.

``ThreadPool`` serves what blocks: files, and hooks that are plain functions. ``cpu_threads`` serves what computes.
``in_executor`` calls a function in such a pool of another module. ``asyncio.to_thread`` is only for the start: it uses
the default executor of the event loop, which everything shares, and a few calls that hang would stop everything.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from tusd_py.cancellation import uninterrupted, wait_until_done

P = ParamSpec("P")
T = TypeVar("T")


class _Callback:
    """What a job has in place of a future: it calls ``on_done`` in the same turn, for a caller that is no task."""

    __slots__ = ("_loop", "_on_done")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_done: Callable[[BaseException | None], None]) -> None:
        self._loop = loop
        self._on_done = on_done

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def cancelled(self) -> bool:
        return False

    def set_result(self, result: object, /) -> None:
        self._on_done(None)

    def set_exception(self, exception: BaseException, /) -> None:
        self._on_done(exception)


#: A job: the future of its result, the call and its arguments; without a call the thread ends.
_Job = tuple[asyncio.Future[Any] | _Callback, Callable[..., Any] | None, tuple[Any, ...]]
#: Jobs that were submitted together. A batch may be handed over several times, to threads that help.
_Batch = deque[_Job]
#: How long quick calls wait at most for those before them: less than two writes to a disk take.
HELP_SECONDS = 0.002

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

    With ``quick`` calls that usually take less than a switch of threads share one: those of one turn of the event loop
    go to one thread, and others help if it has not begun all of them within ``HELP_SECONDS``. That spares most of the
    switches; on one core they took a tenth of a small upload.
    """

    def __init__(self, count: int, name: str, *, quick: bool = False) -> None:
        self._count = count
        self._name = name
        self._quick = quick
        self._mutex = threading.Lock()  # held for some instructions only
        #: Each waiting thread has a queue of its own: several that wait for one are woken one after the other, in vain,
        #: and take the interpreter from each other. The last one is taken first: its memory is in the caches.
        self._idle: list[SimpleQueue[_Batch]] = []
        self._batches: deque[_Batch] = deque()  # for the threads that are busy
        self._threads: list[threading.Thread] = []
        self._unqueued: deque[_Job] = deque()  # submitted in this turn of the event loop
        self._begun: list[deque[_Job]] = []  # batches of which some jobs may not have been taken by a thread
        self._helper: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Call ``work`` with positional arguments in a thread.

        Cancelling the future prevents the call if it has not begun. If it has, the call continues, occupies its thread
        until it ends, and its result is dropped.
        """
        assert not kwargs, "positional arguments only"
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._add(loop, (future, work, args))
        return future

    def begin(
        self,
        on_done: Callable[[BaseException | None], None],
        work: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Call ``work`` as ``submit`` does, then ``on_done`` on the event loop, with ``None`` or the failure.

        It must not raise. Without a future a call is reported one turn of the event loop earlier.
        """
        assert not kwargs, "positional arguments only"
        loop = asyncio.get_running_loop()
        self._add(loop, (_Callback(loop, on_done), work, args))

    def _add(self, loop: asyncio.AbstractEventLoop, job: _Job) -> None:
        if not self._quick:
            self._hand_over(deque([job]), self._count)
            return
        if loop is not self._loop:
            # What an event loop that has ended left behind has no caller any more.
            self._loop, self._helper = loop, None
            self._unqueued.clear()
        if not self._unqueued:
            loop.call_soon(self._enqueue)
        self._unqueued.append(job)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``work`` in a thread and return its result. If cancelled, wait until the call has ended.

        So the next task never finds an earlier call still using the same file.
        """
        return await uninterrupted(self.submit(work, *args, **kwargs))

    async def close(self) -> None:
        """Finish the submitted calls and end the threads."""
        for end in self._end_threads():
            await wait_until_done(end)

    def abandon(self) -> None:
        """End each thread once its call has ended, without waiting: a call may hang."""
        self._end_threads()

    def _end_threads(self) -> list[asyncio.Future[None]]:
        """Let each thread end; the futures are done when they have."""
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            self._enqueue()
        if self._helper is not None:
            self._helper.cancel()
            self._helper = None
        ends = [loop.create_future() for _ in self._threads]
        for end in ends:
            # A thread takes it after all that was queued before, and finishes first what it has taken.
            self._hand_over(deque([(end, None, ())]), 0)
        self._threads.clear()
        return ends

    def _enqueue(self) -> None:
        """Give the jobs of this turn to one thread, and look later whether it has taken all of them."""
        if not self._unqueued:
            return
        batch, self._unqueued = self._unqueued, deque()
        self._hand_over(batch, 1)
        self._begun.append(batch)
        if self._helper is None and self._loop is not None:
            self._helper = self._loop.call_later(HELP_SECONDS, self._help)

    def _help(self) -> None:
        """Let as many threads as there are take the jobs that no thread has taken yet."""
        self._helper = None
        begun, self._begun = self._begun, []
        for batch in begun:
            # Once is enough: a thread that takes a part of the batch goes on until nothing is left of it.
            for _ in range(min(len(batch), self._count)):
                self._hand_over(batch, self._count)

    def _hand_over(self, batch: _Batch, threads_max: int) -> None:
        """Give ``batch`` to an idle thread, or to a new one up to ``threads_max``, or to the first that is ready."""
        with self._mutex:
            idle = self._idle.pop() if self._idle else None
            if idle is None and len(self._threads) >= threads_max:
                self._batches.append(batch)
                return
        if idle is not None:
            idle.put(batch)
            return
        own: SimpleQueue[_Batch] = SimpleQueue()
        own.put(batch)
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._serve, args=(own,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _next_batch(self, own: SimpleQueue[_Batch]) -> _Batch:
        """The next batch for a thread with this queue."""
        with self._mutex:
            if self._batches:
                return self._batches.popleft()
            self._idle.append(own)
        return own.get()

    def _serve(self, own: SimpleQueue[_Batch]) -> None:
        batch = own.get()
        while True:
            while batch:
                try:
                    future, work, args = batch.popleft()
                except IndexError:
                    break  # another thread that helps was faster
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
            del batch
            batch = self._next_batch(own)

    def _finish(self, future: asyncio.Future[Any] | _Callback, result: object, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
