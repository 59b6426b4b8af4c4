"""The thread that answers by the batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.records.sql.group_commit import Grouping

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Desk:
    """Doubles numbers, refuses negative ones, and works on a batch only while ``is_open`` is set."""

    def __init__(self, *, waiting_max: int = 100) -> None:
        self.batches: list[list[int]] = []
        self.taken = threading.Event()
        self.is_open = threading.Event()
        self.has_ended = False
        self.grouping: Grouping[int, int] = Grouping(
            self._answer, name="desk", on_end=self._end, waiting_max=waiting_max
        )

    async def busy_with(self, number: int) -> asyncio.Task[int]:
        """Ask ``number`` and return once the thread has taken it, so that what is asked next must queue."""
        task = asyncio.create_task(self.grouping.ask(number))
        assert await asyncio.to_thread(self.taken.wait, 10)
        return task

    def _answer(self, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append([*numbers])
        self.taken.set()
        assert self.is_open.wait(10)
        if 0 in numbers:
            raise ZeroDivisionError("a fault of the program")
        return [number * 2 if number > 0 else ValueError(str(number)) for number in numbers]

    def _end(self) -> None:
        self.has_ended = True


async def test_what_queues_meanwhile_is_one_batch() -> None:
    """Everything asked while a batch is answered is the next batch, in order; each gets its own answer."""
    desk = Desk()
    first = await desk.busy_with(1)
    others = [asyncio.create_task(desk.grouping.ask(number)) for number in (2, -3, 4)]
    await asyncio.sleep(0)
    desk.is_open.set()
    outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["2", "4", "-3", "8"]
    assert desk.batches == [[1], [2, -3, 4]]
    await desk.grouping.close(10)


async def test_a_crowd_is_refused_not_kept() -> None:
    """Beyond the bound a question is refused at once; when those before are answered there is room again."""
    desk = Desk(waiting_max=2)
    first = await desk.busy_with(1)
    second = asyncio.create_task(desk.grouping.ask(2))
    await asyncio.sleep(0)
    with pytest.raises(RecordsUnavailable, match="2 calls wait"):
        await desk.grouping.ask(3)
    desk.is_open.set()
    assert [*await asyncio.gather(first, second)] == [2, 4]
    assert await desk.grouping.ask(3) == 6
    await desk.grouping.close(10)


async def test_who_goes_away_is_not_served() -> None:
    """A question whose caller is cancelled before the thread comes to it is never asked, and its place is free."""
    desk = Desk(waiting_max=2)
    first = await desk.busy_with(1)
    second = asyncio.create_task(desk.grouping.ask(2))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    desk.is_open.set()
    assert await first == 2
    assert await desk.grouping.ask(3) == 6
    assert [*await asyncio.gather(desk.grouping.ask(4), desk.grouping.ask(5))] == [8, 10]
    assert 2 not in [number for batch in desk.batches for number in batch]
    await desk.grouping.close(10)


async def test_a_fault_reaches_every_caller() -> None:
    """If answering fails altogether, each caller of that batch is told, and the next batch is answered."""
    desk = Desk()
    first = await desk.busy_with(1)
    asked = [asyncio.create_task(desk.grouping.ask(number)) for number in (5, 0)]
    await asyncio.sleep(0)
    desk.is_open.set()
    outcomes = await asyncio.gather(first, *asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, ZeroDivisionError, ZeroDivisionError]
    assert await desk.grouping.ask(6) == 12
    await desk.grouping.close(10)


async def test_closing_answers_what_was_asked() -> None:
    """``close`` waits for the questions asked before it, refuses those after, and ends the thread."""
    desk = Desk()
    first = await desk.busy_with(1)
    second = asyncio.create_task(desk.grouping.ask(2))
    await asyncio.sleep(0)
    closing = asyncio.create_task(desk.grouping.close(10))
    await asyncio.sleep(0)
    with pytest.raises(RecordsUnavailable):
        await desk.grouping.ask(3)
    desk.is_open.set()
    await closing
    assert (first.result(), second.result(), desk.has_ended) == (2, 4, True)


async def test_closing_is_bounded() -> None:
    """A thread that hangs makes ``close`` fail in time; it may be called again once the thread goes on."""
    desk = Desk()
    first = await desk.busy_with(1)
    with pytest.raises(RecordsUnavailable, match="does not answer"):
        await desk.grouping.close(0.01)
    desk.is_open.set()
    await desk.grouping.close(10)
    assert first.result() == 2


def test_a_loop_that_is_gone_does_not_stop_the_work() -> None:
    """What was asked is done even if the event loop has been closed since: there is only nobody to tell."""

    async def ask_and_leave() -> Desk:
        desk = Desk()
        await desk.busy_with(1)
        return desk

    desk = asyncio.run(ask_and_leave())
    desk.is_open.set()
    desk.grouping._queue.put(None)
    desk.grouping._thread.join(10)
    assert (desk.batches, desk.has_ended) == ([[1]], True)
