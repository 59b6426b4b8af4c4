"""The contract of lockers, as tests to inherit. A backend says how a locker is opened."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from tusd_py.contracts.locker import Lock, Locker, LockTimeout

LONG = 30.0  # seconds; never waited for


class LockerContract(ABC):
    """Inherit as ``class TestX(LockerContract)``. ``other`` opens a second locker on the same medium."""

    pytestmark = pytest.mark.anyio

    @abstractmethod
    def open(self, directory: Path) -> Locker: ...

    def other(self, locker: Locker, directory: Path) -> Locker:
        return locker

    async def test_waiter_whose_client_has_left_gives_up(self, tmp_path: Path) -> None:
        """A caller that waits for another process stops waiting when its client has left; then the next one has it."""
        locker = self.open(tmp_path)
        other = self.other(locker, tmp_path)
        if other is locker:
            await locker.close()
            return  # in one process waiters are served in their order
        lock = await other.acquire("an-upload", LONG)
        left: list[bool] = []
        waiting = asyncio.create_task(locker.acquire("an-upload", LONG, lambda: bool(left)))
        wanted = asyncio.Event()
        lock.on_release_requested(wanted.set)
        await asyncio.wait_for(wanted.wait(), LONG)
        left.append(True)
        with pytest.raises(LockTimeout):
            await asyncio.wait_for(waiting, LONG / 2)
        next_one = asyncio.create_task(locker.acquire("an-upload", LONG, lambda: False))
        await lock.release()
        await (await asyncio.wait_for(next_one, LONG)).release()
        await other.close()
        await locker.close()

    async def test_lock_is_exclusive(self, tmp_path: Path) -> None:
        """A locked upload cannot be locked again, another upload can; after the release it is free."""
        locker = self.open(tmp_path)
        other = self.other(locker, tmp_path)
        lock = await locker.acquire("an-upload", LONG)
        assert await other.try_acquire("an-upload") is None
        assert await locker.try_acquire("an-upload") is None
        elsewhere = await other.try_acquire("another")
        assert elsewhere is not None
        await lock.release()
        again = await other.try_acquire("an-upload")
        assert again is not None
        await again.release()
        await elsewhere.release()
        await other.close()
        await locker.close()

    async def test_probe_takes_no_lock(self, tmp_path: Path) -> None:
        """A probe succeeds whatever is locked, and leaves every lock as it is."""
        locker = self.open(tmp_path)
        await locker.probe()
        lock = await locker.acquire("an-upload", LONG)
        await locker.probe()
        assert await locker.try_acquire("an-upload") is None
        await lock.release()
        await locker.close()

    async def test_second_release_does_nothing(self, tmp_path: Path) -> None:
        """A second release changes nothing, even if another caller holds the lock by then."""
        locker = self.open(tmp_path)
        first = await locker.acquire("an-upload", LONG)
        await first.release()
        second = await locker.acquire("an-upload", LONG)
        await first.release()
        assert await locker.try_acquire("an-upload") is None
        await second.release()
        await locker.close()

    async def test_acquire_requests_release_and_wakes_waiter(self, tmp_path: Path) -> None:
        """``acquire`` calls each callback of the holder once, and returns when the holder has released."""
        locker = self.open(tmp_path)
        other = self.other(locker, tmp_path)
        calls: list[str] = []
        lock = await locker.acquire("an-upload", LONG)
        lock.on_release_requested(lambda: calls.append("first"))
        lock.on_release_requested(lambda: calls.append("second"))
        assert calls == []
        waiter = asyncio.create_task(other.acquire("an-upload", LONG))
        await eventually(lambda: calls == ["first", "second"])
        lock.on_release_requested(lambda: calls.append("late"))
        assert calls == ["first", "second", "late"]
        assert not waiter.done()
        await lock.release()
        await (await waiter).release()
        assert calls == ["first", "second", "late"]
        await other.close()
        await locker.close()

    async def test_try_acquire_requests_no_release(self, tmp_path: Path) -> None:
        """``try_acquire`` never calls the holder's callbacks."""
        locker = self.open(tmp_path)
        other = self.other(locker, tmp_path)
        calls: list[str] = []
        lock = await locker.acquire("an-upload", LONG)
        lock.on_release_requested(lambda: calls.append("tried"))
        for _ in range(20):
            assert await other.try_acquire("an-upload") is None
            await asyncio.sleep(0.002)
        assert calls == []
        await lock.release()
        await other.close()
        await locker.close()

    async def test_waiters_are_served_in_order(self, tmp_path: Path) -> None:
        """Waiters get the lock in the order they came, and each is asked at once to release it for the next one."""
        locker = self.open(tmp_path)
        first = await locker.acquire("an-upload", LONG)
        served: list[int] = []
        requested: list[int] = []

        async def acquire_and_release(number: int) -> None:
            lock = await locker.acquire("an-upload", LONG)
            lock.on_release_requested(lambda: requested.append(number))
            served.append(number)
            await asyncio.sleep(0)
            await lock.release()

        tasks = []
        for number in range(50):
            tasks.append(asyncio.create_task(acquire_and_release(number)))
            await asyncio.sleep(0)
        await first.release()
        await asyncio.gather(*tasks)
        assert served == list(range(50))
        assert requested == list(range(49))
        await locker.close()

    async def test_acquire_times_out(self, tmp_path: Path) -> None:
        """``acquire`` raises ``LockTimeout`` when its time is over, and leaves nothing behind."""
        locker = self.open(tmp_path)
        other = self.other(locker, tmp_path)
        lock = await locker.acquire("an-upload", LONG)
        loop = asyncio.get_running_loop()
        for timeout_seconds in (0, 0.05):
            start = loop.time()
            with pytest.raises(LockTimeout):
                await other.acquire("an-upload", timeout_seconds)
            assert timeout_seconds - 0.01 <= loop.time() - start < timeout_seconds + 5
        await lock.release()
        again = await other.acquire("an-upload", 0)
        assert await locker.try_acquire("an-upload") is None
        await again.release()
        await other.close()
        await locker.close()

    @pytest.mark.parametrize("turns", range(12))
    @pytest.mark.parametrize("is_held", [False, True])
    async def test_cancelled_acquire_holds_nothing(self, tmp_path: Path, turns: int, is_held: bool) -> None:
        """An ``acquire`` that is cancelled in any turn of the event loop leaves the lock to the next caller."""
        locker = self.open(tmp_path)
        other = self.other(locker, tmp_path)
        lock: Lock | None = await locker.acquire("an-upload", LONG) if is_held else None
        waiting = asyncio.create_task(other.acquire("an-upload", LONG))
        for turn in range(turns):
            await asyncio.sleep(0)
            if turn == 3 and lock is not None:
                await lock.release()
                lock = None
        waiting.cancel()
        outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
        if not isinstance(outcome, BaseException):
            await outcome.release()
        if lock is not None:
            await lock.release()
        for taker in (other, locker):
            free = await taker.acquire("an-upload", 5)
            await free.release()
        await other.close()
        await locker.close()

    async def test_thousand_locks_at_once(self, tmp_path: Path) -> None:
        """A thousand uploads are locked at once, each with one waiter, and no waiter waits for another upload."""
        locker = self.open(tmp_path)
        holds = [await locker.acquire(f"upload-{number}", LONG) for number in range(1000)]
        waiting = [asyncio.create_task(locker.acquire(f"upload-{number}", LONG)) for number in range(1000)]
        await asyncio.sleep(0)
        order = list(range(1000))
        random.Random(7).shuffle(order)
        for number in order:
            await holds[number].release()
            await (await waiting[number]).release()
        await locker.close()

    async def test_never_two_holders(self, tmp_path: Path) -> None:
        """With a hundred callers, cancellations and timeouts, at most one holds the lock at any time."""
        locker = self.open(tmp_path)
        lockers = [locker, self.other(locker, tmp_path)]
        chance = random.Random(11)
        holders = 0
        together: list[int] = []

        async def request(number: int) -> None:
            nonlocal holders
            await asyncio.sleep(chance.random() / 20)
            try:
                lock = await lockers[number % 2].acquire("an-upload", chance.choice([0.001, 0.02, LONG]))
            except LockTimeout:
                return
            holders += 1
            together.append(holders)
            wanted = asyncio.Event()
            lock.on_release_requested(wanted.set)
            try:
                async with asyncio.timeout(0.002):
                    await wanted.wait()
            except TimeoutError:
                pass
            finally:
                holders -= 1
                await lock.release()

        tasks = [asyncio.create_task(request(number)) for number in range(100)]
        for task in tasks[::7]:
            asyncio.get_running_loop().call_later(chance.random() / 10, task.cancel)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {type(None), asyncio.CancelledError}
        assert len(together) > 20
        assert set(together) == {1}
        for each in {id(each): each for each in lockers}.values():
            await each.close()

    async def test_close_ends_waiting(self, tmp_path: Path) -> None:
        """``close`` raises ``LockTimeout`` in waiters; a later release is no error."""
        locker = self.open(tmp_path)
        lock = await locker.acquire("an-upload", LONG)
        waiting = asyncio.create_task(locker.acquire("an-upload", LONG))
        await asyncio.sleep(0)
        await locker.close()
        with pytest.raises(LockTimeout):
            await waiting
        await lock.release()
