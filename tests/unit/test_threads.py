"""The pool of threads for calls that block."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.support.loops import eventually, on_loop
from tusd_py.cancellation import wait_until_done
from tusd_py.threads import ThreadPool


@on_loop
async def test_runs_and_tells_what_came_of_it() -> None:
    """Results and errors come back to who asked; the event loop's own thread does none of it."""
    threads = ThreadPool(2, "test")
    assert await threads.run(threading.get_ident) != threading.get_ident()
    assert await threads.submit(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 7, 0)
    await threads.close()


@on_loop
async def test_never_more_threads_than_allowed() -> None:
    """ThreadPool are started as they are needed, never more than the limit; the rest waits for its turn."""
    threads = ThreadPool(3, "bounded")
    handler = threading.Event()
    calls = [asyncio.create_task(threads.run(handler.wait, 20)) for _ in range(10)]
    await asyncio.sleep(0)
    assert sum(thread.name.startswith("bounded") for thread in threading.enumerate()) == 3
    handler.set()
    assert await asyncio.gather(*calls) == [True] * 10
    await threads.close()
    await eventually(lambda: not any(thread.name.startswith("bounded") for thread in threading.enumerate()))


@on_loop
async def test_cancelled_it_waits_for_the_thread() -> None:
    """A cancelled call raises that only once its thread is done, however often it is cancelled."""
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


@on_loop
async def test_close_finishes_what_was_submitted() -> None:
    """Closing waits for everything submitted before it, also for what nobody awaits."""
    threads = ThreadPool(2, "test")
    done: list[int] = []
    for number in range(50):
        threads.submit(done.append, number)
    await threads.close()
    assert sorted(done) == list(range(50))


@on_loop
async def test_waiting_out_a_future_that_is_done() -> None:
    """A future that is done is not waited for."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    await wait_until_done(future)


def test_loop_that_ended_harms_no_other() -> None:
    """A call that outlives its event loop is told to nobody, and its thread serves the next loop."""
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
