"""The ends of links and codes: what they reserved is released, exactly once, and running requests are respected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.harness import CALLER, EPOCH, FakeBody, UploadsHarness
from tests.support.waiting import eventually
from tusd_py.access.codes import CodeVerifier
from tusd_py.access.links import LinkVerifier
from tusd_py.access.policy import AccessPolicy
from tusd_py.access.ports import AccessPorts
from tusd_py.access.quota import QuotaPolicy
from tusd_py.access.signing import TokenSigner
from tusd_py.model.codes import AccessCode
from tusd_py.model.events import EventType
from tusd_py.model.jobs import Subscription
from tusd_py.model.links import Link
from tusd_py.model.principal import Principal, Role
from tusd_py.model.quota import Quota, QuotaLimits, QuotaPeriods
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.access_errors import CodeEnded, LinkEnded, QuotaReached
from tusd_py.protocol.requests import Append, BodyInfo
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.uploads.append import append
from tusd_py.uploads.create_link import LinkTerms, create_upload_link
from tusd_py.uploads.end_grant import revoke_link, terminate_code
from tusd_py.uploads.expire_grants import KEPT, expire_grants, warn_expiring
from tusd_py.views import event_view

pytestmark = pytest.mark.anyio

SIGNER = TokenSigner([("default", b"a secret of the tests, 32 bytes or more")])
ALICE = Principal(subject="alice", roles=frozenset({Role.UPLOADER}), method="jwt")
CODE = AccessCode(id="c1", owner="alice", created_at=EPOCH, expires_at=EPOCH + timedelta(hours=1))


class WaitingBody(FakeBody):
    """A body that says when its reader has come to an event that it waits for."""

    is_waiting = False

    async def _wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        self.is_waiting = True
        return await super()._wait(event, seconds)


class Grants:
    """The use cases with links, codes and a quota of 100 bytes a day."""

    def __init__(self, database: SqlDatabase) -> None:
        self.database = database
        self.harness = harness = UploadsHarness(records=database.records)
        harness.caller = replace(CALLER, owner="alice", principal=ALICE)
        links, codes, clock = database.links, database.codes, harness.clock
        link_verifier, code_verifier = LinkVerifier(links, SIGNER, clock), CodeVerifier(codes, SIGNER, clock)
        harness.ports = replace(
            harness.ports,
            access=AccessPolicy(allows_anonymous=False),
            access_ports=AccessPorts(
                signer=SIGNER,
                clock=clock,
                links=links,
                codes=codes,
                checks={"link": link_verifier, "code": code_verifier},
            ),
            quotas=QuotaPolicy(limits=QuotaLimits(bytes_per_day=100)),
            quota_ledger=database.quota_ledger,
        )

    async def link(self, length: int | None = None, length_max: int | None = None) -> tuple[Link, Upload]:
        made = LinkTerms(owner="alice", seconds=3600, length=length, length_max=length_max)
        return await create_upload_link(self.harness.ports, made, self.harness.caller, FakeBody())

    async def used(self) -> int:
        usage = await self.database.quota_ledger.usage("user:alice", QuotaPeriods("2026-01-01", "2026-01"))
        return next(each.used for each in usage if each.quota is Quota.BYTES_PER_DAY)

    async def fill(self, link: Link, offset: int, body: FakeBody, length: int | None = None) -> Upload:
        bearer = Principal(
            subject="alice", method="link", grant=link.grant, upload_id=link.upload_id, credential=link.id
        )
        return await self.append(bearer, link.upload_id, offset, body, length)

    async def append(
        self, bearer: Principal, upload_id: str, offset: int, body: FakeBody, length: int | None = None
    ) -> Upload:
        request = Append(upload_id=upload_id, offset=offset, length=length, body=BodyInfo(length=None))
        return (await append(self.harness.ports, request, replace(CALLER, principal=bearer), body)).upload


@pytest.fixture
async def grants(tmp_path: Path) -> AsyncIterator[Grants]:
    database = await SqlDatabase.open(f"sqlite:///{tmp_path}/records.sqlite3")
    grants = Grants(database)
    yield grants
    await grants.harness.drain()
    await database.close()


async def test_the_quota_of_a_link_is_reserved_when_it_is_made(grants: Grants) -> None:
    """What does not fit makes no link; a length that is declared, and completion, release the rest."""
    link, _ = await grants.link(length_max=80)
    assert await grants.used() == 80
    with pytest.raises(QuotaReached):
        await grants.link(length_max=21)
    assert len(await grants.database.links.list_links(link.kind, limit=10)) == 1, "nothing is left behind"
    await grants.fill(link, 0, FakeBody(b"x" * 10))
    assert await grants.used() == 80, "the length is still unknown"
    await grants.fill(link, 10, FakeBody(b"x" * 5), length=15)
    assert await grants.used() == 15
    assert await grants.database.quota_ledger.reconcile(repair=False) == []


async def test_an_expired_link_releases_what_it_did_not_fill(grants: Grants) -> None:
    """The unfinished upload expires, and the pass settles the link once; a complete upload stays."""
    link, upload = await grants.link(length_max=50)
    full, kept = await grants.link(length=20)
    await grants.fill(link, 0, FakeBody(b"x" * 10))
    await grants.fill(full, 0, FakeBody(b"x" * 20))
    assert (await expire_grants(grants.harness.ports)).links == 0
    grants.harness.clock.move(3600)
    assert (await expire_grants(grants.harness.ports)).links == 2
    assert (await expire_grants(grants.harness.ports)).links == 0
    for upload_id, status in ((upload.id, Status.EXPIRED), (kept.id, Status.READY)):
        record = await grants.harness.record(upload_id)
        assert record is not None and record.status is status
    assert await grants.used() == 30
    grants.harness.clock.move(KEPT.total_seconds() + 1)
    assert (await expire_grants(grants.harness.ports)).forgotten == 2


async def test_a_patch_that_runs_at_the_expiry_goes_on(grants: Grants) -> None:
    """The pass leaves the upload to the request that fills it; the next pass ends what is left."""
    link, upload = await grants.link(length=50)
    arrived = asyncio.Event()
    body = WaitingBody(b"x" * 10, arrived, b"x" * 10)
    filling = asyncio.ensure_future(grants.fill(link, 0, body))
    await eventually(lambda: body.is_waiting)
    grants.harness.clock.move(3600)
    assert (await expire_grants(grants.harness.ports)).skipped == 1
    arrived.set()
    assert (await filling).offset == 20
    assert (await expire_grants(grants.harness.ports)).links == 1
    record = await grants.harness.record(upload.id)
    assert record is not None and record.status is Status.EXPIRED


async def test_revoking_ends_the_upload_and_its_running_request(grants: Grants) -> None:
    """The request learns that the link was revoked; after a crash in between, the next pass ends the upload."""
    ports, links = grants.harness.ports, grants.database.links
    link, upload = await grants.link(length=50)
    body = WaitingBody(b"x" * 10, asyncio.Event())
    filling = asyncio.ensure_future(grants.fill(link, 0, body))
    await eventually(lambda: body.is_waiting)
    assert await revoke_link(ports, links, link, None)
    with pytest.raises(LinkEnded):
        await filling
    record = await grants.harness.record(upload.id)
    assert record is not None and record.status is Status.TERMINATED
    assert await grants.used() == 10
    assert not await revoke_link(ports, links, link, None)
    crashed, other = await grants.link(length=50)
    await links.revoke(crashed.id, grants.harness.clock())
    with pytest.raises(LinkEnded):
        await grants.fill(crashed, 0, FakeBody(b"x"))
    assert (await expire_grants(ports)).links == 1
    record = await grants.harness.record(other.id)
    assert record is not None and record.status is Status.TERMINATED
    assert await grants.used() == 10


async def test_terminating_a_code_keeps_what_arrived(grants: Grants) -> None:
    """The running request is stopped, its bytes are recorded, later ones are refused, and the owner goes on."""
    ports, codes = grants.harness.ports, grants.database.codes
    await codes.add(CODE, "digest")
    bearer = Principal(subject="alice", roles=frozenset({Role.CODE}), method="code", grant="code:c1", credential="c1")
    grants.harness.caller = replace(CALLER, owner="alice", principal=bearer)
    upload = (await grants.harness.create(50)).upload
    body = WaitingBody(b"x" * 10, asyncio.Event())
    running = asyncio.ensure_future(grants.append(bearer, upload.id, 0, body))
    await eventually(lambda: body.is_waiting)
    assert await terminate_code(ports, codes, "c1")
    with pytest.raises(CodeEnded):
        await running
    record = await grants.harness.record(upload.id)
    assert record is not None and (record.offset, record.status) == (10, Status.UPLOADING)
    with pytest.raises(CodeEnded):
        await grants.append(bearer, upload.id, 10, FakeBody(b"x"))
    assert (await grants.append(ALICE, upload.id, 10, FakeBody(b"x" * 40))).is_complete
    assert not await terminate_code(ports, codes, "c1")


async def test_a_terminated_code_is_noticed_at_the_next_save(grants: Grants) -> None:
    """If the process that terminates it is killed before it stops the requests, they stop at their next save."""
    codes = grants.database.codes
    grants.harness.policy = replace(grants.harness.policy, save_interval_bytes=5)
    ports = replace(grants.harness.ports, policy=grants.harness.policy)
    grants.harness.ports = ports
    await codes.add(CODE, "digest")
    bearer = Principal(subject="alice", roles=frozenset({Role.CODE}), method="code", grant="code:c1", credential="c1")
    grants.harness.caller = replace(CALLER, owner="alice", principal=bearer)
    upload = (await grants.harness.create(50)).upload
    more = asyncio.Event()
    body = WaitingBody(b"x" * 10, more, b"y" * 10, asyncio.Event())
    running = asyncio.ensure_future(grants.append(bearer, upload.id, 0, body))
    await eventually(lambda: body.is_waiting)
    await codes.terminate("c1", grants.harness.clock())
    more.set()
    with pytest.raises(CodeEnded):
        await running
    record = await grants.harness.record(upload.id)
    assert record is not None and record.offset == 20


async def test_the_end_of_a_code_is_announced_once(grants: Grants) -> None:
    """Shortly before, as one event with its jobs, whatever process looks; again if the code got more time."""
    subscription = Subscription(name="all", actor="webhooks", types=frozenset({EventType.CODE_EXPIRING}))
    codes, clock, queue = grants.database.codes, grants.harness.clock, grants.database.job_queue
    policy = replace(grants.harness.ports.policy, subscriptions=(subscription,))
    ports = replace(grants.harness.ports, policy=policy, job_queue=queue)
    await codes.add(CODE, "digest")
    assert await warn_expiring(ports) == 0
    clock.now = CODE.expires_at - timedelta(seconds=12)
    assert [await warn_expiring(ports), await warn_expiring(ports)] == [1, 0]
    ((_, event),) = await queue.list_events(limit=10)
    assert (event.type, event.upload, event.code) == (EventType.CODE_EXPIRING, None, CODE)
    (job,) = await queue.list_jobs(limit=10)
    assert (job.event_id, job.upload_id, job.sequence_key) == (event.id, "", "code:c1 all")
    assert event_view(event)["code"]["remaining_seconds"] == 12  # type: ignore[index]  # it is an object
    await codes.extend("c1", 60, clock(), clock() + timedelta(hours=1))
    assert await warn_expiring(ports) == 0
    clock.move(60)
    assert await warn_expiring(ports) == 1
