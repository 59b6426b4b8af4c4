"""The trial of what a service can do: what it leaves behind is found again, and it takes a bounded time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.support.fake_s3 import MADE_AT, FakeS3, FakeS3Store
from tests.support.harness import UploadsHarness
from tests.support.virtual_time import VIRTUAL_TIME
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.storage.s3.attributes import ObjectAttributes
from tusd_py.storage.s3.capabilities import PROBE_SECONDS_MAX, find_capabilities
from tusd_py.storage.s3.layout import PROBE_AGE, Keys
from tusd_py.uploads.abandoned import find_abandoned, remove_abandoned
from tusd_py.uploads.fsck import check
from tusd_py.uploads.leftovers import remove_leftovers

pytestmark = pytest.mark.anyio

KEYS = Keys("")
#: The requests of a whole trial.
OPERATIONS = [
    "put_object",
    "head_object",
    "create_multipart_upload",
    "upload_part_copy",
    "complete_multipart_upload",
    "abort_multipart_upload",
    "delete_object",
]
LATER = MADE_AT + PROBE_AGE + timedelta(seconds=1)
NONCE = "0123456789abcdef"
#: Of other programs in the same bucket, below the same prefix.
OTHERS = (
    "tails/x",
    "tails/probe",
    f"tails/probe{NONCE}",
    f"tails/probe{NONCE}/x",
    f"tails/probe{NONCE}/{0:020d}-{NONCE}x",
    f"tails/{NONCE}/{0:019d}-{NONCE}",
    "uploads/x/y",
    f"probe{NONCE}",
)


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


class Killed(BaseException):
    """The death of the process, for the code that it stops."""


class MortalS3(FakeS3):
    """Its process dies at the request ``number``, counted from 0: before it arrives, or after it is done."""

    def __init__(self, number: int, *, is_done: bool) -> None:
        super().__init__()
        self._number, self._is_done = number, is_done
        self._is_dead = False

    async def call(self, operation: str, **arguments: Any) -> Any:
        if self._is_dead or (len(self.calls) == self._number and not self._is_done):
            self._is_dead = True
            raise Killed
        answer = await super().call(operation, **arguments)
        if len(self.calls) > self._number:
            self._is_dead = True
            raise Killed
        return answer


class HangingS3(FakeS3):
    """It answers so many requests, and then nothing any more."""

    def __init__(self, answered: int) -> None:
        super().__init__()
        self._answered = answered

    async def call(self, operation: str, **arguments: Any) -> Any:
        answer = await super().call(operation, **arguments)
        if len(self.calls) > self._answered:
            await asyncio.Event().wait()
        return answer


async def left_by_kill(number: int, *, is_done: bool) -> FakeS3:
    """The bucket after a process was killed at this request of a trial."""
    mortal = MortalS3(number, is_done=is_done)
    with pytest.raises(Killed):
        await find_capabilities(mortal, KEYS, ObjectAttributes())
    left = FakeS3()
    left.objects, left.multiparts = mortal.objects, mortal.multiparts
    return left


def add_others(s3: FakeS3) -> None:
    for number, key in enumerate(OTHERS):
        s3.objects[key] = b"theirs"
        s3.multiparts[f"theirs{number}"] = (key, {})


def assert_only_others(s3: FakeS3) -> None:
    assert sorted(s3.objects) == sorted(OTHERS)
    assert sorted(key for key, _ in s3.multiparts.values()) == sorted(OTHERS)


async def test_trial_leaves_nothing() -> None:
    """It asks for each function that the server uses."""
    s3 = FakeS3()
    found = await find_capabilities(s3, KEYS, ObjectAttributes())
    assert s3.calls == OPERATIONS
    assert (found.copies_parts, found.is_exclusive) == (True, True)
    assert (s3.objects, s3.multiparts) == ({}, {})


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(len(OPERATIONS)), ids=OPERATIONS)
@pytest.mark.parametrize("remover", [remove_abandoned, remove_leftovers])
async def test_killed_trial_is_removed(number: int, is_done: bool, remover: Any) -> None:
    """Whatever it has left, by each of the two removers alone; nothing of other programs is touched."""
    s3 = await left_by_kill(number, is_done=is_done)
    add_others(s3)
    harness = UploadsHarness(store=FakeS3Store(s3))
    await remover(harness.ports, LATER)
    assert_only_others(s3)


@pytest.mark.parametrize("number", range(len(OPERATIONS)), ids=OPERATIONS)
async def test_killed_trial_is_found_by_fsck(number: int) -> None:
    """As orphaned, once, and it is gone after the repair."""
    s3 = await left_by_kill(number, is_done=True)
    has_left = bool(s3.objects or s3.multiparts)
    add_others(s3)
    harness = UploadsHarness(store=FakeS3Store(s3))
    harness.clock.now = LATER
    for repair in (False, True):
        found = [each async for each in check(harness.ports, repair=repair)]
        assert {(each.problem, each.is_repaired) for each in found} == ({("orphaned", repair)} if has_left else set())
        assert len({each.upload_id for each in found}) == has_left
    assert_only_others(s3)


async def test_running_trial_is_left_alone() -> None:
    """Another server may be at it just now: no lock protects it, so its objects have to be old."""
    s3 = await left_by_kill(OPERATIONS.index("upload_part_copy"), is_done=True)
    assert len(s3.objects) == len(s3.multiparts) == 1
    harness = UploadsHarness(store=FakeS3Store(s3))
    harness.clock.now = young = MADE_AT + PROBE_AGE - timedelta(seconds=1)
    assert (await remove_abandoned(harness.ports, young), await remove_leftovers(harness.ports, young)) == (0, 0)
    assert [each async for each in check(harness.ports, repair=True)] == []
    assert len(s3.objects) == len(s3.multiparts) == 1
    assert timedelta(seconds=PROBE_SECONDS_MAX) < PROBE_AGE / 2


async def test_janitor_lists_both_kinds() -> None:
    """The object and the multipart upload with its parts."""
    s3 = await left_by_kill(OPERATIONS.index("upload_part_copy"), is_done=True)
    harness = UploadsHarness(store=FakeS3Store(s3))
    store = harness.store
    assert isinstance(store, FakeS3Store)
    found = [each async for each in find_abandoned(harness.ports, store, LATER, removes=False)]
    assert sorted(each.stored.kind for each in found) == ["multipart upload", "tail"]


@pytest.mark.parametrize("answered", range(len(OPERATIONS)), ids=OPERATIONS)
async def test_hanging_service_ends_the_trial(answered: int) -> None:
    """With a sentence and within the bound, with the clean-up, whatever request is not answered any more."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(StoreUnavailable, match="within"):
        await find_capabilities(HangingS3(answered), KEYS, ObjectAttributes())
    assert loop.time() - start <= PROBE_SECONDS_MAX


