"""The thread that runs requests in batches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.records.sql.group_commit import GroupCommit

pytestmark = pytest.mark.anyio


class Doubler:
    """A group commit that doubles numbers and refuses negative ones; a batch waits until ``is_open`` is set."""

    def __init__(self, *, waiting_max: int = 100) -> None:
        self.batches: list[list[int]] = []
        self.taken = threading.Event()
        self.is_open = threading.Event()
        self.has_ended = False
        self.group_commit: GroupCommit[int, int] = GroupCommit(
            self._run_batch, name="doubler", on_end=self._end, waiting_max=waiting_max
        )

    async def submit_and_wait_for_thread(self, number: int) -> asyncio.Task[int]:
        """Submit ``number`` and return once the thread has started it, so that the next requests must queue."""
        task = asyncio.create_task(self.group_commit.submit(number))
        assert await asyncio.to_thread(self.taken.wait, 10)
        return task

    def _run_batch(self, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append([*numbers])
        self.taken.set()
        assert self.is_open.wait(10)
        if 0 in numbers:
            raise ZeroDivisionError("a bug in the batch")
        return [number * 2 if number > 0 else ValueError(str(number)) for number in numbers]

    def _end(self) -> None:
        self.has_ended = True


async def test_requests_during_a_batch_are_the_next_batch() -> None:
    """All requests submitted while a batch runs are the next batch, in order; each gets its own result."""
    doubler = Doubler()
    first = await doubler.submit_and_wait_for_thread(1)
    others = [asyncio.create_task(doubler.group_commit.submit(number)) for number in (2, -3, 4)]
    await asyncio.sleep(0)
    doubler.is_open.set()
    outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["2", "4", "-3", "8"]
    assert doubler.batches == [[1], [2, -3, 4]]
    await doubler.group_commit.close(10)


async def test_submit_over_waiting_max_is_refused() -> None:
    """Over the bound a request is refused at once; when those before it are done, requests are accepted again."""
    doubler = Doubler(waiting_max=2)
    first = await doubler.submit_and_wait_for_thread(1)
    second = asyncio.create_task(doubler.group_commit.submit(2))
    await asyncio.sleep(0)
    with pytest.raises(RecordsUnavailable, match="2 calls wait"):
        await doubler.group_commit.submit(3)
    doubler.is_open.set()
    assert [*await asyncio.gather(first, second)] == [2, 4]
    assert await doubler.group_commit.submit(3) == 6
    await doubler.group_commit.close(10)


async def test_cancelled_request_is_not_run() -> None:
    """A request whose caller is cancelled before the thread starts it is never run, and counts no more as waiting."""
    doubler = Doubler(waiting_max=2)
    first = await doubler.submit_and_wait_for_thread(1)
    second = asyncio.create_task(doubler.group_commit.submit(2))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    doubler.is_open.set()
    assert await first == 2
    assert await doubler.group_commit.submit(3) == 6
    assert [*await asyncio.gather(doubler.group_commit.submit(4), doubler.group_commit.submit(5))] == [8, 10]
    assert 2 not in [number for batch in doubler.batches for number in batch]
    await doubler.group_commit.close(10)


async def test_exception_of_batch_reaches_every_caller() -> None:
    """If a batch raises, each of its callers gets the exception, and the next batch runs."""
    doubler = Doubler()
    first = await doubler.submit_and_wait_for_thread(1)
    submitted = [asyncio.create_task(doubler.group_commit.submit(number)) for number in (5, 0)]
    await asyncio.sleep(0)
    doubler.is_open.set()
    outcomes = await asyncio.gather(first, *submitted, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, ZeroDivisionError, ZeroDivisionError]
    assert await doubler.group_commit.submit(6) == 12
    await doubler.group_commit.close(10)


async def test_close_runs_submitted_requests() -> None:
    """``close`` waits for the requests submitted before it, refuses later ones, and ends the thread."""
    doubler = Doubler()
    first = await doubler.submit_and_wait_for_thread(1)
    second = asyncio.create_task(doubler.group_commit.submit(2))
    await asyncio.sleep(0)
    closing = asyncio.create_task(doubler.group_commit.close(10))
    await asyncio.sleep(0)
    with pytest.raises(RecordsUnavailable):
        await doubler.group_commit.submit(3)
    doubler.is_open.set()
    await closing
    assert (first.result(), second.result(), doubler.has_ended) == (2, 4, True)


async def test_close_times_out_if_thread_hangs() -> None:
    """If the thread hangs, ``close`` raises after its timeout; it may be called again when the thread continues."""
    doubler = Doubler()
    first = await doubler.submit_and_wait_for_thread(1)
    with pytest.raises(RecordsUnavailable, match="does not answer"):
        await doubler.group_commit.close(0.01)
    doubler.is_open.set()
    await doubler.group_commit.close(10)
    assert first.result() == 2


def test_closed_event_loop_request_still_runs() -> None:
    """A submitted request runs even if the event loop is closed before its result can be delivered."""

    async def submit_and_leave() -> Doubler:
        doubler = Doubler()
        await doubler.submit_and_wait_for_thread(1)
        return doubler

    doubler = asyncio.run(submit_and_leave())
    doubler.is_open.set()
    doubler.group_commit._queue.put(None)
    doubler.group_commit._thread.join(10)
    assert (doubler.batches, doubler.has_ended) == ([[1]], True)
