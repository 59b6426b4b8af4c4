"""The hook ``authorize``: invoked before every request except OPTIONS, without touching the upload."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.failing import FailingLocker, FailingRecords, Faults
from tests.support.harness import CALLER, UploadsHarness
from tusd_py.access.policy import AccessPolicy
from tusd_py.contracts.hooks import AuthorizeEvent, HookFailed, HookResponse
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.principal import Principal, Role
from tusd_py.protocol.access_errors import Unauthenticated
from tusd_py.protocol.errors import AccessDenied, UploadNotFound
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


ALICE = Principal(subject="alice", roles=frozenset({Role.UPLOADER}), method="jwt")
BOB = Principal(subject="bob", roles=frozenset({Role.UPLOADER}), method="jwt")
VIEWER = Principal(subject="vera", roles=frozenset({Role.VIEWER}), method="jwt")


def by(principal: Principal) -> Caller:
    return replace(CALLER, owner=principal.subject, principal=principal)


def controlled(*, allows_anonymous: bool = False, **more: Any) -> UploadsHarness:
    """A harness with access control."""
    harness = UploadsHarness(**more)
    policy = AccessPolicy(allows_anonymous=allows_anonymous, claim_seconds=60)
    harness.ports = replace(harness.ports, access=policy)
    return harness


async def test_foreign_and_unknown_take_the_same_reads_404() -> None:
    """An upload of another owner is refused as an unknown one: by the same refusal and reads, and without a lock."""
    reads, locks = Faults(), Faults()
    harness = controlled(records=FailingRecords(MemoryRecords(), reads), locker=FailingLocker(MemoryLocker(), locks))
    harness.caller = by(ALICE)
    upload = (await harness.create(4)).upload
    assert upload.owner == "alice"
    before = locks.seen
    for own, unknown in zip(of(upload.id), of("unknown"), strict=True):
        counts = []
        for request in (own, unknown):
            reads.seen = 0
            with pytest.raises(UploadNotFound) as refused:
                await authorize(harness.ports, request, by(BOB))
            counts.append((reads.seen, str(refused.value), refused.value.upload))
        assert counts[0] == counts[1] == (1, str(UploadNotFound()), None)
        assert await authorize(harness.ports, own, by(ALICE)) == by(ALICE)
    assert locks.seen == before


async def test_anonymous_401_before_any_read() -> None:
    """Without credentials nothing is read, so that nothing can be learned from the time."""
    reads = Faults()
    harness = controlled(records=FailingRecords(MemoryRecords(), reads))
    for request in [*of("u1"), Create(length=1)]:
        with pytest.raises(Unauthenticated):
            await authorize(harness.ports, request, by(Principal()))
    assert reads.seen == 0


async def test_reader_does_not_write_403() -> None:
    """A principal that can read an upload but not write to it gets 403, not 404; HEAD of a reader is marked as such."""
    harness = controlled()
    harness.caller = by(ALICE)
    upload = (await harness.create(4)).upload
    inspect, append, terminate, download = of(upload.id)
    assert (await authorize(harness.ports, inspect, by(ALICE))).may_write
    assert not (await authorize(harness.ports, inspect, by(VIEWER))).may_write
    assert await authorize(harness.ports, download, by(VIEWER))
    for request in (append, terminate):
        with pytest.raises(AccessDenied):
            await authorize(harness.ports, request, by(VIEWER))
    with pytest.raises(AccessDenied):
        await authorize(harness.ports, Create(length=1), by(VIEWER))
    expired = replace(by(ALICE), principal=replace(ALICE, is_expired=True))
    assert not (await authorize(harness.ports, inspect, expired)).may_write


async def test_claim_of_an_existing_upload() -> None:
    """An unfinished upload from before belongs to the uploader that continues it, and from then on to no other."""
    harness = UploadsHarness()
    upload = (await harness.create(4)).upload
    harness.ports = replace(harness.ports, access=AccessPolicy(allows_anonymous=False, claim_seconds=60))
    append = Append(upload_id=upload.id, offset=0, length=None, body=BodyInfo(length=1))
    with pytest.raises(UploadNotFound):
        await authorize(harness.ports, Download(upload_id=upload.id), by(ALICE))
    assert await authorize(harness.ports, append, by(ALICE))
    claimed = await harness.ports.records.find(upload.id)
    assert claimed is not None
    assert claimed.owner == "alice"
    with pytest.raises(UploadNotFound):
        await authorize(harness.ports, append, by(BOB))
    late = (await harness.create(4)).upload
    assert late.owner == ""
    harness.clock.move(61)
    with pytest.raises(UploadNotFound):
        await authorize(harness.ports, Inspect(upload_id=late.id), by(ALICE))


async def test_hook_adds_an_owner() -> None:
    """A hook that names an owner authenticates an anonymous request; it can still refuse one with credentials."""
    answers = [HookResponse(owner="carol"), HookResponse(reject=True)]
    harness = controlled(functions={Hook.AUTHORIZE: lambda _: answers.pop(0)})
    caller = await authorize(harness.ports, Create(length=1), by(Principal()))
    assert (caller.owner, caller.principal and caller.principal.subject) == ("carol", "carol")
    with pytest.raises(AccessDenied):
        await authorize(harness.ports, Create(length=1), by(ALICE))
    without = UploadsHarness(functions={Hook.AUTHORIZE: lambda _: HookResponse(owner="dora")})
    assert (await authorize(without.ports, Create(length=1), CALLER)).owner == "dora"
