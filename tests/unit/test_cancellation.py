"""Work that completes although the task that awaits it is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from tusd_py.cancellation import finish_despite_cancel, shielded, uninterrupted, wait_until_done

pytestmark = pytest.mark.anyio


async def test_shielded_completes_before_cancellation() -> None:
    """Work under ``shielded`` has completed when the cancellation is raised, however often it is requested."""
    go, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    task = asyncio.ensure_future(shielded(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_finish_despite_cancel_logs_failure(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the work is logged and not raised."""

    async def fail() -> None:
        raise RuntimeError("the disk is gone")

    with caplog.at_level("INFO"):
        await finish_despite_cancel(fail())
    assert "the disk is gone" in caplog.text


async def test_finish_despite_cancel_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that hangs is cancelled after a timeout."""
    monkeypatch.setattr("tusd_py.cancellation._TIMEOUT_SECONDS", 0.01)
    never = asyncio.ensure_future(asyncio.Event().wait())
    await finish_despite_cancel(never)
    assert never.cancelled(), "the event loop may end now"


async def test_wait_until_done_of_a_finished_future() -> None:
    """It returns at once."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    await wait_until_done(future)


async def test_uninterrupted_waits_for_the_future() -> None:
    """However often the task is cancelled, the cancellation is raised only when the future is done."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(uninterrupted(future))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    future.set_result(1)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_uninterrupted_returns_the_result() -> None:
    """Without a cancellation it is the same as awaiting the future."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(1)
    assert await uninterrupted(future) == 1
