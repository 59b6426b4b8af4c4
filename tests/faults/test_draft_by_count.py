"""The same for the draft, whose requests say which one is the last and whose clients learn the URL early."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from pathlib import Path

import pytest

from tests.faults.failing import FailingLocker, FailingRecords, FailingStore, Faults
from tests.support.harness import FakeBody, RecordingListener, UploadsHarness, cut
from tusd_py.contracts.locker import LockTimeout
from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreError
from tusd_py.protocol.errors import TusError
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.migrate import migrate
from tusd_py.storage.disk.store import DiskStore
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio

_CONTENT = bytes(range(256)) * 40
_RUNS_MAX = 100
_EXPECTED = (TusError, StoreError, RecordsError, LockTimeout)


def _pieces(content: bytes) -> Sequence[bytes]:
    return [content[start : start + 3000] for start in range(0, len(content), 3000)]


async def _attempt(step: Awaitable[object]) -> None:
    try:
        await step
    except _EXPECTED:
        return


async def _check(sound: UploadsHarness, upload_id: str) -> int:
    """The recorded offset; all bytes up to it are stored and are those that were sent."""
    upload = await sound.record(upload_id)
    assert upload is not None, "a client that knows the URL finds the upload"
    assert not upload.has_ended
    assert _CONTENT[: upload.offset] == await sound.content(upload_id)
    assert upload.offset == len(_CONTENT) or not upload.is_complete
    return upload.offset


async def _run_story(harness: UploadsHarness, sound: UploadsHarness) -> None:
    """A creation that is cut, an append that is cut after the last byte, and the rest, empty or not."""
    listener = RecordingListener()
    await _attempt(harness.create(None, body=cut(*_pieces(_CONTENT[:5000])), is_last=True, listener=listener))
    if not listener.created_ids:
        return
    (upload_id,) = listener.created_ids
    for of, source in ((harness, cut), (harness, FakeBody), (sound, FakeBody)):
        offset = await _check(sound, upload_id)
        await _attempt(of.append(upload_id, offset, body=source(*_pieces(_CONTENT[offset:])), is_last=True))
    await _check(sound, upload_id)
    assert (await sound.inspect(upload_id)).upload.is_complete
    await sound.terminate(upload_id)


@pytest.mark.parametrize("lasting", [False, True])
async def test_draft_record_true_after_any_fault(lasting: bool, tmp_path: Path) -> None:
    """Whichever operation fails: an announced upload exists, nothing completes too early, and all can be continued."""
    url = f"sqlite:///{tmp_path / 'records.sqlite3'}"
    migrate(url)
    policy = UploadPolicy(save_interval_bytes=2000)
    sound = UploadsHarness(
        records=(await SqlDatabase.open(url)).records, store=DiskStore(tmp_path / "uploads"), policy=policy
    )
    try:
        for nth in range(1, _RUNS_MAX):
            faults = Faults(nth, lasting=lasting)
            failing = UploadsHarness(
                records=FailingRecords(sound.records, faults),
                store=FailingStore(sound.store, faults),
                locker=FailingLocker(sound.locker, faults),
                policy=policy,
                ids=sound.ids,
            )
            await _run_story(failing, sound)
            if not faults.struck:
                assert nth > 15, "the story has more operations than that"
                return
        pytest.fail("the story never passed untouched")
    finally:
        await sound.records.close()
        await sound.store.close()
