"""The pool of threads for calls that block."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.support.waiting import eventually
from tusd_py.threads import ThreadPool


@pytest.mark.anyio
async def test_results_and_errors_reach_the_caller() -> None:
    """The event loop's own thread executes none of the calls."""
    threads = ThreadPool(2, "test")
    assert await threads.run(threading.get_ident) != threading.get_ident()
    assert await threads.submit(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 7, 0)
    await threads.close()


@pytest.mark.anyio
@pytest.mark.parametrize("quick", [False, True])
async def test_begun_calls_report_their_end_to_a_callback(quick: bool) -> None:
    """On the thread of the event loop, with ``None`` or the failure."""
    threads = ThreadPool(2, "test", quick=quick)
    reports: list[tuple[int, str]] = []

    def on_done(failure: BaseException | None) -> None:
        reports.append((threading.get_ident(), type(failure).__name__))

    threads.begin(on_done, divmod, 7, 2)
    await eventually(lambda: len(reports) == 1)
    threads.begin(on_done, divmod, 7, 0)
    await eventually(lambda: len(reports) == 2)
    assert reports == [(threading.get_ident(), "NoneType"), (threading.get_ident(), "ZeroDivisionError")]
    await threads.close()


@pytest.mark.anyio
async def test_threads_are_bounded() -> None:
    """Threads are started on demand, never more than the limit; further calls wait."""
    threads = ThreadPool(3, "bounded")
    handler = threading.Event()
    calls = [asyncio.create_task(threads.run(handler.wait, 20)) for _ in range(10)]
    await asyncio.sleep(0)
    assert sum(thread.name.startswith("bounded") for thread in threading.enumerate()) == 3
    handler.set()
    assert await asyncio.gather(*calls) == [True] * 10
    await threads.close()
    await eventually(lambda: not any(thread.name.startswith("bounded") for thread in threading.enumerate()))


@pytest.mark.anyio
async def test_cancelled_run_waits_for_the_thread() -> None:
    """The cancellation is raised only when the thread is done, however often it is repeated."""
    threads = ThreadPool(1, "test")
    handler, done = threading.Event(), []

    def work() -> None:
        handler.wait(20)
        done.append(True)

    call = asyncio.create_task(threads.run(work))
    for _ in range(3):
        await asyncio.sleep(0)
        call.cancel()
    await asyncio.sleep(0)
    assert not call.done()
    handler.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert done == [True]
    await threads.close()


@pytest.mark.anyio
async def test_close_finishes_submitted_calls() -> None:
    """``close`` waits for every call submitted before it, including those that are not awaited."""
    threads = ThreadPool(2, "test")
    done: list[int] = []
    for number in range(50):
        threads.submit(done.append, number)
    await threads.close()
    assert sorted(done) == list(range(50))


@pytest.mark.anyio
async def test_quick_calls_of_one_turn_share_a_thread() -> None:
    """They run in their order in one thread, and ``close`` finishes those that were not queued yet."""
    threads = ThreadPool(4, "test", quick=True)
    used = await asyncio.gather(*(threads.submit(threading.get_ident) for _ in range(20)))
    assert len(set(used)) == 1
    done: list[int] = []
    for number in range(20):
        threads.submit(done.append, number)
    await threads.close()
    assert done == list(range(20))


@pytest.mark.anyio
async def test_quick_call_that_hangs_delays_the_others_for_a_moment() -> None:
    """Other threads take the calls behind it, as many as the pool has."""
    threads = ThreadPool(3, "helping", quick=True)
    handler = threading.Event()
    hanging = [threads.submit(handler.wait, 20) for _ in range(2)]
    others = [threads.submit(divmod, 7, 2) for _ in range(20)]
    async with asyncio.timeout(10):
        assert await asyncio.gather(*others) == [(3, 1)] * 20
        later = await threads.submit(divmod, 9, 2)
    assert later == (4, 1)
    assert not any(call.done() for call in hanging)
    handler.set()
    assert await asyncio.gather(*hanging) == [True, True]
    await threads.close()


@pytest.mark.anyio
async def test_pool_works_again_after_close() -> None:
    """It starts new threads."""
    pool = ThreadPool(2, "test")
    for _ in range(2):
        assert [1, 2, 3] == await asyncio.gather(*(pool.run(abs, -each) for each in (1, 2, 3)))
        await pool.close()


def test_call_that_outlives_its_event_loop() -> None:
    """Its result is dropped, and its thread serves the next event loop."""
    threads = ThreadPool(1, "test")
    handler = threading.Event()
    done: list[str] = []

    async def submit() -> None:
        threads.submit(handler.wait, 20)
        threads.submit(done.append, "first loop")

    async def run() -> None:
        await threads.run(done.append, "second loop")
        await threads.close()

    asyncio.run(submit())
    handler.set()
    asyncio.run(run())
    assert done == ["first loop", "second loop"]


@pytest.mark.anyio
async def test_call_cancelled_before_it_begins_is_not_made() -> None:
    """A submitted call whose future is cancelled while it waits for a thread never runs; a running one continues."""
    threads = ThreadPool(1, "test")
    may_run, done = threading.Event(), list[str]()

    def running() -> None:
        may_run.wait(20)
        done.append("running")

    futures = [threads.submit(running), threads.submit(done.append, "waiting"), threads.submit(done.append, "last")]
    for future in futures[:2]:
        future.cancel()
    may_run.set()
    await futures[2]
    await threads.close()
    assert done == ["running", "last"]


@pytest.mark.anyio
async def test_stop_iteration_becomes_a_runtime_error() -> None:
    """A future accepts no ``StopIteration``, which a function may raise by mistake."""
    threads = ThreadPool(1, "test")
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(next, iter(()))
    await threads.close()
