"""The hook ``authorize``: invoked before every request except OPTIONS, without touching the upload."""

from __future__ import annotations

import pytest

from tests.faults.failing import FailingLocker, FailingRecords, Faults
from tests.support.harness import CALLER, UploadsHarness
from tusd_py.contracts.hooks import AuthorizeEvent, HookFailed, HookResponse
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.hooks import Hook
from tusd_py.protocol.errors import AccessDenied
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.protocol.requests import (
    Append,
    BodyInfo,
    Create,
    Discover,
    Download,
    Inspect,
    Request,
    Terminate,
)
from tusd_py.records.memory import MemoryRecords
from tusd_py.uploads.authorize import authorize

pytestmark = pytest.mark.anyio


def of(upload_id: str) -> list[Request]:
    return [
        Inspect(upload_id=upload_id),
        Append(upload_id=upload_id, offset=0, length=None, body=BodyInfo(length=1)),
        Terminate(upload_id=upload_id),
        Download(upload_id=upload_id),
    ]


async def test_authorize_sees_record() -> None:
    """The hook gets the record of the named upload, even a terminated one; otherwise none."""
    calls: list[AuthorizeEvent] = []
    harness = UploadsHarness(functions={Hook.AUTHORIZE: calls.append})
    upload = (await harness.create(4)).upload
    for request in [*of(upload.id), *of("unknown"), Create(length=1)]:
        await authorize(harness.ports, request, CALLER)
    assert [event.upload for event in calls] == [upload] * 4 + [None] * 5
    assert all(event.caller == CALLER for event in calls)
    ended = (await harness.terminate(upload.id)).upload
    await authorize(harness.ports, Inspect(upload_id=upload.id), CALLER)
    assert calls[-1].upload == ended


async def test_authorize_takes_no_lock() -> None:
    """Neither a granted nor a refused request disturbs the holder of the lock before it is authorised."""
    answers = [HookResponse(), HookResponse(reject=True, override=ResponseOverride(status=401))]
    faults = Faults(nth=1, lasting=True)
    harness = UploadsHarness(
        locker=FailingLocker(MemoryLocker(), faults), functions={Hook.AUTHORIZE: lambda _: answers.pop(0)}
    )
    await authorize(harness.ports, Inspect(upload_id="u1"), CALLER)
    with pytest.raises(AccessDenied) as denied:
        await authorize(harness.ports, Inspect(upload_id="u1"), CALLER)
    assert denied.value.override == ResponseOverride(status=401)
    assert faults.seen == 0


async def test_authorize_no_hook_reads_no_record() -> None:
    """Without the hook no record is read; OPTIONS never invokes it."""
    faults = Faults()
    harness = UploadsHarness(
        records=FailingRecords(MemoryRecords(), faults), functions={Hook.PRE_CREATE: lambda _: None}
    )
    for request in [*of("u1"), Create(length=1)]:
        await authorize(harness.ports, request, CALLER)
    refusing = UploadsHarness(functions={Hook.AUTHORIZE: lambda _: HookResponse(reject=True)})
    await authorize(refusing.ports, Discover(upload_id=None), CALLER)
    assert faults.seen == 0


async def test_authorize_failed_hook_refuses() -> None:
    """A failed hook fails the request."""

    def fail(_: AuthorizeEvent) -> None:
        raise OSError("away")

    harness = UploadsHarness(functions={Hook.AUTHORIZE: fail})
    with pytest.raises(HookFailed):
        await authorize(harness.ports, Inspect(upload_id="u1"), CALLER)
