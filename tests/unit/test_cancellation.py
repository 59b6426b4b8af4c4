"""Work that is completed although its request is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from tusd_py.cancellation import finish_despite_cancel, shielded

pytestmark = pytest.mark.anyio


async def test_cancelling_waits_for_what_must_be_finished() -> None:
    """Work under ``shielded`` is done when the cancellation is raised, however often it is asked for."""
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


async def test_a_failure_of_what_is_finished_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for it any more, so it is not raised."""

    async def fail() -> None:
        raise RuntimeError("the disk is gone")

    with caplog.at_level("INFO"):
        await finish_despite_cancel(fail())
    assert "the disk is gone" in caplog.text


async def test_what_cannot_be_finished_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs keeps nothing from ending for ever."""
    monkeypatch.setattr("tusd_py.cancellation._SECONDS", 0.01)
    never = asyncio.ensure_future(asyncio.Event().wait())
    await finish_despite_cancel(never)
    await asyncio.wait([never])
    assert never.cancelled()
