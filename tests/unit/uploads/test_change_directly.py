"""HEAD, PATCH and DELETE without a task: the same records as with one; what is out of the ordinary is left to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from tests.support.direct_backends import DirectChangesMemoryRecords, DirectChangesMemoryStore
from tests.support.harness import NO_RATES, FakeBody, UploadsHarness
from tusd_py.access.policy import AccessPolicy
from tusd_py.access.ports import AccessPorts
from tusd_py.access.signing import TokenSigner
from tusd_py.contracts.records import RecordConflict, RecordsUnavailable
from tusd_py.contracts.store import StoreFull, StoreUnavailable
from tusd_py.locking.memory import MemoryLock, MemoryLocker
from tusd_py.model.hooks import Hook
from tusd_py.model.principal import Principal, PrincipalLimits, Role, Verb
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.errors import UnsupportedContentType
from tusd_py.protocol.outcomes import Appended, Inspected, Terminated
from tusd_py.protocol.requests import Append, BodyInfo, Inspect, Terminate
from tusd_py.uploads.change_directly import DirectChanges, DirectOutcome, DirectRequest, direct_changes
from tusd_py.uploads.policy import UploadPolicy
from tusd_py.uploads.ports import Ports

pytestmark = pytest.mark.anyio

CLIENT = "192.0.2.7"
Ended = tuple[DirectOutcome | None, BaseException | None]
#: Left to the use case.
LEFT: Ended = (None, None)


def never(outcome: DirectOutcome | None, failure: BaseException | None) -> None:
    """The callback of a request that must not begin."""
    raise AssertionError((outcome, failure))


def direct_harness(**fields: Any) -> UploadsHarness:
    harness = UploadsHarness(
        records=DirectChangesMemoryRecords(), store=DirectChangesMemoryStore(bytes_max=2**20), **fields
    )
    ids = count(1)
    harness.ports = replace(harness.ports, new_id=lambda: f"{next(ids):032x}")
    return harness


def records_of(harness: UploadsHarness) -> DirectChangesMemoryRecords:
    assert isinstance(harness.records, DirectChangesMemoryRecords)
    return harness.records


def store_of(harness: UploadsHarness) -> DirectChangesMemoryStore:
    assert isinstance(harness.store, DirectChangesMemoryStore)
    return harness.store


def changes_of(ports: Ports) -> DirectChanges:
    changes = direct_changes(ports)
    assert changes is not None
    return changes


def patch(upload: Upload, size: int, **fields: Any) -> Append:
    fields = {"offset": upload.offset, "length": None, "body": BodyInfo(length=size), **fields}
    return Append(upload_id=upload.id, **fields)


async def directly(
    harness: UploadsHarness, request: DirectRequest, *pieces: bytes, principal: Principal | None = None
) -> Ended:
    """What the request ended with. The lock is free by then."""
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def on_outcome(outcome: DirectOutcome | None, failure: BaseException | None) -> None:
        ended.set_result((outcome, failure))

    assert changes_of(harness.ports).begin(request, pieces, CLIENT, principal, "request-1", on_outcome)
    result = await ended
    lock = await harness.locker.try_acquire(request.upload_id)
    assert lock is not None
    await lock.release()
    return result


@pytest.mark.parametrize("body", [b"012", b"0123456789"])
async def test_append_leaves_the_same_record_as_with_a_task(body: bytes) -> None:
    """A part of the upload, and all of it: record, content and counts are equal, and only the last byte is durable."""
    records = []
    for is_direct in (True, False):
        harness = direct_harness()
        upload = (await harness.create(10)).upload
        if is_direct:
            outcome, _ = await directly(harness, patch(upload, len(body)), body[:2], body[2:])
            assert isinstance(outcome, Appended)
            assert outcome.upload == await harness.record(upload.id)
            assert store_of(harness).durable is (len(body) == 10)
        else:
            await harness.append(upload.id, 0, body)
        record = await harness.record(upload.id)
        records.append((record, await harness.content(upload.id), len(harness.completed)))
    assert records[0] == records[1]


async def test_terminate_leaves_the_same_record_as_with_a_task() -> None:
    """The tombstone is equal, and the bytes are gone."""
    records = []
    for is_direct in (True, False):
        harness = direct_harness()
        upload = (await harness.create(10, b"01234")).upload
        if is_direct:
            outcome, _ = await directly(harness, Terminate(upload_id=upload.id))
            assert isinstance(outcome, Terminated)
        else:
            await harness.terminate(upload.id)
        assert 0 == await harness.store.size(upload)
        records.append(await harness.record(upload.id))
    assert records[0] is not None and Status.TERMINATED is records[0].status
    assert records[0] == records[1]


async def test_inspect_changes_nothing() -> None:
    """The offset is reported, also that of a complete upload."""
    harness = direct_harness()
    for body in (b"", b"01234", b"0123456789"):
        upload = (await harness.create(10, *([body] if body else []))).upload
        outcome, _ = await directly(harness, Inspect(upload_id=upload.id, length_completes=True))
        assert Inspected(upload=upload) == outcome


async def test_whole_upload_is_handed_to_the_workers() -> None:
    """A step after completion is a job that is recorded with the last byte."""
    harness = direct_harness(policy=UploadPolicy(steps=("validation",)))
    upload = (await harness.create(5)).upload
    await directly(harness, patch(upload, 5), b"01234")
    effects = records_of(harness).effects
    assert effects is not None and ["validation"] == [job.actor for job in effects.jobs]


@pytest.mark.parametrize(
    "fields",
    [
        {"length": 10},
        {"is_last": True},
        {"unsupported": UnsupportedContentType("application/offset+octet-stream")},
        {"body": BodyInfo(length=5, checksum=Checksum("sha1", b"x"))},
        {"body": BodyInfo(length=5, checksum_in_trailer=True)},
        {"body": BodyInfo(length=5, bounds=(1, None))},
        {"body": BodyInfo(length=None)},
        {"body": BodyInfo(length=6)},
    ],
)
async def test_unusual_bodies_do_not_begin(fields: dict[str, Any]) -> None:
    """Declared lengths, the draft, other types, checksums, and bodies that are not those announced."""
    harness = direct_harness()
    upload = (await harness.create(10)).upload
    assert not changes_of(harness.ports).begin(patch(upload, 5, **fields), [b"01234"], CLIENT, None, "", never)
    assert upload == await harness.record(upload.id)


async def test_body_of_a_request_without_one_does_not_begin() -> None:
    """Nor does a PATCH without a byte."""
    harness = direct_harness()
    upload = (await harness.create(10)).upload
    assert not changes_of(harness.ports).begin(Terminate(upload_id=upload.id), [b"x"], CLIENT, None, "", never)
    assert not changes_of(harness.ports).begin(patch(upload, 0), [], CLIENT, None, "", never)


async def test_locked_upload_does_not_begin() -> None:
    """Its holder must be asked to release it, which the use case does."""
    harness = direct_harness()
    upload = (await harness.create(10)).upload
    lock = await harness.locker.acquire(upload.id, 1.0)
    assert not changes_of(harness.ports).begin(Inspect(upload_id=upload.id), [], CLIENT, None, "", never)
    await lock.release()


async def test_unusual_uploads_are_left_to_the_use_case() -> None:
    """Unknown ones, parts and finals, a deferred length, a chosen id, a complete upload, another offset."""
    harness = direct_harness()
    regular = (await harness.create(10, b"01234")).upload
    part = (await harness.create(5, b"01234", kind=Kind.PARTIAL)).upload
    final = (await harness.create(None, kind=Kind.FINAL, parts=(part.id,))).upload
    deferred = (await harness.create(None)).upload
    complete = (await harness.create(5, b"01234")).upload
    open_at_length = (await harness.create(10, b"0123456789", is_last=False)).upload
    chosen = replace(regular, id="chosen")
    await harness.records.insert(chosen)
    unknown = replace(regular, id="f" * 32)
    requests: list[DirectRequest] = [
        *(Terminate(upload_id=each.id) for each in (unknown, part, final, chosen)),
        *(Inspect(upload_id=each.id, length_completes=True) for each in (unknown, part, deferred, open_at_length)),
        *(patch(each, 5) for each in (unknown, chosen, part, deferred, complete)),
        patch(regular, 5, offset=4),
        patch(regular, 5, offset=6),
    ]
    for request in requests:
        assert LEFT == await directly(harness, request, *([b"56789"] if isinstance(request, Append) else []))
    # More than the upload may have.
    assert LEFT == await directly(harness, patch(regular, 6), b"567890")
    assert regular == await harness.record(regular.id)


async def test_offset_older_than_the_server_is_left_to_the_use_case() -> None:
    """A loss of power may have taken bytes: the use case counts them."""
    harness = direct_harness()
    upload = (await harness.create(10, b"01234")).upload
    harness.clock.move(1.0)
    harness.ports = replace(harness.ports, opened_at=harness.clock())
    assert LEFT == await directly(harness, patch(upload, 5), b"56789")
    assert LEFT == await directly(harness, Inspect(upload_id=upload.id))


async def test_expired_upload_is_left_to_the_use_case() -> None:
    """It refuses the request."""
    harness = direct_harness()
    upload = (await harness.create(10)).upload
    harness.clock.move(10 * harness.policy.unfinished_seconds)
    assert LEFT == await directly(harness, patch(upload, 5), b"01234")
    assert LEFT == await directly(harness, Terminate(upload_id=upload.id))


async def test_unusual_settings_are_left_to_the_use_case() -> None:
    """Hooks, receivers of events, other backends, and every optional part that is not named as harmless."""

    async def accept(_: object) -> None: ...

    assert direct_changes(UploadsHarness().ports) is None
    assert direct_changes(UploadsHarness(records=DirectChangesMemoryRecords()).ports) is None
    for hook in (Hook.PRE_TERMINATE, Hook.POST_TERMINATE, Hook.PRE_FINISH, Hook.POST_FINISH, Hook.POST_RECEIVE):
        assert direct_changes(direct_harness(functions={hook: accept}).ports) is None
    ports = direct_harness().ports
    something: Any = object()
    assert direct_changes(ports) is not None
    assert direct_changes(replace(ports, download_urls=something)) is None
    assert direct_changes(replace(ports, policy=replace(ports.policy, subscriptions=something))) is None


async def test_failed_write_is_left_to_the_use_case() -> None:
    """Nothing is recorded, and the same bytes can be sent again."""
    harness = direct_harness()
    upload = (await harness.create(10)).upload
    store_of(harness).failure = StoreFull("full")
    assert LEFT == await directly(harness, patch(upload, 5), b"01234")
    assert upload == await harness.record(upload.id)
    assert isinstance((await directly(harness, patch(upload, 5), b"01234"))[0], Appended)
    assert b"01234" == await harness.content(upload.id)


@pytest.mark.parametrize("failure", [RecordsUnavailable("down"), RecordConflict("changed")])
async def test_failed_update_is_left_to_the_use_case(failure: Exception) -> None:
    """The record is as it was, and the use case goes on from it."""
    harness = direct_harness()
    upload = (await harness.create(10)).upload
    for request, pieces in ((patch(upload, 5), [b"01234"]), (Terminate(upload_id=upload.id), [])):
        records_of(harness).update_failure = failure
        assert LEFT == await directly(harness, request, *pieces)
    records_of(harness).find_failure = failure
    assert LEFT == await directly(harness, Inspect(upload_id=upload.id))
    assert upload == await harness.record(upload.id)
    await harness.append(upload.id, 0, b"01234")
    assert b"01234" == await harness.content(upload.id)


async def test_failed_deletion_is_reported_and_not_repeated() -> None:
    """The upload has ended: the use case would not find it. The sweeper deletes its bytes later."""
    harness = direct_harness()
    upload = (await harness.create(10, b"01234")).upload
    failure = StoreUnavailable("down")
    store_of(harness).failure = failure
    assert (None, failure) == await directly(harness, Terminate(upload_id=upload.id))
    record = await harness.record(upload.id)
    assert record is not None and Status.TERMINATED is record.status


async def test_request_that_waits_gets_the_lock_afterwards() -> None:
    """A PATCH by a task that comes during a direct one waits for it, and finds its bytes."""
    harness = direct_harness()
    upload = (await harness.create(10)).upload
    ended: asyncio.Future[DirectOutcome | None] = asyncio.get_running_loop().create_future()
    assert changes_of(harness.ports).begin(
        patch(upload, 5), [b"01234"], CLIENT, None, "", lambda outcome, _: ended.set_result(outcome)
    )
    appended = await harness.append(upload.id, 5, body=FakeBody(b"56789"))
    assert ended.done() and isinstance(ended.result(), Appended)
    assert appended.upload.is_complete
    assert b"0123456789" == await harness.content(upload.id)


ADA = Principal(subject="ada", roles=frozenset({Role.UPLOADER}), method="jwt")
BOB = replace(ADA, subject="bob")


async def owned(harness: UploadsHarness, owner: str = "ada") -> Upload:
    """An unfinished upload of ``owner``, on a server with access control that refuses anonymous clients."""
    harness.caller = replace(harness.caller, owner=owner)
    upload = (await harness.create(10)).upload
    policy = AccessPolicy(allows_anonymous=False, claim_seconds=60.0)
    harness.ports = replace(harness.ports, access=policy)
    return upload


async def test_requests_of_the_owner() -> None:
    """They are as without access control, whether this process has seen the upload before or not."""
    harness = direct_harness()
    upload = await owned(harness)
    changes = changes_of(harness.ports)
    assert isinstance((await begun(changes, patch(upload, 5), ADA, b"01234"))[0], Appended)
    outcome, _ = await begun(changes, Inspect(upload_id=upload.id), ADA)
    assert isinstance(outcome, Inspected) and 5 == outcome.upload.offset
    assert isinstance((await begun(changes, patch(outcome.upload, 5), ADA, b"56789"))[0], Appended)
    assert b"0123456789" == await harness.content(upload.id)
    assert isinstance((await begun(changes, Terminate(upload_id=upload.id), ADA))[0], Terminated)


async def begun(changes: DirectChanges, request: DirectRequest, principal: Principal, *pieces: bytes) -> Ended:
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    assert changes.begin(request, pieces, CLIENT, principal, "", lambda *result: ended.set_result(result))
    return await ended


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "bob"},
        {"subject": ""},
        {"roles": frozenset({Role.VIEWER})},
        {"subject": "bob", "roles": frozenset({Role.MODERATOR})},
        {"verbs": frozenset({Verb.CREATE})},
        {"is_expired": True},
    ],
)
async def test_clients_that_may_not_write_lock_nothing(fields: dict[str, Any]) -> None:
    """Other owners, roles that only read, and restricted credentials are left to the use case, also by HEAD."""
    harness = direct_harness()
    upload = await owned(harness)
    locked: list[str] = []
    changes = changes_of(replace(harness.ports, locker=RecordingLocker(locked)))
    requests: list[DirectRequest] = [
        Inspect(upload_id=upload.id),
        patch(upload, 5),
        Terminate(upload_id=upload.id),
        Inspect(upload_id="f" * 32),
    ]
    for request in requests:
        pieces = [b"01234"] if isinstance(request, Append) else []
        assert LEFT == await begun(changes, request, replace(ADA, **fields), *pieces)
    assert [] == locked
    assert upload == await harness.record(upload.id)


class RecordingLocker(MemoryLocker):
    """Notes each lock that is requested."""

    def __init__(self, locked: list[str]) -> None:
        super().__init__()
        self._requested = locked

    def try_acquire_now(self, upload_id: str) -> MemoryLock | None:
        self._requested.append(upload_id)
        return super().try_acquire_now(upload_id)


async def test_upload_that_changes_its_owner_is_read_under_its_lock() -> None:
    """That a client was seen to write decides only when the lock is taken: the record decides on each request."""
    harness = direct_harness()
    upload = await owned(harness)
    changes = changes_of(harness.ports)
    assert LEFT != await begun(changes, Inspect(upload_id=upload.id), ADA)
    await harness.records.update(upload, replace(upload, owner="bob"))
    for request in (Inspect(upload_id=upload.id), Terminate(upload_id=upload.id)):
        assert LEFT == await begun(changes, request, ADA)
    assert LEFT != await begun(changes, Inspect(upload_id=upload.id), BOB)
    assert LEFT == await begun(changes, Inspect(upload_id=upload.id), ADA)


async def test_upload_that_changes_before_it_is_locked_is_read_again() -> None:
    """Bytes that another request has stored between the first look and the lock are not overwritten."""
    harness = direct_harness()
    upload = await owned(harness)
    changes = changes_of(harness.ports)
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    find = harness.records.find
    harness.records.find = after_append(harness, find, upload)  # type: ignore[method-assign]
    assert changes.begin(patch(upload, 5), [b"xxxxx"], CLIENT, ADA, "", lambda *result: ended.set_result(result))
    assert LEFT == await ended
    assert b"01234" == await harness.content(upload.id)


def after_append(harness: UploadsHarness, find: Any, upload: Upload) -> Any:
    """A ``find`` whose first result is the record before another request appends."""

    async def found(upload_id: str, **options: Any) -> Upload | None:
        harness.records.find = find  # type: ignore[method-assign]
        await harness.append(upload.id, 0, b"01234")
        return upload

    return found


async def test_public_uploads() -> None:
    """Where anonymous clients are refused, an upload without an owner is claimed by the use case."""
    harness = direct_harness()
    upload = await owned(harness, "")
    admin = replace(ADA, roles=frozenset({Role.ADMIN, Role.UPLOADER}))
    for principal in (ADA, admin):
        assert LEFT == await begun(changes_of(harness.ports), Inspect(upload_id=upload.id), principal)
    harness.ports = replace(harness.ports, access=AccessPolicy(allows_anonymous=True))
    for principal in (ADA, Principal()):
        assert LEFT != await begun(changes_of(harness.ports), Inspect(upload_id=upload.id), principal)


async def test_last_bytes_of_revocable_credentials_are_left_to_the_use_case() -> None:
    """It looks at them once more before the upload completes."""
    harness = direct_harness()
    upload = await owned(harness)
    something: Any = object()
    signer = TokenSigner([("k", b"")])
    access_ports = AccessPorts(signer=signer, clock=harness.clock, checks={"key": something})
    changes = changes_of(replace(harness.ports, access_ports=access_ports))
    key = replace(ADA, method="key")
    assert LEFT == await begun(changes, patch(upload, 10), key, b"0123456789")
    assert isinstance((await begun(changes, patch(upload, 5), key, b"01234"))[0], Appended)
    outcome, _ = await begun(changes, Inspect(upload_id=upload.id), key)
    assert isinstance(outcome, Inspected)
    assert LEFT == await begun(changes, patch(outcome.upload, 5), key, b"56789")


async def test_types_of_the_credentials_are_left_to_the_use_case() -> None:
    """It compares them with the type that the metadata declare."""
    harness = direct_harness()
    upload = await owned(harness)
    typed = replace(ADA, limits=PrincipalLimits(types=("image/*",)))
    assert not changes_of(harness.ports).begin(patch(upload, 5), [b"01234"], CLIENT, typed, "", never)


async def test_bodies_that_may_have_to_wait_do_not_begin() -> None:
    """Bytes per second and the number of bodies at once are limits of PATCH only."""
    something: Any = object()
    for name in ("bodies", "bandwidth"):
        harness = direct_harness()
        upload = (await harness.create(10)).upload
        harness.ports = replace(harness.ports, rates=replace(NO_RATES, **{name: something}))
        assert not changes_of(harness.ports).begin(patch(upload, 5), [b"01234"], CLIENT, None, "", never)
        assert isinstance((await directly(harness, Inspect(upload_id=upload.id)))[0], Inspected)
