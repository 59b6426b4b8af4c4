"""The lease locker: what it does when its medium fails, forgets, or gives a lease to another process."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.failing import Faults
from tests.support.leases import FakeLeases, Medium
from tests.support.virtual_time import VIRTUAL_TIME
from tusd_py.contracts.locker import LocksUnavailable, LockTimeout
from tusd_py.locking.lease import LeaseLocker

pytestmark = pytest.mark.anyio

LEASE_SECONDS = 15.0


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


def a_locker(medium: Medium) -> LeaseLocker:
    return LeaseLocker(FakeLeases(medium), lease_seconds=LEASE_SECONDS)


async def test_held_lease_is_renewed() -> None:
    """A lock is held until its holder releases it, and no other request gets it meanwhile."""
    medium = Medium()
    locker, other = a_locker(medium), a_locker(medium)
    lock = await locker.acquire("a", 1)
    for _ in range(40):
        await asyncio.sleep(LEASE_SECONDS / 4)
        assert await other.try_acquire("a") is None
    await lock.release()
    assert await other.try_acquire("a") is not None
    await locker.close()
    await other.close()


async def test_unreachable_medium_ends_a_lock_before_its_lease() -> None:
    """While the medium is down a holder goes on, and is asked to stop before another process could take the lease."""
    medium = Medium()
    locker, other = a_locker(medium), a_locker(medium)
    lock = await locker.acquire("a", 1)
    asked: list[float] = []
    loop = asyncio.get_running_loop()
    lock.on_release_requested(lambda: asked.append(loop.time()))
    medium.is_down = True
    began = loop.time()
    await asyncio.sleep(LEASE_SECONDS / 3 - 1)
    assert not asked
    await asyncio.sleep(LEASE_SECONDS)
    assert asked
    assert asked[0] < began + LEASE_SECONDS - 1
    assert lock.is_lost
    with pytest.raises(LocksUnavailable):
        await other.acquire("a", 1)
    medium.is_down = False
    taken = await other.acquire("a", 60)
    assert taken.was_abandoned
    await lock.release()
    assert await locker.try_acquire("a") is None, "a lost lock releases nothing"
    await taken.release()
    await locker.close()
    await other.close()


async def test_short_outage_ends_no_lock() -> None:
    """A medium that is down for less than the time between two renewals ends no lock."""
    medium = Medium()
    locker = a_locker(medium)
    lock = await locker.acquire("a", 1)
    asked: list[int] = []
    lock.on_release_requested(lambda: asked.append(1))
    medium.is_down = True
    await asyncio.sleep(LEASE_SECONDS / 3 - 1)
    medium.is_down = False
    await asyncio.sleep(LEASE_SECONDS * 3)
    assert not asked
    await lock.release()
    await locker.close()


@pytest.mark.parametrize("delay_seconds", [4.0, 6.0, 1000.0])
async def test_renewal_that_is_not_answered_ends_no_lock(delay_seconds: float) -> None:
    """There is time for another attempt before the lease ends."""
    medium = Medium(renewal_delays_seconds=[0.0, delay_seconds])
    locker = a_locker(medium)
    lock = await locker.acquire("a", 1)
    await asyncio.sleep(4 * LEASE_SECONDS)
    assert not medium.renewal_delays_seconds, "it was slow"
    assert not lock.has_ended
    await lock.release()
    await locker.close()


async def test_slow_renewal_of_many_leases_ends_none_of_their_locks() -> None:
    """Each answer counts when it comes: together they take longer than the time between two renewals."""
    medium = Medium(renewal_delays_seconds=[2.0] * 12)
    locker = a_locker(medium)
    locks = [await locker.acquire(f"{number}", 1) for number in range(1800)]
    await asyncio.sleep(4 * LEASE_SECONDS)
    assert not medium.renewal_delays_seconds, "they were slow"
    assert not any(lock.has_ended for lock in locks)
    await asyncio.gather(*(lock.release() for lock in locks))
    await locker.close()


async def test_lock_that_is_released_during_its_renewal_leaves_no_lease() -> None:
    """The medium may renew a lease after it has released it; then it is released again."""
    medium = Medium()
    locker, other = a_locker(medium), a_locker(medium)
    lock = await locker.acquire("a", 1)
    held = medium.leases["a"]
    medium.renewal_delays_seconds = [1.0]
    await asyncio.sleep(LEASE_SECONDS / 3 + 0.5)
    assert not medium.renewal_delays_seconds, "the renewal is under way"
    await lock.release()
    medium.leases["a"] = held[0], asyncio.get_running_loop().time() + LEASE_SECONDS  # as a renewal that was overtaken
    await asyncio.sleep(1)
    assert await other.try_acquire("a") is not None
    await locker.close()
    await other.close()


async def test_forgotten_lease_is_taken_again() -> None:
    """After the medium has lost everything, the holder has its lease again at the next renewal."""
    medium = Medium()
    locker, other = a_locker(medium), a_locker(medium)
    lock = await locker.acquire("a", 1)
    medium.leases.clear()
    await asyncio.sleep(LEASE_SECONDS / 3 + 1)
    assert await other.try_acquire("a") is None
    await lock.release()
    await locker.close()
    await other.close()


async def test_lease_of_another_process_asks_the_holder_to_stop() -> None:
    """If another process has taken a forgotten lease, the first holder learns of it at its next renewal."""
    medium = Medium()
    locker, other = a_locker(medium), a_locker(medium)
    lock = await locker.acquire("a", 1)
    asked: list[int] = []
    lock.on_release_requested(lambda: asked.append(1))
    medium.leases.clear()
    taken = await other.acquire("a", 1)
    assert not asked
    await asyncio.sleep(LEASE_SECONDS / 3 + 1)
    assert asked == [1]
    assert not lock.is_lost, "another caller is known to have it"
    await lock.release()
    assert await locker.try_acquire("a") is None, "the first holder has not released the lease of the second"
    await taken.release()
    await locker.close()
    await other.close()


async def test_lease_of_a_dead_process_is_taken_when_it_ends() -> None:
    """The lock of a process that has died is free after its lease, and is marked as abandoned; others are not."""
    medium = Medium()
    dead, other = a_locker(medium), a_locker(medium)
    await dead.acquire("a", 1)
    assert dead._renewing is not None
    dead._renewing.cancel()
    loop = asyncio.get_running_loop()
    began = loop.time()
    lock = await other.acquire("a", 60)
    assert LEASE_SECONDS - 1 < loop.time() - began < LEASE_SECONDS + 1
    assert lock.was_abandoned
    await lock.release()
    again = await other.acquire("a", 1)
    assert not again.was_abandoned
    await again.release()
    await other.close()


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("nth", range(1, 12))
async def test_medium_fails_at_the_nth_call(nth: int, after: bool, lasting: bool) -> None:
    """Whichever call fails, before or after its effect, a second or ten: two callers that retry both get the lock."""
    medium = Medium(faults=Faults(nth=nth, lasting=lasting), fails_after=after)
    lockers = [a_locker(medium), a_locker(medium)]
    holders = 0

    async def hold(locker: LeaseLocker) -> None:
        nonlocal holders
        while True:
            try:
                lock = await locker.acquire("a", 60)
            except LocksUnavailable:
                await asyncio.sleep(0.5)
                continue
            break
        assert not lock.has_ended
        holders += 1
        assert holders == 1
        wanted = asyncio.Event()
        lock.on_release_requested(wanted.set)
        try:
            async with asyncio.timeout(7):
                await wanted.wait()
        except TimeoutError:
            pass
        holders -= 1
        await lock.release()

    async def mend() -> None:
        await asyncio.sleep(10)
        medium.faults.nth = 0

    async with asyncio.timeout(120):
        await asyncio.gather(*(hold(locker) for locker in lockers), mend())
        await asyncio.sleep(2 * LEASE_SECONDS)
    free = await lockers[0].acquire("a", 1)
    await free.release()
    for locker in lockers:
        await locker.close()
    assert not medium.leases


async def test_waiter_whose_client_has_left_interrupts_nobody() -> None:
    """A request waits for a dead server's lease; its client leaves and begins another request, which goes on."""
    medium = Medium()
    dead, locker, other = a_locker(medium), a_locker(medium), a_locker(medium)
    await dead.acquire("a", 1)
    assert dead._renewing is not None
    dead._renewing.cancel()
    left: list[bool] = []
    waiting = asyncio.create_task(locker.acquire("a", 60, lambda: bool(left)))
    await asyncio.sleep(1)
    left.append(True)
    lock = await other.acquire("a", 60)
    asked: list[int] = []
    lock.on_release_requested(lambda: asked.append(1))
    with pytest.raises(LockTimeout):
        await waiting
    await asyncio.sleep(1)
    assert not asked
    await lock.release()
    await other.close()
    await locker.close()
