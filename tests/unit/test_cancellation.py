"""Work that is finished although the task that waits for it is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from tusd_py.cancellation import finish_despite_cancel, shielded, uninterrupted, wait_until_done


@pytest.mark.anyio
async def test_shielded_finishes_before_the_cancellation() -> None:
    """The work is done when the cancellation is raised, however often the task is cancelled."""
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


@pytest.mark.anyio
async def test_failure_of_finished_work_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The task that would handle it was cancelled, so it is not raised."""

    async def fail() -> None:
        raise RuntimeError("the disk is gone")

    with caplog.at_level("INFO"):
        await finish_despite_cancel(fail())
    assert "the disk is gone" in caplog.text


@pytest.mark.anyio
async def test_work_that_hangs_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time limit, so that a disk that hangs does not keep the server from ending."""
    monkeypatch.setattr("tusd_py.cancellation._TIMEOUT_SECONDS", 0.01)
    never = asyncio.ensure_future(asyncio.Event().wait())
    await finish_despite_cancel(never)
    await asyncio.wait([never])
    assert never.cancelled()


@pytest.mark.anyio
async def test_wait_until_done_of_a_finished_future() -> None:
    """It returns at once."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    await wait_until_done(future)


@pytest.mark.anyio
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


@pytest.mark.anyio
async def test_uninterrupted_returns_the_result() -> None:
    """Without a cancellation it is the same as awaiting the future."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(1)
    assert await uninterrupted(future) == 1
