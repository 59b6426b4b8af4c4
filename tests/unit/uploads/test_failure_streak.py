"""``FailureStreak``: refusals are quick and end nothing; a store that is down ends a pass."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from tests.support.fake_s3 import MADE_AT, FakeS3, FakeS3Store
from tests.support.harness import UploadsHarness
from tests.support.virtual_time import VIRTUAL_TIME
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.uploads.abandoned import remove_abandoned
from tusd_py.uploads.commit import update
from tusd_py.uploads.expire import sweep
from tusd_py.uploads.failure_streak import FailureStreak
from tusd_py.uploads.fsck import check
from tusd_py.uploads.leftovers import remove_leftovers

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


class SilentS3(FakeS3):
    """Requests for objects and multipart uploads are given up after two minutes; listings are answered."""

    is_silent = True

    async def call(self, operation: str, **arguments: Any) -> Any:
        if self.is_silent and "Key" in arguments:
            self.calls.append(operation)
            await asyncio.sleep(120)
            raise StoreUnavailable("S3 cannot be reached")
        return await super().call(operation, **arguments)


async def test_many_refusals_end_nothing() -> None:
    """They take no time."""
    streak = FailureStreak()
    for _ in range(10_000):
        streak.add("403")


async def test_success_begins_anew() -> None:
    """Only failures without a success between them count."""
    streak = FailureStreak()
    for _ in range(10):
        streak.add("no answer")
        await asyncio.sleep(200)
        streak.end()


@pytest.mark.parametrize("remover", [remove_abandoned, remove_leftovers])
async def test_pass_ends_when_the_store_is_down(remover: Any) -> None:
    """After minutes, and not after two minutes for each of a hundred objects."""
    s3 = SilentS3()
    s3.objects = {f"uploads/{number:032x}.{'0' * 16}": b"x" for number in range(100)}
    harness = UploadsHarness(store=FakeS3Store(s3))
    with pytest.raises(StoreUnavailable, match="nothing has succeeded for"):
        await remover(harness.ports, MADE_AT + timedelta(days=1))
    assert asyncio.get_running_loop().time() <= 600


async def test_sweep_ends_when_the_store_is_down() -> None:
    """The other uploads stay due, for the next pass."""
    s3 = SilentS3()
    s3.is_silent = False
    harness = UploadsHarness(store=FakeS3Store(s3))
    for _ in range(50):
        made = (await harness.create(5, b"he")).upload
        await update(harness.ports, made, made.expiring(MADE_AT))
    s3.is_silent = True
    harness.clock.now = MADE_AT + timedelta(days=1)
    await sweep(harness.ports)
    assert asyncio.get_running_loop().time() <= 600
    assert len(await harness.records.due(harness.clock(), 100)) >= 40


async def test_fsck_ends_when_the_store_is_down() -> None:
    """With a sentence, and what it has found before."""
    s3 = SilentS3()
    s3.is_silent = False
    harness = UploadsHarness(store=FakeS3Store(s3))
    for _ in range(200):
        await harness.create(5, b"hello")
    s3.is_silent = True
    problems = Counter[str]()
    with pytest.raises(StoreUnavailable, match="nothing has succeeded for"):
        async for finding in check(harness.ports, repair=False):
            problems[finding.problem] += 1
    assert problems.keys() == {"unreadable"}
    assert problems.total() < 100
