"""Several servers on one PostgreSQL, with locks in Redis or in the database: takeover, and what fails under them."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from tests.network.test_takeover import EXPECTED, MEDIAN_SECONDS, finish, take_over
from tests.support.client import TUS, Connection, create, patch_headers
from tests.support.content import MIB, content
from tests.support.machines import Machines, machines
from tests.support.postgres import shared_server
from tests.support.redis import RunningRedis, restartable_redis
from tests.support.stored import assert_stored, head, upload_id
from tests.support.waiting import eventually

pytestmark = [pytest.mark.timeout(180), pytest.mark.anyio]

TRIES = 10
LEASE_SECONDS = 2


@pytest.fixture
def redis() -> Iterator[RunningRedis]:
    with restartable_redis() as running:
        yield running


@pytest.fixture(params=["redis", "records"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    """Two servers with locks in Redis or in the records' database."""
    with ExitStack() as stack:
        settings = {"LOCKING__KIND": request.param}
        if request.param == "redis":
            settings["REDIS__URL"] = stack.enter_context(restartable_redis()).url
        yield stack.enter_context(machines(tmp_path, 2, shared_server(), settings))


@pytest.mark.parametrize(
    "method", ["PATCH", *(pytest.param(name, marks=pytest.mark.long) for name in ("HEAD", "DELETE"))]
)
async def test_takeover_between_two_servers(pair: Machines, method: str) -> None:
    """HEAD, PATCH and DELETE at another server take over without waiting for the lease to end."""
    one, other = pair.servers
    waits = []
    for first, second in [(one, other), (other, one)] * (TRIES // 2):
        holder, newcomer = await Connection.open(first.url), await Connection.open(second.url)
        takeover = await take_over(first, method, holder, newcomer)
        assert (takeover.newcomer.status, takeover.newcomer.offset) == EXPECTED[method]
        assert 400 <= takeover.holder.status < 500
        assert takeover.holder.status not in (409, 423)
        await finish(second, takeover, method)
        waits.append(takeover.seconds)
        holder.close()
        newcomer.close()
    print(f"{method}: median {statistics.median(waits) * 1000:.1f} ms, at most {max(waits) * 1000:.1f} ms")
    assert statistics.median(waits) < MEDIAN_SECONDS


@pytest.mark.parametrize("method", ["HEAD", "PATCH"])
async def test_request_whose_client_has_left_waits_no_longer(tmp_path: Path, method: str) -> None:
    """While a dead server's lease lasts, a client sends a request and leaves: the request ends long before its time.

    Otherwise it would interrupt what the same client begins at another server meanwhile. The body of the PATCH is not
    read while it waits, so the server has to find out without reading.
    """
    settings = {"LOCKING__KIND": "records", "LOCKING__LEASE_SECONDS": "60", "UPLOADS__LOCK_TIMEOUT_SECONDS": "60"}
    postgres = shared_server()
    database = postgres.create_database()
    with machines(tmp_path, 1, postgres, settings, database=database) as one:
        server = one.servers[0]
        url = await create(server.url, 4 * MIB)
        with closing(psycopg.connect(postgres.url(database), autocommit=True)) as connection:
            ends_at = "extract(epoch FROM clock_timestamp()) * 1000 + 60000"
            connection.execute(
                f"INSERT INTO locks (key, owner, ends_at) VALUES (%s, 'dead 1', {ends_at})".encode(), [upload_id(url)]
            )
        client = await Connection.open(url)
        if method == "PATCH":
            await client.send_head(method, url, patch_headers(0, 4 * MIB))
            # What the connection takes without being read: the end comes after these bytes.
            await client.send(content(1, 300_000))
        else:
            await client.send_head(method, url, TUS)
        answered = f'"method": "{method}"'
        await asyncio.sleep(0.5)
        assert answered not in server.log.read_text()
        client.close()
        await eventually(lambda: answered in server.log.read_text(), "the request has ended", 30)


async def test_upload_of_a_killed_server_goes_on_elsewhere(tmp_path: Path) -> None:
    """After kill -9 in the middle of PATCHes, another server continues them when the lease has ended."""
    settings = {"LOCKING__KIND": "records", "LOCKING__LEASE_SECONDS": str(LEASE_SECONDS)}
    data = [content(number, 4 * MIB) for number in range(4)]
    with machines(tmp_path, 2, shared_server(), settings) as pair:
        uploads = [pair.upload(piece, rate=MIB) for piece in data]
        async with asyncio.TaskGroup() as group:
            for upload in uploads:
                group.create_task(upload.run())
            await asyncio.sleep(1.5)
            killed = pair.servers.pop(0)
            killed.kill()
            for upload in uploads:
                upload.rate = float("inf")
        for upload in uploads:
            assert upload.url is not None
            assert_stored(pair.servers[0], upload.url, upload.content)


def restart(redis: RunningRedis) -> None:
    """Redis loses everything, and every connection."""
    redis.restart()


def flush(redis: RunningRedis) -> None:
    """Redis loses everything."""
    with Redis.from_url(redis.url) as client:
        client.flushall()


def pause(redis: RunningRedis) -> None:
    """Redis answers nothing for longer than a lease."""
    os.kill(redis.pid, signal.SIGSTOP)


def resume(redis: RunningRedis) -> None:
    """Redis answers again, and executes what it has received meanwhile."""
    os.kill(redis.pid, signal.SIGCONT)


def refuse_writes(redis: RunningRedis) -> None:
    """Redis is a replica of a server that does not exist: it refuses every write."""
    with Redis.from_url(redis.url) as client:
        client.replicaof("127.0.0.1", 1)


def accept_writes(redis: RunningRedis) -> None:
    """Redis is its own master again."""
    with Redis.from_url(redis.url) as client:
        client.replicaof("NO", "ONE")


FAULTS: dict[str, tuple[Callable[[RunningRedis], None], Callable[[RunningRedis], None]]] = {
    "restart": (restart, flush),
    "flush": (flush, flush),
    "pause": (pause, resume),
    "read-only": (refuse_writes, accept_writes),
}


@pytest.mark.parametrize("fault", [pytest.param(name, marks=[pytest.mark.long] * (name != "pause")) for name in FAULTS])
async def test_redis_fails_during_uploads(tmp_path: Path, redis: RunningRedis, fault: str) -> None:
    """Eight uploads, scattered over two servers, end completely and right whatever happens to Redis, three times."""
    settings = {
        "LOCKING__KIND": "redis",
        "LOCKING__LEASE_SECONDS": str(LEASE_SECONDS),
        "REDIS__URL": redis.url,
        "UPLOADS__LOCK_TIMEOUT_SECONDS": "1",
    }
    begin, end = FAULTS[fault]
    with machines(tmp_path, 2, shared_server(), settings) as pair:
        uploads = [pair.upload(content(number, 6 * MIB), rate=MIB) for number in range(8)]
        async with asyncio.TaskGroup() as group:
            for upload in uploads:
                group.create_task(upload.run())
            for _ in range(3):
                await asyncio.sleep(0.5)
                await asyncio.to_thread(begin, redis)
                await asyncio.sleep(LEASE_SECONDS + 0.5)
                await asyncio.to_thread(end, redis)
            for upload in uploads:
                upload.rate = float("inf")
        for upload in uploads:
            assert upload.url is not None
            assert_stored(pair.servers[0], upload.url, upload.content)
            assert head(pair.servers[1], upload.url)[1]["upload-offset"] == str(len(upload.content))
        with Redis.from_url(redis.url) as client:
            assert [] == [key for key in client.scan_iter("tusd-py:lock:*") if b"sweeper" not in key]
