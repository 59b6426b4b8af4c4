"""The limits on creations and on failed logins: bursts, the wait that a client is told, and what counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.harness import CALLER, NO_RATES, UploadsHarness
from tusd_py.access.local_counter import LocalCounter
from tusd_py.access.rates import CreationRate, LazyCounter, LoginRate
from tusd_py.contracts.rate_counter import RateCounter
from tusd_py.model.rates import Rate
from tusd_py.model.upload import Kind
from tusd_py.protocol.access_errors import TooManyCreations, TooManyLogins

pytestmark = pytest.mark.anyio

ADDRESS = "192.0.2.7"


async def refused(rate: CreationRate, owner: str, address: str = ADDRESS) -> bool:
    try:
        await rate.ensure_allowed(owner, address)
    except TooManyCreations:
        return True
    return False


async def test_burst_then_429() -> None:
    """As many at once as a minute allows, no more; others are not affected; the refusal says how long to wait."""
    rate = CreationRate(counter=LocalCounter(), per_minute=5)
    for _ in range(5):
        await rate.ensure_allowed("alice", ADDRESS)
    with pytest.raises(TooManyCreations) as reached:
        await rate.ensure_allowed("alice", ADDRESS)
    assert reached.value.status == 429
    assert 50 <= (reached.value.retry_after_seconds or 0) <= 61
    assert not await refused(rate, "bob")
    assert not await refused(rate, "")


async def test_address_is_limited_with_all_its_owners() -> None:
    """Owners of one address share its limit. Clients whose address is unknown do not share one."""
    rate = CreationRate(counter=LocalCounter(), per_minute=3, per_address=4)
    assert [await refused(rate, owner) for owner in ("alice", "bob", "", "carol", "dave")] == [False] * 4 + [True]
    assert not await refused(rate, "dave", "198.51.100.1")
    assert [await refused(rate, "", "") for _ in range(9)] == [False] * 9


async def test_refused_creations_do_not_count() -> None:
    """A client that keeps asking while its address is limited has its own limit untouched."""
    rate = CreationRate(counter=LocalCounter(), per_minute=2, per_address=1)
    await rate.ensure_allowed("alice", ADDRESS)
    assert [await refused(rate, "bob") for _ in range(5)] == [True] * 5
    assert [await refused(rate, "bob", address) for address in ("198.51.100.1", "198.51.100.2")] == [False] * 2
    assert await refused(rate, "bob", "198.51.100.3")
    assert not await refused(rate, "carol", "198.51.100.3")


async def test_parts_are_not_counted() -> None:
    """A parallel upload counts once, by its final upload."""
    harness = UploadsHarness()
    creations = CreationRate(counter=LocalCounter(), per_minute=1)
    harness.ports = replace(harness.ports, rates=replace(NO_RATES, creations=creations))
    harness.caller = replace(CALLER, owner="alice")
    parts = [(await harness.create(1, b"x", kind=Kind.PARTIAL)).upload.id for _ in range(3)]
    await harness.create(None, kind=Kind.FINAL, parts=parts)
    with pytest.raises(TooManyCreations):
        await harness.create(1)
    assert await harness.create(1, kind=Kind.PARTIAL)


async def fail_login(rate: LoginRate, account: str, address: str = ADDRESS) -> bool:
    """Whether an attempt with a wrong password was refused before its password was looked at."""
    try:
        await rate.ensure_allowed(account, address)
    except TooManyLogins as reached:
        assert 1 <= (reached.retry_after_seconds or 0) <= 60
        return True
    await rate.failed(address)
    return False


async def test_failed_logins_429() -> None:
    """Per account and address: the owner of the account is not locked out elsewhere. A success forgets failures."""
    rate = LoginRate(counter=LocalCounter(), per_minute=3)
    assert [await fail_login(rate, "alice") for _ in range(4)] == [False] * 3 + [True]
    assert not await fail_login(rate, "alice", "198.51.100.1")
    assert not await fail_login(rate, "bob")
    await rate.succeeded("bob", ADDRESS)
    assert [await fail_login(rate, "bob") for _ in range(4)] == [False] * 3 + [True]
    assert not await fail_login(rate, "\ud800" * 100_000)


async def test_guesses_at_many_accounts_429() -> None:
    """One address may fail only so often in all; successful logins from it do not count."""
    rate = LoginRate(counter=LocalCounter(), per_minute=3, per_address=5)
    for number in range(50):
        await rate.ensure_allowed(f"user{number}", ADDRESS)
        await rate.succeeded(f"user{number}", ADDRESS)
    assert [await fail_login(rate, f"name{number}") for number in range(6)] == [False] * 5 + [True]
    assert not await fail_login(rate, "alice", "198.51.100.1")
    off = LoginRate(counter=LocalCounter())
    assert [await fail_login(off, "alice") for _ in range(99)] == [False] * 99


async def test_counter_is_made_at_its_first_use() -> None:
    """A server that counts nothing makes no counter; one that counts makes one."""
    made: list[RateCounter] = []

    def make() -> RateCounter:
        made.append(LocalCounter())
        return made[-1]

    counter = LazyCounter(make)
    await counter.close()
    assert not made
    assert await counter.hit(Rate(1), "a") == 0
    assert await counter.wait_seconds(Rate(1), "a") > 0
    await counter.forget(Rate(1), "a")
    assert await counter.hit(Rate(1), "a") == 0
    await counter.close()
    assert len(made) == 1
