"""Erasing an owner, in each database: credentials, uploads, events, quotas and the audit log."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.harness import CALLER, EPOCH, UploadsHarness
from tusd_py.access.audit import AuditTrail, record
from tusd_py.access.audit_sealing import seal_entries, verify
from tusd_py.access.quota import QuotaPolicy
from tusd_py.model.account import Account, ApiKey
from tusd_py.model.audit import AuditActor, AuditFilter, AuditKind
from tusd_py.model.events import EventType
from tusd_py.model.jobs import Subscription
from tusd_py.model.principal import Role
from tusd_py.model.quota import Quota, QuotaLimits, QuotaPeriods
from tusd_py.model.upload import Kind
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.uploads.erase import erase_owner

pytestmark = pytest.mark.anyio

ROLES = frozenset({Role.UPLOADER})
RECORDING = Subscription(name="events.record", actor="", types=frozenset(EventType))
WEBHOOK = Subscription(name="library", actor="webhooks", types=frozenset({EventType.POST_TERMINATE}))


@asynccontextmanager
async def opened(url: str, *subscriptions: Subscription) -> AsyncIterator[tuple[UploadsHarness, SqlDatabase]]:
    database = await SqlDatabase.open(url)
    harness = UploadsHarness(records=database.records, subscriptions=(RECORDING, *subscriptions))
    harness.ports = replace(
        harness.ports,
        quotas=QuotaPolicy(limits=QuotaLimits(bytes_per_day=1000)),
        quota_ledger=database.quota_ledger,
        job_queue=database.job_queue,
        personal_data=database.personal_data,
        audit=AuditTrail(log=database.audit_log, clock=harness.clock),
        audit_log=database.audit_log,
    )
    try:
        yield harness, database
    finally:
        await harness.drain()
        await database.close()


async def upload_as(harness: UploadsHarness, owner: str) -> str:
    harness.caller = replace(CALLER, owner=owner)
    await harness.create(4, b"abcd", kind=Kind.PARTIAL, metadata="filename c2VjcmV0LnR4dA==")
    return (await harness.create(4, b"ab", metadata="filename c2VjcmV0LnR4dA==")).upload.id


async def test_everything_of_the_owner_is_erased(url: str) -> None:
    """Afterwards no row has the name or the metadata, another owner's rows are as before, and quotas still add up."""
    async with opened(url) as (harness, database):
        for name in ("alice", "bob"):
            await database.accounts.add(Account(id=name, name=name, password_hash="h", roles=ROLES, created_at=EPOCH))
            key = ApiKey(id=name, digest="d", label="", owner=name, roles=ROLES, verbs=None, created_at=EPOCH)
            await database.api_keys.add(key)
        mine, theirs = await upload_as(harness, "alice"), await upload_as(harness, "bob")
        await database.quota_ledger.change_limits("user:alice", {Quota.BYTES_PER_DAY: 5000})
        assert harness.ports.audit is not None
        actor = AuditActor("alice", "account", "192.0.2.7")
        await database.audit_log.append([harness.ports.audit.entry(actor, "login", AuditKind.SESSION, "s")])

        done = await erase_owner(harness.ports, database.personal_data, "alice")

        assert (done.had_account, done.keys, done.deleted, done.kept) == (True, 1, 2, ())
        assert done.erased.events_left == 0
        assert await database.accounts.find("alice") is None
        assert await database.api_keys.list_keys(owner="alice") == []
        erased, kept = await database.records.find(mine), await database.records.find(theirs)
        assert erased is not None
        assert (erased.owner, erased.metadata_header, erased.has_ended) == (done.pseudonym, None, True)
        assert kept is not None
        assert (kept.owner, kept.metadata_header is None, kept.has_ended) == ("bob", False, False)
        events = [event for _, event in await database.job_queue.list_events(after=0, limit=100)]
        owners = {event.upload.owner for event in events if event.upload is not None}
        assert owners == {"bob"}
        periods = QuotaPeriods("1970-01-01", "1970-01")
        assert await database.quota_ledger.find_limits("user:alice") == {}
        assert [each.used for each in await database.quota_ledger.usage("user:alice", periods) if each.used] == []
        assert await database.quota_ledger.reconcile(repair=False) == []
        entries = await database.audit_log.list_entries(AuditFilter(), limit=100)
        assert not [each for each in entries if "alice" in repr(each)]
        assert await database.accounts.find("bob") is not None
        assert len(await database.api_keys.list_keys(owner="bob")) == 1


async def test_an_audit_log_that_is_off_by_now_is_erased_too(url: str) -> None:
    """Its chain stays valid; where nothing was ever recorded, nothing is."""
    async with opened(url) as (harness, database):
        trail = harness.ports.audit
        assert trail is not None
        harness.ports = replace(harness.ports, audit=None)
        await erase_owner(harness.ports, database.personal_data, "alice")
        assert await database.audit_log.page(0, 10) == []
        await record(trail, AuditActor("alice", "account", "192.0.2.7"), "login", AuditKind.SESSION, "s")
        await seal_entries(trail)
        await erase_owner(harness.ports, database.personal_data, "alice")
        assert not [each for each in await database.audit_log.page(0, 10) if "alice" in repr(each)]
        found = await verify(database.audit_log)
        assert (found.problems, found.erased) == ([], 1)


async def test_events_are_delivered_first(url: str) -> None:
    """An event that a webhook has not got yet stays, and is erased the next time."""
    async with opened(url, WEBHOOK) as (harness, database):
        await upload_as(harness, "alice")
        assert (await erase_owner(harness.ports, database.personal_data, "alice")).erased.events_left > 0
        now = harness.clock()
        while jobs := await database.job_queue.claim(now, now + timedelta(minutes=1), 10):
            for job in jobs:
                await database.job_queue.complete(job, now)
        assert (await erase_owner(harness.ports, database.personal_data, "alice")).erased.events_left == 0
        assert await database.job_queue.list_events(after=0, limit=100) == []


async def test_no_column_of_any_table_names_the_owner(tmp_path: Path) -> None:
    """Also columns that other features have added: nothing in the file names the owner, or the file of the owner."""
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    async with opened(url) as (harness, database):
        await upload_as(harness, "alice")
        await erase_owner(harness.ports, database.personal_data, "alice")
    with closing(sqlite3.connect(tmp_path / "records.sqlite3")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert "uploads" in tables
        for table in tables:
            rows = repr(connection.execute(f'SELECT * FROM "{table}"').fetchall())
            assert [word for word in ("alice", "secret", "c2VjcmV0") if word in rows] == [], table
