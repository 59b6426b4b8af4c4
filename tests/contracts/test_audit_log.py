"""The audit log of each database: order, filters, transactions with records, the hash chain, pruning and erasure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.harness import CALLER, EPOCH, Clock, UploadsHarness
from tusd_py.access.audit import AuditTrail, record
from tusd_py.access.audit_sealing import anchor, erase_person, new_pseudonym, prune_entries, seal_entries, verify
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.audit import AuditActor, AuditFilter, AuditKind, AuditOutcome, RecordedEntry
from tusd_py.model.audit_chain import erased_salt
from tusd_py.model.principal import Principal
from tusd_py.records.sql.audit_log import SqlAuditLog
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.driver import open_driver
from tusd_py.uploads.commit import update

pytestmark = pytest.mark.anyio

ALICE = AuditActor("alice", "jwt", "192.0.2.7")
BOB = AuditActor("bob", "jwt", "192.0.2.8")
ALL = AuditFilter()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[AuditTrail, SqlDatabase, Clock]]:
    database, clock = await SqlDatabase.open(url), Clock()
    trail = AuditTrail(log=database.audit_log, clock=clock, keep_seconds=3600)
    try:
        yield trail, database, clock
    finally:
        await trail.close()
        await database.close()


async def record_many(trail: AuditTrail, count: int, actor: AuditActor = ALICE) -> None:
    entries = [trail.entry(actor, "create", AuditKind.UPLOAD, f"u{number}") for number in range(count)]
    await trail.log.append(entries)


async def listed(audit_log: SqlAuditLog, matching: AuditFilter = ALL) -> list[str]:
    """Verb and object of every matching entry, oldest first."""
    found = await audit_log.list_entries(matching, limit=1000)
    return [f"{each.entry.verb} {each.entry.object_id}" for each in reversed(found)]


def tamper(url: str, statement: str) -> None:
    """Change the database behind the back of the audit log."""
    connection = open_driver(url).connect()
    with connection.writing(durable=False):
        connection.execute(statement, {})
    connection.close()


async def test_entries_are_listed_newest_first_and_by_filter(url: str) -> None:
    """Each filter alone, several together, times, and pages by number."""
    async with opened(url) as (trail, database, clock):
        await record(trail, ALICE, "create", AuditKind.UPLOAD, "u1")
        clock.move(10)
        await record(trail, BOB, "revoke", AuditKind.KEY, "k1")
        await trail.log.append([trail.entry(BOB, "terminate", AuditKind.UPLOAD, "u1", AuditOutcome.REFUSED, "404")])
        audit_log = database.audit_log
        assert await listed(audit_log) == ["create u1", "revoke k1", "terminate u1"]
        for matching, expected in (
            (AuditFilter(subject="alice"), ["create u1"]),
            (AuditFilter(verb="revoke"), ["revoke k1"]),
            (AuditFilter(kind=AuditKind.UPLOAD), ["create u1", "terminate u1"]),
            (AuditFilter(object_id="u1", subject="bob"), ["terminate u1"]),
            (AuditFilter(outcome=AuditOutcome.REFUSED), ["terminate u1"]),
            (AuditFilter(address="192.0.2.7"), ["create u1"]),
            (AuditFilter(since=EPOCH + timedelta(seconds=10)), ["revoke k1", "terminate u1"]),
            (AuditFilter(until=EPOCH + timedelta(seconds=10)), ["create u1"]),
            (AuditFilter(subject="carol"), []),
        ):
            assert await listed(audit_log, matching) == expected, matching
        newest, second = await audit_log.list_entries(ALL, limit=2)
        (third,) = await audit_log.list_entries(ALL, before=second.number, limit=2)
        assert [each.entry.verb for each in (newest, second, third)] == ["terminate", "revoke", "create"]
        assert newest.entry.reason == "404"
        assert newest.entry.at == clock()


async def test_pages_of_several_filters_examine_a_bounded_number(url: str) -> None:
    """A page may have few entries although there are more; all pages together have each entry once, newest first."""
    async with opened(url) as (trail, database, clock):
        for number in range(6):
            await record_many(trail, 250, ALICE)
            clock.move(1)
            rare = trail.entry(ALICE, "revoke", AuditKind.KEY, f"k{number}", AuditOutcome.REFUSED)
            await trail.log.append([rare])
        for matching in (
            AuditFilter(subject="alice", kind=AuditKind.KEY),
            AuditFilter(address="192.0.2.7", verb="revoke"),
            AuditFilter(subject="alice", outcome=AuditOutcome.REFUSED, until=EPOCH + timedelta(seconds=9)),
        ):
            found: list[str] = []
            before, pages = None, 0
            while pages < 99:
                page = await database.audit_log.search(matching, before=before, limit=4)
                found += [each.entry.object_id for each in page.entries]
                assert len(page.entries) <= 4
                before, pages = page.next, pages + 1
                if before is None:
                    break
            assert found == [f"k{number}" for number in range(5, -1, -1)]
            assert pages > 2
            assert [each.entry.object_id for each in await database.audit_log.list_entries(matching, limit=9)] == found
        newest = await database.audit_log.search(AuditFilter(kind=AuditKind.KEY), limit=6)
        assert (len(newest.entries), newest.next) == (6, None)
        assert (await database.audit_log.search(ALL, before=1, limit=6)).entries == []


async def test_a_clock_that_was_set_back_hides_no_entry(url: str) -> None:
    """Lists are in the order of time; entries of the same time in that of their numbers, on every page once."""
    async with opened(url) as (trail, database, clock):
        for seconds in (0, 10, 5, 5, 5, 20, 1):
            clock.now = EPOCH + timedelta(seconds=seconds)
            await record_many(trail, 1)
        everything = await database.audit_log.list_entries(ALL, limit=99)
        assert [(each.entry.at - EPOCH).seconds for each in everything] == [20, 10, 5, 5, 5, 1, 0]
        numbers: list[int] = []
        before = None
        while page := await database.audit_log.list_entries(ALL, before=before, limit=2):
            numbers += [each.number for each in page]
            before = numbers[-1]
        assert numbers == [each.number for each in everything] == [6, 2, 5, 4, 3, 7, 1]
        late = AuditFilter(since=EPOCH + timedelta(seconds=5), until=EPOCH + timedelta(seconds=11))
        assert [each.number for each in await database.audit_log.list_entries(late, limit=9)] == [2, 5, 4, 3]


async def test_entry_of_a_change_is_written_with_it(url: str) -> None:
    """Creation, completion and termination are recorded with the record; a change that is refused leaves no entry."""
    async with opened(url) as (trail, database, _):
        harness = UploadsHarness(records=database.records)
        harness.caller = replace(CALLER, client="192.0.2.7", principal=Principal(subject="alice", method="jwt"))
        harness.ports = replace(harness.ports, audit=trail)
        upload = (await harness.create(4)).upload
        await harness.append(upload.id, 0, b"ab")
        await harness.append(upload.id, 2, b"cd")
        await harness.terminate(upload.id)
        expected = [f"{verb} {upload.id}" for verb in ("create", "finish", "terminate")]
        assert await listed(database.audit_log) == expected
        (first,) = await database.audit_log.list_entries(AuditFilter(verb="create"), limit=1)
        assert (first.entry.subject, first.entry.method, first.entry.address) == ("alice", "jwt", "192.0.2.7")
        found = await harness.records.find(upload.id)
        assert found is not None
        stale = replace(found, token=found.token - 1)
        with pytest.raises(RecordConflict):
            await update(harness.ports, stale, stale.claimed_by("bob"))
        assert await listed(database.audit_log) == expected
        await harness.drain()


async def test_many_writers_keep_the_order_of_the_numbers(url: str) -> None:
    """Entries of concurrent writers have distinct numbers, and a reader that seals meanwhile misses none of them."""
    async with opened(url) as (trail, database, _), opened(url) as (other, _, _):
        writes = [record_many(each, 20) for each in (trail, other) for _ in range(10)]
        sealing = [seal_entries(each) for each in (trail, other, trail, other)]
        await asyncio.gather(*writes, *sealing)
        await seal_entries(trail)
        found = await verify(database.audit_log)
        assert (found.problems, found.entries, found.unsealed) == ([], 400, 0)


async def test_sealing_covers_each_entry_once(url: str) -> None:
    """A second call seals only what is new, and logs anchors that verify knows again."""
    async with opened(url) as (trail, database, _):
        await record_many(trail, 700)
        assert await seal_entries(trail) == 700
        assert await seal_entries(trail) == 0
        await record_many(trail, 3)
        found = await verify(database.audit_log)
        assert (found.problems, found.seals, found.entries, found.unsealed) == ([], 2, 700, 3)
        assert await seal_entries(trail) == 3
        seals = await database.audit_log.seals(0, 10)
        anchors = {int(number): value for number, _, value in (anchor(each).partition(":") for each in seals)}
        assert (await verify(database.audit_log, b"", anchors)).problems == []
        anchors[2] = "0" * 64
        anchors[4] = "0" * 64
        problems = (await verify(database.audit_log, b"", anchors)).problems
        assert problems == [
            "seal 2 is not the one whose anchor was logged",
            "seal 4, whose anchor was logged, is missing",
        ]


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE audit_entries SET subject = 'mallory' WHERE number = 2", "entry 2 was changed"),
        ("UPDATE audit_entries SET address = '' WHERE number = 2", "entry 2 was changed"),
        ("UPDATE audit_entries SET verb = 'inspect' WHERE number = 3", "entry 3 was changed"),
        ("UPDATE audit_entries SET at = at + 1 WHERE number = 3", "entry 3 was changed"),
        ("UPDATE audit_entries SET salt = 'no salt' WHERE number = 3", "entry 3 was changed"),
        ("UPDATE audit_entries SET salt = '::' WHERE number = 3", "entry 3 was changed"),
        ("UPDATE audit_entries SET kind = 'nothing' WHERE number = 3", "entry 3 was changed"),
        ("UPDATE audit_entries SET outcome = '' WHERE number = 3", "entry 3 was changed"),
        ("UPDATE audit_entries SET at = 9000000000000000000 WHERE number = 3", "entry 3 was changed"),
        ("UPDATE audit_seals SET digests = 'no JSON' WHERE number = 2", "the digests of seal 2 were changed"),
        ("UPDATE audit_seals SET digests = '[1]' WHERE number = 2", "the digests of seal 2 were changed"),
        ("DELETE FROM audit_entries WHERE number = 4", "entry 4 was removed"),
        ("DELETE FROM audit_seals WHERE number = 1", "the seals before seal 2 are missing, and it is no checkpoint"),
        ("DELETE FROM audit_seals WHERE number = 2", "the seals between 1 and 3 are missing"),
        ("UPDATE audit_seals SET count = 1 WHERE number = 2", "seal 2 was changed, or was made with another"),
        ("UPDATE audit_seals SET digests = '{}' WHERE number = 2", "seal 2 has no entries but is not the first seal"),
        ("UPDATE audit_seals SET digests = '' WHERE number = 1", "the entries up to seal 1 are missing"),
    ],
)
async def test_a_changed_database_shows(url: str, statement: str, problem: str) -> None:
    """Every change behind the back of the log is found, and named."""
    async with opened(url) as (trail, database, _):
        for _ in range(3):
            await record_many(trail, 2)
            await seal_entries(trail)
        assert (await verify(database.audit_log)).problems == []
    tamper(url, statement)
    async with opened(url) as (_, database, _):
        problems = (await verify(database.audit_log)).problems
        assert any(problem in each for each in problems), problems


async def test_an_added_entry_shows(url: str) -> None:
    """A row that is inserted among sealed entries is in no seal."""
    async with opened(url) as (trail, database, _):
        await record_many(trail, 3)
        await seal_entries(trail)
    tamper(url, "UPDATE audit_entries SET number = 9 WHERE number = 3")
    tamper(url, "UPDATE audit_entries SET number = 3 WHERE number = 2")
    async with opened(url) as (_, database, _):
        problems = (await verify(database.audit_log)).problems
        assert problems == ["entry 3 was changed", "entry 2 was removed"]


async def test_only_the_holder_of_the_key_can_seal(url: str) -> None:
    """With a key the chain is valid for that key only."""
    async with opened(url) as (trail, database, _):
        trail.seal_key = b"key"
        await record_many(trail, 2)
        await seal_entries(trail)
        assert (await verify(database.audit_log, b"key")).problems == []
        assert len((await verify(database.audit_log, b"other")).problems) == 1
        assert len((await verify(database.audit_log)).problems) == 1


async def test_pruned_entries_leave_a_checkpoint(url: str) -> None:
    """Old seals go with their entries; the chain begins with a checkpoint, and stays valid after another pruning."""
    async with opened(url) as (trail, database, clock):
        for _ in range(4):
            await record_many(trail, 2)
            await seal_entries(trail)
            clock.move(1200)
        assert await prune_entries(trail) == 2
        assert await prune_entries(trail) == 0
        found = await verify(database.audit_log)
        assert (found.problems, found.seals, found.entries, found.unsealed) == ([], 4, 6, 1)
        await seal_entries(trail)
        clock.move(2401)
        assert await prune_entries(trail) == 6
        found = await verify(database.audit_log, b"", {1: "pruned long ago"})
        assert (found.problems, found.seals, found.entries, found.unsealed) == ([], 2, 1, 1)
        assert await listed(database.audit_log) == ["prune 1", "prune 4"]


async def test_erased_person_leaves_a_valid_chain(url: str) -> None:
    """Subject, address and id of an account or quota become a pseudonym; verify accepts it."""
    async with opened(url) as (trail, database, _):
        await record_many(trail, 600)
        await record(trail, BOB, "disable", AuditKind.ACCOUNT, "alice")
        await record(trail, BOB, "set", AuditKind.QUOTA, "user:alice")
        await record(trail, BOB, "terminate", AuditKind.UPLOAD, "alice")
        await seal_entries(trail)
        await record(trail, ALICE, "create", AuditKind.UPLOAD, "unsealed")
        pseudonym = new_pseudonym()
        await erase_person(trail, "alice", pseudonym, ALICE)
        await seal_entries(trail)
        found = await verify(database.audit_log)
        assert (found.problems, found.erased) == ([], 603)
        assert await listed(database.audit_log, AuditFilter(subject="alice")) == []
        assert len(await listed(database.audit_log, AuditFilter(subject=pseudonym))) == 603
        assert await listed(database.audit_log, AuditFilter(subject="bob")) == [
            f"disable {pseudonym}",
            f"set {pseudonym}",
            "terminate alice",
        ]
        assert "192.0.2.7" not in {each.entry.address for each in await everything(database.audit_log)}
        # Another erasure keeps what is erased already.
        await erase_person(trail, "bob", new_pseudonym(), BOB)
        assert (await verify(database.audit_log)).problems == []


async def test_a_false_erasure_shows(url: str) -> None:
    """An entry cannot be given to another person by declaring its subject erased."""
    async with opened(url) as (trail, database, _):
        await record_many(trail, 2)
        await erase_person(trail, "alice", new_pseudonym(), BOB)
        await seal_entries(trail)
    tamper(url, "UPDATE audit_entries SET subject = 'bob' WHERE number = 1")
    tamper(url, "UPDATE audit_entries SET subject = 'erased-0123' WHERE number = 2")
    async with opened(url) as (_, database, _):
        assert (await verify(database.audit_log)).problems == [
            "entry 1 has an erased field without a pseudonym",
            "entry 2 names erased-0123, whose erasure is not in the log",
        ]


async def test_a_pseudonym_is_given_to_no_other_entry(url: str) -> None:
    """Who knows the salt of an entry can erase its subject too: the number of entries that were erased shows it."""
    async with opened(url) as (trail, database, _):
        await record_many(trail, 2)
        await record_many(trail, 1, BOB)
        pseudonym = new_pseudonym()
        await erase_person(trail, "alice", pseudonym, BOB)
        await seal_entries(trail)
        assert (await verify(database.audit_log)).problems == []
        forged = (await database.audit_log.page(2, 1))[0]
        assert forged.entry.subject == "bob"
    salt = erased_salt(forged, {"subject", "address"})
    tamper(url, f"UPDATE audit_entries SET subject = '{pseudonym}', address = '', salt = '{salt}' WHERE number = 3")
    async with opened(url) as (_, database, _):
        problems = (await verify(database.audit_log)).problems
        assert problems == [f"3 entries name {pseudonym}, whose erasure changed 2"]


async def test_entries_that_are_deleted_while_they_are_verified_are_no_problem(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention may run at the same time."""
    async with opened(url) as (trail, database, clock):
        for _ in range(3):
            await record_many(trail, 2)
            await seal_entries(trail)
            clock.move(1800)
        page = SqlAuditLog.page

        async def page_after_pruning(log: SqlAuditLog, after: int, limit: int) -> list[RecordedEntry]:
            await prune_entries(trail)
            return await page(log, after, limit)

        monkeypatch.setattr(SqlAuditLog, "page", page_after_pruning)
        found = await verify(database.audit_log)
        assert (found.problems, found.has_checkpoint) == ([], True)