@pytest.mark.parametrize("answered", range(len(OPERATIONS) - 2), ids=OPERATIONS[:-2])
async def test_cancelled_trial_ends_soon(answered: int) -> None:
    """A server that stops waits seconds at most for the clean-up at a service that hangs."""
    loop = asyncio.get_running_loop()
    trial = asyncio.ensure_future(find_capabilities(HangingS3(answered), KEYS, ObjectAttributes()))
    await asyncio.sleep(1)
    trial.cancel()
    start = loop.time()
    await asyncio.wait([trial])
    assert trial.cancelled()
    assert loop.time() - start <= 3


async def test_missing_permission_to_delete_is_named() -> None:
    """The failure of the clean-up is a result too, unless the trial has failed before."""
    s3 = FakeS3()
    s3.failures["delete_object"] = [StoreUnavailable("lacks the permission s3:DeleteObject")]
    with pytest.raises(StoreUnavailable, match="s3:DeleteObject"):
        await find_capabilities(s3, KEYS, ObjectAttributes())
    s3 = FakeS3()
    s3.failures["create_multipart_upload"] = [StoreUnavailable("the first failure")]
    s3.failures["delete_object"] = [StoreUnavailable("the second failure")]
    with pytest.raises(StoreUnavailable, match="the first failure"):
        await find_capabilities(s3, KEYS, ObjectAttributes())
