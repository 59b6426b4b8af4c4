"""Background work: in order per key, at most once more with ``spawn_once``, bounded by ``drain``."""

from __future__ import annotations

import asyncio

import pytest

from tusd_py.uploads.background import Background

pytestmark = pytest.mark.anyio


async def test_spawn_same_key_in_order() -> None:
    """Work with the same key runs in order, also after a failure; work with other keys runs beside it."""
    background, done = Background(), list[str]()
    first = asyncio.Event()

    async def work(name: str, wait: asyncio.Event | None = None) -> None:
        if wait is not None:
            await wait.wait()
        done.append(name)

    async def fail() -> None:
        raise RuntimeError("as this test wants it")

    background.spawn("a", work("a1", first))
    background.spawn("a", fail())
    background.spawn("a", work("a2"))
    background.spawn("b", work("b1"))
    await background.after("b")
    assert done == ["b1"]
    assert "a" in background
    first.set()
    await background.after("a")
    assert done == ["b1", "a1", "a2"]
    await background.drain(1)
    assert "a" not in background
    await background.after("a")


async def test_spawn_failure_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of background work is logged with its key."""
    background = Background()

    async def fail() -> None:
        raise RuntimeError("as this test wants it")

    background.spawn("u1", fail())
    await background.drain(1)
    assert "background work failed: u1" in caplog.text
    assert "as this test wants it" in caplog.text


async def test_spawn_once_while_running() -> None:
    """However often it is called during a run, the work runs exactly once more."""
    background, go, runs = Background(), asyncio.Event(), list[int]()

    async def work() -> None:
        runs.append(len(runs))
        await go.wait()

    for _ in range(5):
        background.spawn_once("key", work)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert runs == [0]
    go.set()
    await background.drain(1)
    assert runs == [0, 1]
    background.spawn_once("key", work)
    await background.drain(1)
    assert runs == [0, 1, 2]


async def test_drain_waits_for_spawned_work() -> None:
    """Work that running work spawns is awaited too."""
    background, done = Background(), list[int]()

    async def work(depth: int) -> None:
        await asyncio.sleep(0)
        done.append(depth)
        if depth < 3:
            background.spawn(f"key{depth}", work(depth + 1))

    background.spawn("key", work(0))
    await background.drain(5)
    assert done == [0, 1, 2, 3]


async def test_drain_cancels_after_timeout() -> None:
    """Running, waiting and queued work is cancelled after the timeout."""
    background = Background()
    cancelled = list[str]()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("hang")
            raise

    background.spawn("key", hang())
    background.spawn("key", hang())
    await asyncio.sleep(0)
    background.spawn("other", hang())
    await asyncio.wait_for(background.drain(0), 5)
    assert "hang" in cancelled
    assert "key" not in background
    assert "other" not in background


async def test_drain_waits_for_work_in_callbacks() -> None:
    """Work that no task represents is waited for until it notes its end, and no longer than anything else."""
    background = Background()
    background.begin()
    asyncio.get_running_loop().call_later(0.02, background.end)
    started = asyncio.get_running_loop().time()
    await background.drain(10)
    assert 0.02 <= asyncio.get_running_loop().time() - started + 0.002 < 5
    background.begin()
    await background.drain(0.01)