async def everything(audit_log: SqlAuditLog) -> list[RecordedEntry]:
    return await audit_log.page(0, 10_000)


async def test_refusals_are_bounded(url: str) -> None:
    """Ten refusals of an address and a hundred of all are recorded in a minute; the next tells how many were not."""
    async with opened(url) as (trail, database, clock):
        dropped: list[int] = []
        trail.on_dropped = dropped.append
        for number in range(250):
            trail.record_refusal(replace_address(ALICE, "192.0.2.7"), "append", AuditKind.UPLOAD, "u", "404")
            trail.record_refusal(replace_address(ALICE, f"198.51.100.{number}"), "append", AuditKind.UPLOAD, "u", "404")
        clock.move(61)
        trail.record_refusal(ALICE, "append", AuditKind.UPLOAD, "u", "404")
        await trail.close()
        assert len(await everything(database.audit_log)) == 101
        assert sum(dropped) == 400
        (newest,) = await database.audit_log.list_entries(ALL, limit=1)
        assert newest.entry.reason == "404 (and 240 more that were not recorded)"


def replace_address(actor: AuditActor, address: str) -> AuditActor:
    return replace(actor, address=address)


@pytest.mark.parametrize(("addresses", "expected"), [("full", "192.0.2.7"), ("network", "192.0.2.0/24"), ("none", "")])
async def test_addresses_are_recorded_as_the_settings_want_them(url: str, addresses: str, expected: str) -> None:
    """The privacy switch applies to every entry."""
    async with opened(url) as (trail, database, _):
        trail.addresses = addresses  # type: ignore[assignment]  # one of its values
        await record(trail, ALICE, "create", AuditKind.UPLOAD, "u\n" + "x" * 1000)
        (recorded,) = await everything(database.audit_log)
        assert recorded.entry.address == expected
        assert recorded.entry.object_id == "u\\n" + "x" * 498
