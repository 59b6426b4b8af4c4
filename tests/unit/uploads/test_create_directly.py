"""Creation without a task: the same record as with one, and everything out of the ordinary is left to ``create``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.support.harness import NO_RATES, UploadsHarness
from tusd_py.access.audit import AuditTrail
from tusd_py.access.local_counter import LocalCounter
from tusd_py.access.policy import AccessPolicy
from tusd_py.access.ports import AccessPorts
from tusd_py.access.quota import QuotaPolicy
from tusd_py.access.rates import CreationRate
from tusd_py.access.signing import TokenSigner
from tusd_py.contracts.audit_log import AuditLog
from tusd_py.contracts.direct import OnDone
from tusd_py.contracts.records import RecordExists, RecordsUnavailable
from tusd_py.contracts.store import StoreFull
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import Effects
from tusd_py.model.principal import Principal, PrincipalLimits, Role, Verb
from tusd_py.model.quota import QuotaLimits
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.errors import MaxSizeExceeded
from tusd_py.protocol.requests import BodyInfo, Create
from tusd_py.protocol.rules import Limits
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.commit import Cause, effects_of
from tusd_py.uploads.create_directly import DirectCreations, direct_creations
from tusd_py.uploads.policy import UploadPolicy

pytestmark = pytest.mark.anyio

CLIENT = "192.0.2.7"


class DirectMemoryRecords(MemoryRecords):
    """Records in memory that insert without a task of the caller. ``failure`` is what the insertion raises."""

    failure: Exception | None = None
    effects: Effects | None = None  # of the last insertion; records in memory have no jobs

    def begin_insert(self, upload: Upload, effects: Effects, on_done: OnDone) -> None:
        self.effects = effects
        self.running = asyncio.ensure_future(self._insert(upload, on_done))

    async def _insert(self, upload: Upload, on_done: OnDone) -> None:
        if self.failure is None:
            await self.insert(upload)
        on_done(self.failure)


class DirectMemoryStore(MemoryStore):
    """A store in memory that writes without a task of the caller. ``failure`` comes after the bytes are written."""

    failure: Exception | None = None

    def begin_write(self, upload: Upload, pieces: Sequence[bytes], on_done: OnDone, *, durable: bool) -> None:
        self.running = asyncio.ensure_future(self._write(upload, pieces, on_done))

    async def _write(self, upload: Upload, pieces: Sequence[bytes], on_done: OnDone) -> None:
        sink = self.open(upload)
        await sink.write(pieces)
        await sink.flush()
        await sink.close()
        on_done(self.failure)


def never(upload: Upload | None) -> None:
    """The callback of a creation that must not begin."""
    raise AssertionError(upload)


def direct_harness(**fields: Any) -> UploadsHarness:
    return UploadsHarness(records=DirectMemoryRecords(), store=DirectMemoryStore(bytes_max=2**20), **fields)


def creations_of(harness: UploadsHarness) -> DirectCreations:
    creations = direct_creations(harness.ports)
    assert creations is not None
    return creations


def creation(length: int | None, body: bytes | None = None, **fields: Any) -> Create:
    info = None if body is None else BodyInfo(length=len(body))
    return Create(length=length, body=info, metadata_header="name YQ==", **fields)


async def create_directly(
    harness: UploadsHarness, request: Create, *pieces: bytes, principal: Principal | None = None
) -> Upload | None:
    """Create an upload; ``None`` if that failed after it was begun."""
    created: asyncio.Future[Upload | None] = asyncio.get_running_loop().create_future()
    assert creations_of(harness).begin(request, pieces, CLIENT, principal, "request-1", created.set_result)
    return await created


@pytest.mark.parametrize(
    ("length", "body"),
    [(10, None), (10, b"01234"), (5, b"01234")],
)
async def test_same_record_as_with_a_task(length: int, body: bytes | None) -> None:
    """Without a body, with a part of the upload and with all of it: record, content and counts are equal."""
    records = []
    for is_direct in (True, False):
        harness = direct_harness(empty_uploads_max=1)
        harness.caller = replace(harness.caller, client=CLIENT)
        if is_direct:
            upload = await create_directly(harness, creation(length, body), *([] if body is None else [body]))
        else:
            pieces = [] if body is None else [body]
            upload = (
                await harness.create(length, *pieces, metadata="name YQ==", content_length=len(body or b""))
            ).upload
        assert upload is not None and upload == await harness.record(upload.id)
        records.append((upload, await harness.content(upload.id), len(harness.completed)))
        assert harness.ports.empty_uploads.is_far_from_limit(CLIENT) is (body is not None)
    assert records[0] == records[1]


async def test_whole_upload_is_handed_to_the_workers() -> None:
    """A step after completion is a job that is recorded with the upload."""
    harness = direct_harness(policy=UploadPolicy(steps=("validation",)))
    upload = await create_directly(harness, creation(5, b"01234"), b"01234")
    assert upload is not None and ("validation",) == upload.pending_steps
    assert isinstance(harness.records, DirectMemoryRecords) and harness.records.effects is not None
    assert ["validation"] == [job.actor for job in harness.records.effects.jobs]


@pytest.mark.parametrize(
    "request_",
    [
        creation(None),
        creation(0),
        creation(5, kind=Kind.PARTIAL),
        creation(None, kind=Kind.FINAL, parts=("a",)),
        creation(5, is_last=True),
        Create(length=5, body=BodyInfo(length=5, checksum=Checksum("sha1", b"x"))),
        Create(length=5, body=BodyInfo(length=5, checksum_in_trailer=True)),
        Create(length=5, body=BodyInfo(length=None)),
        Create(length=5, body=BodyInfo(length=4)),
        Create(length=5),
    ],
)
async def test_unusual_requests_are_left_to_create(request_: Create) -> None:
    """Deferred and empty uploads, parts, finals, the draft, checksums, and bodies that are not those announced."""
    harness = direct_harness()
    pieces = [] if request_.body is None and request_.length != 5 else [b"01234"]
    assert not creations_of(harness).begin(request_, pieces, CLIENT, None, "", never)
    assert [] == await harness.records.page("", 10)


async def test_unusual_settings_are_left_to_create() -> None:
    """Hooks, receivers of events, and every optional part that is not named as harmless."""

    async def accept(_: object) -> None: ...

    assert direct_creations(UploadsHarness().ports) is None
    assert direct_creations(direct_harness(functions={Hook.PRE_CREATE: accept}).ports) is None
    assert direct_creations(direct_harness(functions={Hook.POST_FINISH: accept}).ports) is None
    ports = direct_harness().ports
    something: Any = object()
    assert direct_creations(ports) is not None
    assert direct_creations(replace(ports, validator=something, job_queue=something)) is not None
    # Quotas are charged with the record, and a refusal of the charge is one of ``create``.
    assert direct_creations(replace(ports, quotas=something)) is not None
    assert direct_creations(replace(ports, download_urls=something)) is None
    assert direct_creations(replace(ports, policy=replace(ports.policy, subscriptions=something))) is None


async def test_rules_apply() -> None:
    """A creation above the limit raises the error of ``rules.create``."""
    harness = direct_harness(limits=Limits(length_max=4))
    with pytest.raises(MaxSizeExceeded):
        creations_of(harness).begin(creation(5), [], CLIENT, None, "", never)


async def test_client_near_its_limit_is_left_to_create() -> None:
    """What a client at its limit may do takes a look at the records."""
    harness = direct_harness(empty_uploads_max=1)
    assert await create_directly(harness, creation(5)) is not None
    assert not creations_of(harness).begin(creation(5), [], CLIENT, None, "", never)


async def test_failed_write_leaves_nothing() -> None:
    """The bytes are deleted, nothing is recorded, and ``create`` gets the request."""
    harness = direct_harness()
    store = harness.store
    assert isinstance(store, DirectMemoryStore)
    store.failure = StoreFull("full")
    assert await create_directly(harness, creation(5, b"01234"), b"012", b"34") is None
    await harness.drain()
    assert [] == await harness.records.page("", 10)
    assert 0 == await store.size(Upload(id="u1", length=5, created_at=harness.clock(), updated_at=harness.clock()))


async def test_failed_insertion_leaves_nothing() -> None:
    """The bytes are deleted, and ``create`` gets the request."""
    harness = direct_harness()
    assert isinstance(harness.records, DirectMemoryRecords)
    harness.records.failure = RecordsUnavailable("down")
    assert await create_directly(harness, creation(5)) is None
    assert await create_directly(harness, creation(5, b"01234"), b"01234") is None
    await harness.drain()
    upload = Upload(id="u2", length=5, created_at=harness.clock(), updated_at=harness.clock())
    assert 0 == await harness.store.size(upload)


async def test_bytes_of_an_existing_record_are_kept() -> None:
    """Where a record with the id exists, as after a repeated insertion, its bytes stay: ``create`` does the same."""
    harness = direct_harness()
    assert isinstance(harness.records, DirectMemoryRecords)
    harness.records.failure = RecordExists("u1")
    assert await create_directly(harness, creation(5, b"01234"), b"01234") is None
    await harness.drain()
    upload = Upload(id="u1", length=5, created_at=harness.clock(), updated_at=harness.clock())
    assert 5 == await harness.store.size(upload)


ADA = Principal(subject="ada", roles=frozenset({Role.UPLOADER}), method="jwt")


def closed_harness(**fields: Any) -> UploadsHarness:
    """A harness with access control, which refuses anonymous clients."""
    harness = direct_harness()
    fields = {"access": AccessPolicy(allows_anonymous=False), **fields}
    harness.ports = replace(harness.ports, **fields)
    return harness


async def test_upload_belongs_to_its_principal() -> None:
    """The owner, and what is charged and recorded in the audit log, are those of a creation by a task."""
    seen = []
    for is_direct in (True, False):
        harness = closed_harness(quotas=QuotaPolicy(limits=QuotaLimits(bytes_per_day=100)))
        trail = AuditTrail(log=cast(AuditLog, None), clock=harness.clock)
        harness.ports = replace(harness.ports, audit=trail)
        assert isinstance(harness.records, DirectMemoryRecords)
        if is_direct:
            upload = await create_directly(harness, creation(5, b"01234"), b"01234", principal=ADA)
            effects = harness.records.effects
        else:
            # Records in memory take no effects.
            ports, harness.ports = harness.ports, replace(harness.ports, quotas=None, audit=None)
            harness.caller = replace(harness.caller, client=CLIENT, owner="ada", principal=ADA)
            upload = (await harness.create(5, b"01234", metadata="name YQ==", content_length=5)).upload
            effects = effects_of(ports, None, upload, Cause(harness.caller))
        assert upload is not None and "ada" == upload.owner
        assert effects is not None and ["create", "finish"] == [entry.verb for entry in effects.audit]
        seen.append((upload, effects))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": ""},
        {"roles": frozenset({Role.VIEWER})},
        {"verbs": frozenset({Verb.INSPECT})},
        {"is_expired": True},
        {"limits": PrincipalLimits(types=("image/*",))},
    ],
)
async def test_principals_without_permission_are_left_to_create(fields: dict[str, Any]) -> None:
    """It refuses them; and it compares the types that a client may upload."""
    harness = closed_harness()
    request = creation(5)
    assert not creations_of(harness).begin(request, [], CLIENT, replace(ADA, **fields), "", never)
    assert creations_of(harness).begin(request, [], CLIENT, ADA, "", lambda _: None)


async def test_length_of_the_credentials_is_a_limit() -> None:
    """An upload that is longer is refused with the error of ``create``."""
    limited = replace(ADA, limits=PrincipalLimits(length_max=4))
    with pytest.raises(MaxSizeExceeded):
        creations_of(closed_harness()).begin(creation(5), [], CLIENT, limited, "", never)


async def test_whole_upload_of_revocable_credentials_is_left_to_create() -> None:
    """It looks at them once more. Uploads that do not complete now, and credentials without revocation, do not."""
    something: Any = object()
    signer = TokenSigner([("k", b"")])
    harness = closed_harness()
    access_ports = AccessPorts(signer=signer, clock=harness.clock, checks={"key": something})
    harness.ports = replace(harness.ports, access_ports=access_ports)
    key = replace(ADA, method="key")
    whole = creation(5, b"01234")
    assert not creations_of(harness).begin(whole, [b"01234"], CLIENT, key, "", never)
    assert await create_directly(harness, creation(6, b"01234"), b"01234", principal=key) is not None
    assert await create_directly(harness, creation(5), principal=key) is not None
    assert await create_directly(harness, whole, b"01234", principal=ADA) is not None


async def test_bodies_that_may_have_to_wait_are_left_to_create() -> None:
    """Bytes per second and the number of bodies at once are limits of bodies only."""
    something: Any = object()
    for name in ("bodies", "bandwidth"):
        harness = direct_harness()
        harness.ports = replace(harness.ports, rates=replace(NO_RATES, **{name: something}))
        assert not creations_of(harness).begin(creation(5, b"01234"), [b"01234"], CLIENT, None, "", never)
        assert await create_directly(harness, creation(5)) is not None


async def test_rate_of_creations() -> None:
    """Each creation counts once, also one that fails and is tried again by ``create``; at the limit none begins."""
    harness = direct_harness()
    rate = CreationRate(counter=LocalCounter(), per_minute=3, per_address=4)
    harness.ports = replace(harness.ports, rates=replace(NO_RATES, creations=rate))
    assert isinstance(harness.records, DirectMemoryRecords)
    assert await create_directly(harness, creation(5)) is not None
    harness.records.failure = RecordsUnavailable("down")
    assert await create_directly(harness, creation(5)) is None
    harness.records.failure = None
    await rate.ensure_allowed("", CLIENT)
    assert await create_directly(harness, creation(5)) is not None
    assert not creations_of(harness).begin(creation(5), [], CLIENT, None, "", never)
    # That of the address counts what all owners there create.
    assert await create_directly(harness, creation(5), principal=ADA) is not None
    assert not creations_of(harness).begin(creation(5), [], CLIENT, replace(ADA, subject="bob"), "", never)


async def test_rate_that_is_counted_elsewhere_is_left_to_create() -> None:
    """Counts in Redis cannot be asked without waiting."""

    class Elsewhere(LocalCounter):
        @property
        def in_memory(self) -> Any:
            return None

    harness = direct_harness()
    rate = CreationRate(counter=Elsewhere(), per_minute=3)
    harness.ports = replace(harness.ports, rates=replace(NO_RATES, creations=rate))
    assert not creations_of(harness).begin(creation(5), [], CLIENT, None, "", never)


async def test_creation_that_cannot_begin_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many insertions wait, ``create`` counts it."""

    def begin_insert(*_: object) -> None:
        raise RecordsUnavailable("busy")

    harness = direct_harness()
    rate = CreationRate(counter=LocalCounter(), per_minute=1)
    harness.ports = replace(harness.ports, rates=replace(NO_RATES, creations=rate))
    monkeypatch.setattr(harness.records, "begin_insert", begin_insert)
    with pytest.raises(RecordsUnavailable):
        creations_of(harness).begin(creation(5), [], CLIENT, None, "", never)
    await rate.ensure_allowed("", CLIENT)
