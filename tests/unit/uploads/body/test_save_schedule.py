"""``SaveSchedule``: what a crash makes a client repeat is bounded by time and by bytes; little costs few saves."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Message

from tests.support.harness import UploadsHarness
from tests.support.virtual_time import VIRTUAL_TIME
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Upload
from tusd_py.protocol.errors import UploadInterrupted
from tusd_py.records.memory import MemoryRecords
from tusd_py.uploads.body.save_schedule import GATHERED_BYTES, SaveSchedule
from tusd_py.uploads.policy import UploadPolicy
from tusd_py.web.request_body import AsgiBody

POLICY = UploadPolicy(
    save_interval_seconds=1, save_interval_bytes=1_000_000, save_small_bytes=65_536, save_small_seconds=10
)


@pytest.mark.parametrize(
    ("unsaved", "wait_seconds"),
    [
        (0, None),
        (1, 10),
        (65_535, 10),
        (65_536, 1),
        (999_999, 1),
        (1_000_000, 0),
    ],
)
def test_wait_depends_on_unsaved_bytes(unsaved: int, wait_seconds: float | None) -> None:
    """No save within 10 s for less than 64 KiB, within 1 s for more, at once for many bytes."""
    schedule = SaveSchedule(POLICY, 100.0, reports_progress=False)
    assert schedule.wait_seconds(unsaved, 100.0) == wait_seconds


def test_wait_counts_from_the_last_save() -> None:
    """Not from the first unsaved byte: what arrives after a pause is saved at once."""
    schedule = SaveSchedule(POLICY, 100.0, reports_progress=False)
    assert schedule.wait_seconds(1, 104.0) == 6
    assert schedule.wait_seconds(1, 111.0) == 0
    schedule.saved(111.0)
    assert schedule.wait_seconds(1, 111.0) == 10
    assert schedule.wait_seconds(65_536, 111.5) == 0.5
    assert schedule.wait_seconds(65_536, 113.0) == 0


def test_reported_progress_keeps_the_interval() -> None:
    """Saves emit post-receive: an operator who subscribes to it gets it as often as before."""
    assert SaveSchedule(POLICY, 100.0, reports_progress=True).wait_seconds(1, 100.0) == 1


def test_small_interval_is_never_the_shorter_one() -> None:
    """With a long usual interval, little is not saved more often than much."""
    policy = UploadPolicy(save_interval_seconds=60, save_small_seconds=10)
    assert SaveSchedule(policy, 0.0, reports_progress=False).wait_seconds(1, 0.0) == 60


def test_gathered_bytes_pass_no_bound() -> None:
    """The body is looked at again before the unsaved bytes reach a bound that makes a save due earlier."""
    schedule = SaveSchedule(POLICY, 0.0, reports_progress=False)
    assert schedule.bytes_min(0) == 1
    assert schedule.bytes_min(1) == GATHERED_BYTES
    assert schedule.bytes_min(65_000) == 536
    assert schedule.bytes_min(65_536) == GATHERED_BYTES
    assert schedule.bytes_min(999_999) == 1
    assert schedule.bytes_min(2_000_000) == 1


# Bodies that arrive slowly, on virtual time


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


class TimedRecords(MemoryRecords):
    """Notes when which offset was saved."""

    def __init__(self) -> None:
        super().__init__()
        self.saves: list[tuple[float, int]] = []

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        self.saves.append((round(asyncio.get_running_loop().time(), 3), after.offset))
        return await super().update(before, after, effects)


@asynccontextmanager
async def arriving(
    bytes_a_second: int, functions: dict[Hook, object] | None = None
) -> AsyncIterator[tuple[AsgiBody, TimedRecords, asyncio.Task[object]]]:
    """A body that brings a piece every second, its records, and the request that receives it."""

    async def receive() -> Message:
        await asyncio.sleep(1)
        return {"type": "http.request", "body": bytes(bytes_a_second), "more_body": True}

    records = TimedRecords()
    harness = UploadsHarness(records=records, policy=POLICY, functions=functions or {})  # type: ignore[arg-type]
    upload_id = (await harness.create(100_000_000)).upload.id
    body = AsgiBody(receive, 0)
    appending: asyncio.Task[object] = asyncio.ensure_future(harness.append(upload_id, 0, body=body))  # type: ignore[arg-type]
    try:
        yield body, records, appending
    finally:
        body.stop(UploadInterrupted())
        with pytest.raises(UploadInterrupted):
            await appending
        await harness.drain()


@pytest.mark.anyio
async def test_little_is_saved_every_ten_seconds() -> None:
    """100 bytes a second cost a save every ten seconds."""
    async with arriving(100) as (_, records, _):
        await asyncio.sleep(40.5)
        assert [at for at, _ in records.saves] == [11, 21, 31]
        # Whether the piece that arrives at the same moment is in it, is not fixed.
        assert all(offset in (100 * (at - 1), 100 * at) for at, offset in records.saves)


@pytest.mark.anyio
async def test_much_is_saved_every_second() -> None:
    """At 64 KiB a second a crash costs what a second brings; at 20 KiB a second at most 64 KiB and a second."""
    async with arriving(65_536) as (_, records, _):
        await asyncio.sleep(5.5)
        assert len(records.saves) >= 4
    async with arriving(20 * 1024) as (_, records, _):
        await asyncio.sleep(20.5)
        saved = [0, *(offset for _, offset in records.saves)]
        assert max(after - before for before, after in itertools.pairwise(saved)) <= 5 * 20 * 1024


@pytest.mark.anyio
async def test_takeover_saves_what_arrived_first() -> None:
    """However little it is, and however long ago the last save."""
    async with arriving(100) as (body, records, appending):
        await asyncio.sleep(5.5)
        body.stop(UploadInterrupted())
        await asyncio.wait([appending])
        assert records.saves == [(5.51, 500)]


@pytest.mark.anyio
async def test_post_receive_hook_keeps_saves_frequent() -> None:
    """The hook is invoked after saves, and may stop the upload."""
    async with arriving(100, {Hook.POST_RECEIVE: lambda _: None}) as (_, records, _):
        await asyncio.sleep(10.5)
        assert len(records.saves) >= 4
