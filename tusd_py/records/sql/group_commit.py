"""Group commit: gathers what tasks ask while a thread works on what was asked before. Knows nothing of databases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from tusd_py.contracts.records import RecordsUnavailable

Q = TypeVar("Q")
A = TypeVar("A")

#: More than this in one transaction makes the first wait for the last without being any cheaper.
_BATCH_MAX = 256


class Grouping(Generic[Q, A]):
    """A thread that answers questions by the batch, and tasks of one event loop that await their own answer.

    ``answer`` runs in the thread: for each question, in order, it returns an answer or the exception to raise. A
    batch is what has queued while the last one was answered, and what one turn of the loop asks stays together; nobody
    waits for it to fill, so that a lone question costs two thread switches and a crowd shares one transaction.

    ``on_answers`` is told in the loop of each batch that was answered, whoever still waits for it.

    A caller who is cancelled gets no answer. Its question is dropped if the thread has not come to it, and otherwise
    done as if somebody had waited: never half.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Q]], Sequence[A | Exception]],
        *,
        name: str,
        on_end: Callable[[], None],
        waiting_max: int,
        on_answers: Callable[[Sequence[A | Exception]], None] | None = None,
    ) -> None:
        self._answer = answer
        self._on_answers = on_answers
        self._on_end = on_end
        self._waiting_max = waiting_max
        self._waiting = 0
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._fresh: list[tuple[Q, asyncio.Future[A]]] = []  # asked in this turn of the loop
        self._queue: SimpleQueue[list[tuple[Q, asyncio.Future[A]]] | None] = SimpleQueue()
        # A daemon: a program that never calls close() can still end, and records need no farewell to be true.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def ask(self, question: Q) -> A:
        """The answer to ``question``, or its exception. Raises ``RecordsUnavailable`` when too many wait already."""
        if self._closing:
            raise RecordsUnavailable("the records are closed")
        if self._waiting >= self._waiting_max:
            raise RecordsUnavailable(f"the database is behind: {self._waiting} calls wait for it")
        future: asyncio.Future[A] = self._loop.create_future()
        self._waiting += 1
        if not self._fresh:
            self._loop.call_soon(self._hand_over)
        self._fresh.append((question, future))
        return await future

    def _hand_over(self) -> None:
        """Give the thread what this turn of the loop has asked: woken for each question, it would find them alone."""
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            self._queue.put(fresh)

    async def close(self, timeout_seconds: float) -> None:
        """Take no more questions, answer those asked, and end the thread. Raises ``RecordsUnavailable`` if it hangs."""
        if not self._closing:
            self._closing = True
            self._hand_over()
            self._queue.put(None)
        try:
            await asyncio.wait_for(asyncio.shield(self._ended), timeout_seconds)
        except TimeoutError:
            raise RecordsUnavailable("the database does not answer; what was asked last may not be saved") from None
        self._thread.join()

    def _work(self) -> None:
        is_open = True
        while is_open:
            asked, is_open = self._gather()
            # Read from another thread, cancelled() may be a moment old: then the question is done, which is as good.
            wanted = [(question, future) for question, future in asked if not future.cancelled()]
            answers = self._answer_all([question for question, _ in wanted])
            answered = [(future, answer) for (_, future), answer in zip(wanted, answers, strict=True)]
            self._tell(self._deliver, len(asked), answered)
        self._on_end()
        self._tell(self._end)

    def _gather(self) -> tuple[list[tuple[Q, asyncio.Future[A]]], bool]:
        """What has queued, at least one question or the end; and whether more may come."""
        asked: list[tuple[Q, asyncio.Future[A]]] = []
        entry = self._queue.get()
        while entry is not None:
            asked += entry
            if len(asked) >= _BATCH_MAX:
                return asked, True
            try:
                entry = self._queue.get_nowait()
            except Empty:
                return asked, True
        return asked, False

    def _answer_all(self, questions: Sequence[Q]) -> Sequence[A | Exception]:
        if not questions:
            return []
        try:
            return self._answer(questions)
        except Exception as error:  # noqa: BLE001 - the outermost handler of this thread: callers must not wait forever
            return [error] * len(questions)

    def _tell(self, what: Callable[..., None], *facts: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *facts)
        except RuntimeError:
            # The loop has been closed: nobody waits any more. What was asked is done all the same.
            pass

    def _deliver(self, count: int, answered: Sequence[tuple[asyncio.Future[A], A | Exception]]) -> None:
        self._waiting -= count
        for future, answer in answered:
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        if self._on_answers is not None:
            self._on_answers([answer for _, answer in answered])

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
