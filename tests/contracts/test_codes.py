"""The access codes of each database: life, limits, guesses, and races for the last file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from tests.support.harness import CALLER, EPOCH, UploadsHarness
from tusd_py.model.codes import FREE_GUESSES, PRESSED_ADDRESSES, AccessCode, CodeState
from tusd_py.model.principal import Principal, Role
from tusd_py.model.upload import Kind
from tusd_py.protocol.access_errors import CodeEnded, CodeLimitReached
from tusd_py.protocol.concat_errors import PartUsedTooOften
from tusd_py.records.sql.database import SqlDatabase

pytestmark = pytest.mark.anyio

NOW = EPOCH
CODE = AccessCode(
    id="c1", owner="alice", created_at=NOW, expires_at=NOW + timedelta(hours=1), files_max=2, bytes_max=100
)
BEARER = Principal(subject="alice", roles=frozenset({Role.CODE}), method="code", grant="code:c1")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[UploadsHarness, SqlDatabase]]:
    """The use cases for the bearer of a code, over the database at ``url``."""
    database = await SqlDatabase.open(url)
    harness = UploadsHarness(records=database.records)
    harness.caller = replace(CALLER, owner="alice", principal=BEARER)
    try:
        yield harness, database
    finally:
        await harness.drain()
        await database.close()


async def counts(database: SqlDatabase) -> tuple[int, int]:
    code = await database.codes.find("c1")
    assert code is not None
    return code.files, code.bytes


async def test_life_of_a_code(url: str) -> None:
    """A code is added once, extended while it lives, up to the latest end, and ended once; then it is forgotten."""
    async with opened(url) as (_, database):
        codes = database.codes
        assert await codes.add(CODE, "d1")
        assert not await codes.add(replace(CODE, id="c2"), "d1")
        assert await codes.find("c1") == CODE
        latest = NOW + timedelta(hours=3)
        assert await codes.extend("c1", 600, NOW, latest)
        assert await codes.extend("c1", 999_999, NOW, latest)
        found = await codes.find("c1")
        assert found is not None and found.expires_at == latest
        assert not await codes.extend("c1", 600, latest, latest + timedelta(hours=3)), "it has expired"
        assert [await codes.terminate("c1", NOW), await codes.terminate("c1", NOW)] == [True, False]
        assert not await codes.extend("c1", 600, NOW, latest)
        found = await codes.find("c1")
        assert found is not None and found.state(NOW) is CodeState.TERMINATED
        assert await codes.prune(latest, 10) == 0
        assert await codes.prune(latest + timedelta(seconds=1), 10) == 1


async def test_the_end_is_announced_once(url: str) -> None:
    """Of two processes one announces the end; after more time it is announced again."""
    async with opened(url) as (_, database):
        codes = database.codes
        await codes.add(CODE, "d1")
        late = CODE.expires_at - timedelta(seconds=5)
        assert await codes.expiring(NOW, NOW + timedelta(seconds=10), 10) == []
        assert await codes.expiring(late, late + timedelta(seconds=10), 10) == [CODE]
        assert [await codes.note_warning("c1", CODE.expires_at, late) for _ in range(2)] == [True, False]
        assert await codes.expiring(late, late + timedelta(seconds=10), 10) == []
        assert await codes.extend("c1", 600, late, NOW + timedelta(hours=9))
        assert len(await codes.expiring(late, late + timedelta(hours=9), 10)) == 1


async def test_wrong_guesses_wait_and_right_ones_from_elsewhere_do_not(url: str) -> None:
    """An address that guesses wrong too often waits, also with the right code; another address does not."""
    async with opened(url) as (_, database):
        codes = database.codes
        await codes.add(CODE, "d1")
        for _ in range(FREE_GUESSES):
            attempt = await codes.redeem(["wrong"], "192.0.2.1", NOW)
            assert (attempt.code, attempt.wait) == (None, None)
        attempt = await codes.redeem(["d1"], "192.0.2.1", NOW)
        assert attempt.code is None and attempt.wait == timedelta(seconds=10)
        assert (await codes.redeem(["other", "d1"], "192.0.2.2", NOW)).code == CODE
        assert (await codes.redeem(["d1"], "192.0.2.1", NOW + timedelta(seconds=10))).code == CODE
        assert (await codes.redeem(["d1"], "192.0.2.2", CODE.expires_at)).code is None


async def test_guessing_from_many_addresses_never_locks_a_fresh_one_out(url: str) -> None:
    """Once many addresses guess, each that guessed wrong waits five minutes; a fresh one is served at once."""
    async with opened(url) as (_, database):
        codes = database.codes
        await codes.add(CODE, "d1")
        for number in range(PRESSED_ADDRESSES):
            assert (await codes.redeem(["wrong"], f"198.51.100.{number}", NOW)).wait is None
        assert (await codes.redeem(["d1"], "198.51.100.7", NOW)).wait == timedelta(minutes=5)
        assert (await codes.redeem(["d1"], "192.0.2.2", NOW)).code == CODE


async def test_guesses_made_together_count_one_by_one(url: str) -> None:
    """Fifty attempts of one address at once, in two processes: no more than the free ones are looked up."""
    async with opened(url) as (_, database):
        other = await SqlDatabase.open(url)
        try:
            attempts = await asyncio.gather(
                *(each.codes.redeem(["wrong"], "192.0.2.1", NOW) for each in (database, other) for _ in range(25))
            )
        finally:
            await other.close()
        assert sum(attempt.wait is None for attempt in attempts) == FREE_GUESSES


async def test_files_and_bytes_are_limited(url: str) -> None:
    """A file or bytes beyond the limits are refused, with what is used; what was never filled is given back."""
    async with opened(url) as (harness, database):
        await database.codes.add(CODE, "d1")
        upload = (await harness.create(60)).upload
        assert upload.grant == "code:c1"
        with pytest.raises(CodeLimitReached) as reached:
            await harness.create(41)
        assert (reached.value.status, "60" in str(reached.value)) == (403, True)
        await harness.append(upload.id, 0, b"x" * 20)
        await harness.terminate(upload.id)
        assert await counts(database) == (1, 20)
        await harness.create(80, b"x" * 80)
        assert await counts(database) == (2, 100)
        with pytest.raises(CodeLimitReached):
            await harness.create(0)


async def test_an_upload_of_unknown_length_grows_up_to_the_limit(url: str) -> None:
    """Without a length the bytes count as they are saved; a body beyond the limit is refused and not recorded."""
    async with opened(url) as (harness, database):
        await database.codes.add(CODE, "d1")
        upload = (await harness.create(None)).upload
        await harness.append(upload.id, 0, b"x" * 90)
        with pytest.raises(CodeLimitReached):
            await harness.append(upload.id, 90, b"x" * 11)
        assert await counts(database) == (1, 90)
        recorded = await harness.record(upload.id)
        assert recorded is not None and recorded.offset == 90


async def test_a_parallel_upload_is_one_file(url: str) -> None:
    """Parts count their bytes, their final upload counts as a file; no part can be used twice."""
    async with opened(url) as (harness, database):
        await database.codes.add(CODE, "d1")
        parts = [(await harness.create(10, b"x" * 10, kind=Kind.PARTIAL)).upload.id for _ in range(2)]
        await harness.create(None, kind=Kind.FINAL, parts=parts)
        assert await counts(database) == (1, 20)
        with pytest.raises(PartUsedTooOften):
            await harness.create(None, kind=Kind.FINAL, parts=parts)


async def test_two_processes_race_for_the_last_file(url: str) -> None:
    """Of forty creations in two processes exactly two succeed, and the count says so."""
    async with opened(url) as (harness, database):
        await database.codes.add(CODE, "d1")
        async with opened(url) as (other, _):
            other.ids = count(1000)
            other.restart()
            results = await asyncio.gather(
                *(each.create(1) for each in (harness, other) for _ in range(20)), return_exceptions=True
            )
        refused = [each for each in results if isinstance(each, CodeLimitReached)]
        assert (len(refused), await counts(database)) == (38, (2, 2))


async def test_an_ended_code_creates_nothing_and_a_running_upload_may_end(url: str) -> None:
    """After its expiry nothing new is created, but the bytes of an upload that runs are recorded."""
    async with opened(url) as (harness, database):
        await database.codes.add(CODE, "d1")
        upload = (await harness.create(None)).upload
        harness.clock.move(3600)
        with pytest.raises(CodeEnded):
            await harness.create(1)
        await harness.append(upload.id, 0, b"x")
        assert await counts(database) == (1, 1)
