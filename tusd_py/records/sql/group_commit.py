"""Group commit: collects requests of many tasks while a thread runs the batch before. Independent of any database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

from tusd_py.contracts.records import RecordsUnavailable

Request = TypeVar("Request")
Result = TypeVar("Result")
Outcome = TypeVar("Outcome", contravariant=True)


class Waiter(Protocol[Outcome]):
    """Gets the outcome of one request, as an ``asyncio.Future`` does. None of its methods raises."""

    def cancelled(self) -> bool: ...

    def done(self) -> bool: ...

    def set_result(self, result: Outcome, /) -> None: ...

    def set_exception(self, exception: Exception, /) -> None: ...


class Callback:
    """A waiter that calls ``on_done`` with ``None`` or the exception, without a task that would have to wake up."""

    __slots__ = ("on_done",)

    def __init__(self, on_done: Callable[[Exception | None], None]) -> None:
        self.on_done = on_done

    def cancelled(self) -> bool:
        return False

    def done(self) -> bool:
        return False

    def set_result(self, result: object, /) -> None:
        self.on_done(None)

    def set_exception(self, exception: Exception, /) -> None:
        self.on_done(exception)


class ResultCallback(Generic[Result]):
    """Like ``Callback``, but ``on_done`` also gets the result."""

    __slots__ = ("_on_done",)

    def __init__(self, on_done: Callable[[Result | None, Exception | None], None]) -> None:
        self._on_done = on_done

    def cancelled(self) -> bool:
        return False

    def done(self) -> bool:
        return False

    def set_result(self, result: Result, /) -> None:
        self._on_done(result, None)

    def set_exception(self, exception: Exception, /) -> None:
        self._on_done(None, exception)


#: More requests in one transaction make the first wait for the last without being any cheaper.
_BATCH_MAX = 256
#: So many turns of the event loop requests wait at most for others: about a millisecond if each turn brings one.
_TURNS_MAX = 8


class GroupCommit(Generic[Request, Result]):
    """A thread that runs requests in batches, for tasks of one event loop that each await their own result.

    ``run_batch`` runs in the thread: for each request, in order, it returns a result or the exception to raise. A batch
    is what has queued while the last one ran, and the requests of one turn of the event loop stay together. Nothing
    waits for a batch to fill, so that a single request costs two thread switches, and many share one transaction.

    ``on_batch`` is called on the event loop with the results of each batch, also if no caller waits for them any more.

    A cancelled caller gets no result. Its request is dropped if the thread has not started it, and otherwise runs to
    its end.
    """

    def __init__(
        self,
        run_batch: Callable[[Sequence[Request]], Sequence[Result | Exception]],
        *,
        name: str,
        on_end: Callable[[], None],
        waiting_max: int,
        on_batch: Callable[[Sequence[Result | Exception]], None] | None = None,
    ) -> None:
        self._run_batch = run_batch
        self._on_batch = on_batch
        self._on_end = on_end
        self._waiting_max = waiting_max
        self._waiting = 0
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._unqueued: list[tuple[Request, Waiter[Result]]] = []  # submitted in this turn of the event loop
        self._queue: SimpleQueue[list[tuple[Request, Waiter[Result]]] | None] = SimpleQueue()
        # A daemon: a program that never calls close() can still end, and what was committed is safe without it.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def submit(self, request: Request) -> Result:
        """Return the result of ``request``, or raise its exception; ``RecordsUnavailable`` if too many calls wait."""
        future: asyncio.Future[Result] = self._loop.create_future()
        self.begin(request, future)
        return await future

    def begin(self, request: Request, waiter: Waiter[Result]) -> None:
        """Run ``request`` and give ``waiter`` its outcome; ``RecordsUnavailable`` if too many calls wait."""
        if self._closing:
            raise RecordsUnavailable("the database connection is closed")
        if self._waiting >= self._waiting_max:
            raise RecordsUnavailable(f"the database is overloaded: {self._waiting} calls wait for it")
        self._waiting += 1
        if not self._unqueued:
            self._loop.call_soon(self._enqueue_when_quiet, 0, _TURNS_MAX)
        self._unqueued.append((request, waiter))

    def _enqueue_when_quiet(self, before: int, turns: int) -> None:
        """Queue the requests after a turn of the event loop that brought none, or after some turns.

        A turn takes as long as the requests that it handles. Under load, each wake-up of the thread and each
        transaction then serves several requests; a single request waits for one turn that finds nothing to do.
        """
        count = len(self._unqueued)
        if before < count < _BATCH_MAX and turns:
            self._loop.call_soon(self._enqueue_when_quiet, count, turns - 1)
        else:
            self._enqueue()

    def _enqueue(self) -> None:
        """Queue the requests of this turn together: if each woke the thread, each would be a batch of its own."""
        if self._unqueued:
            requests, self._unqueued = self._unqueued, []
            self._queue.put(requests)

    async def close(self, timeout_seconds: float) -> None:
        """Refuse new requests, run those submitted, end the thread. Raises ``RecordsUnavailable`` if it hangs."""
        if not self._closing:
            self._closing = True
            self._enqueue()
            self._queue.put(None)
        try:
            await asyncio.wait_for(asyncio.shield(self._ended), timeout_seconds)
        except TimeoutError:
            raise RecordsUnavailable("the database does not answer; the newest changes may not be saved") from None
        self._thread.join()

    def _work(self) -> None:
        is_open = True
        while is_open:
            submitted, is_open = self._next_batch()
            # Read from another thread, cancelled() may be out of date: then the request runs, which is allowed too.
            wanted = [(request, future) for request, future in submitted if not future.cancelled()]
            results = self._run([request for request, _ in wanted])
            delivered = [(future, result) for (_, future), result in zip(wanted, results, strict=True)]
            self._call_in_loop(self._deliver, len(submitted), delivered)
            # While it waits this thread keeps nothing of the last batch in memory: after a flood that is megabytes.
            del submitted, wanted, results, delivered
        self._on_end()
        self._call_in_loop(self._end)

    def _next_batch(self) -> tuple[list[tuple[Request, Waiter[Result]]], bool]:
        """Wait for at least one request, or the end; return what has queued, and whether more may come."""
        submitted: list[tuple[Request, Waiter[Result]]] = []
        entry = self._queue.get()
        while entry is not None:
            submitted += entry
            if len(submitted) >= _BATCH_MAX:
                return submitted, True
            try:
                entry = self._queue.get_nowait()
            except Empty:
                return submitted, True
        return submitted, False

    def _run(self, requests: Sequence[Request]) -> Sequence[Result | Exception]:
        if not requests:
            return []
        try:
            return self._run_batch(requests)
        except Exception as error:  # noqa: BLE001 - the outermost handler of this thread: callers must not wait forever
            return [error] * len(requests)

    def _call_in_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The event loop has been closed, so no caller waits any more. The requests have run all the same.
            pass

    def _deliver(self, count: int, delivered: Sequence[tuple[Waiter[Result], Result | Exception]]) -> None:
        self._waiting -= count
        for future, result in delivered:
            if type(future) is Callback:
                # The calls of the methods would take as long as all the rest.
                future.on_done(result if isinstance(result, Exception) else None)
                continue
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        if self._on_batch is not None:
            self._on_batch([result for _, result in delivered])

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
