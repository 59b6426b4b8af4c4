"""authorize: asked first, of everything but discovery, with what is recorded and nothing else touched."""

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


async def test_it_is_told_what_is_recorded() -> None:
    """The upload as it stands for every request that names one, a removed one too; otherwise nothing."""
    told: list[AuthorizeEvent] = []
    harness = UploadsHarness(functions={Hook.AUTHORIZE: told.append})
    upload = (await harness.create(4)).upload
    for request in [*of(upload.id), *of("unknown"), Create(length=1)]:
        await authorize(harness.ports, request, CALLER)
    assert [event.upload for event in told] == [upload] * 4 + [None] * 5
    assert all(event.caller == CALLER for event in told)
    ended = (await harness.terminate(upload.id)).upload
    await authorize(harness.ports, Inspect(upload_id=upload.id), CALLER)
    assert told[-1].upload == ended


async def test_no_lock_is_asked_for() -> None:
    """Neither granted nor refused does it come near whoever holds the upload."""
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


async def test_who_asks_nobody_pays_nothing() -> None:
    """Without such a hook no record is read; discovery never asks."""
    faults = Faults()
    harness = UploadsHarness(
        records=FailingRecords(MemoryRecords(), faults), functions={Hook.PRE_CREATE: lambda _: None}
    )
    for request in [*of("u1"), Create(length=1)]:
        await authorize(harness.ports, request, CALLER)
    refusing = UploadsHarness(functions={Hook.AUTHORIZE: lambda _: HookResponse(reject=True)})
    await authorize(refusing.ports, Discover(upload_id=None), CALLER)
    assert faults.seen == 0


async def test_a_hook_that_fails_grants_nothing() -> None:
    """Its failure is the request's."""

    def fail(_: AuthorizeEvent) -> None:
        raise OSError("away")

    harness = UploadsHarness(functions={Hook.AUTHORIZE: fail})
    with pytest.raises(HookFailed):
        await authorize(harness.ports, Inspect(upload_id="u1"), CALLER)
