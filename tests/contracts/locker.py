"""What every locker must do. A backend inherits ``LockerContract`` and says how one is opened."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from tests.support.loops import eventually, on_loop
from tusd_py.contracts.locker import Lock, Locker, LockTimeout

LONG = 30.0  # seconds; never waited for


class LockerContract(ABC):
    """The facts, told of two lockers: ``other`` is one beside the first, the same where a medium has but one."""

    @abstractmethod
    def open(self, directory: Path) -> Locker: ...

    def other(self, locker: Locker, directory: Path) -> Locker:
        return locker

    @on_loop
    async def test_one_holds_an_upload(self, tmp_path: Path) -> None:
        """While one holds an upload another does not get it, and another upload is free; released, it is free again."""
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

    @on_loop
    async def test_releasing_twice_harms_nobody(self, tmp_path: Path) -> None:
        """A second release changes nothing, not even when somebody else holds the upload by then."""
        locker = self.open(tmp_path)
        first = await locker.acquire("an-upload", LONG)
        await first.release()
        second = await locker.acquire("an-upload", LONG)
        await first.release()
        assert await locker.try_acquire("an-upload") is None
        await second.release()
        await locker.close()

    @on_loop
    async def test_the_holder_is_asked_and_the_newcomer_woken(self, tmp_path: Path) -> None:
        """Who acquires has the holder told, once each, and gets the upload as soon as the holder lets go."""
        locker = self.open(tmp_path)
        other = self.other(locker, tmp_path)
        told: list[str] = []
        lock = await locker.acquire("an-upload", LONG)
        lock.on_release_requested(lambda: told.append("first"))
        lock.on_release_requested(lambda: told.append("second"))
        assert told == []
        newcomer = asyncio.create_task(other.acquire("an-upload", LONG))
        await eventually(lambda: told == ["first", "second"])
        lock.on_release_requested(lambda: told.append("late"))
        assert told == ["first", "second", "late"]
        assert not newcomer.done()
        await lock.release()
        await (await newcomer).release()
        assert told == ["first", "second", "late"]
        await other.close()
        await locker.close()

    @on_loop
    async def test_trying_disturbs_nobody(self, tmp_path: Path) -> None:
        """try_acquire never has the holder told."""
        locker = self.open(tmp_path)
        other = self.other(locker, tmp_path)
        told: list[str] = []
        lock = await locker.acquire("an-upload", LONG)
        lock.on_release_requested(lambda: told.append("tried"))
        for _ in range(20):
            assert await other.try_acquire("an-upload") is None
            await asyncio.sleep(0.002)
        assert told == []
        await lock.release()
        await other.close()
        await locker.close()

    @on_loop
    async def test_served_in_the_order_they_came(self, tmp_path: Path) -> None:
        """Those who wait get the upload one after another, first come first, and each is told of the next at once."""
        locker = self.open(tmp_path)
        first = await locker.acquire("an-upload", LONG)
        served: list[int] = []
        told: list[int] = []

        async def newcomer(number: int) -> None:
            lock = await locker.acquire("an-upload", LONG)
            lock.on_release_requested(lambda: told.append(number))
            served.append(number)
            await asyncio.sleep(0)
            await lock.release()

        tasks = []
        for number in range(50):
            tasks.append(asyncio.create_task(newcomer(number)))
            await asyncio.sleep(0)
        await first.release()
        await asyncio.gather(*tasks)
        assert served == list(range(50))
        assert told == list(range(49))
        await locker.close()

    @on_loop
    async def test_waiting_ends_in_time(self, tmp_path: Path) -> None:
        """A wait that takes too long raises LockTimeout at about its time, and leaves nothing behind."""
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
    @on_loop
    async def test_cancelled_it_holds_nothing(self, tmp_path: Path, turns: int, is_held: bool) -> None:
        """Whoever is cancelled while waiting, even in the instant of its turn, leaves the upload to the next."""
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

    @on_loop
    async def test_a_thousand_uploads(self, tmp_path: Path) -> None:
        """A thousand uploads are held at once, each with somebody waiting, and nobody waits for another upload."""
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

    @on_loop
    async def test_never_two_at_once(self, tmp_path: Path) -> None:
        """However many come and go, with cancellations and timeouts, at most one holds the upload at any time."""
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

    @on_loop
    async def test_closing_ends_the_waiting(self, tmp_path: Path) -> None:
        """Who waits in a locker that closes is told so by LockTimeout; a release after it is no error."""
        locker = self.open(tmp_path)
        lock = await locker.acquire("an-upload", LONG)
        waiting = asyncio.create_task(locker.acquire("an-upload", LONG))
        await asyncio.sleep(0)
        await locker.close()
        with pytest.raises(LockTimeout):
            await waiting
        await lock.release()
