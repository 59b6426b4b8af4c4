"""A node that is cut off from Redis or PostgreSQL acknowledges nothing, says so, and comes back clean."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.client import TUS, Answer, PatientUpload, create, patch_headers, request
from tests.support.content import MIB, content, sha256
from tests.support.machines import at_server
from tests.support.namespaces import Cable, Relay, separate_network
from tests.support.postgres import PostgresServer, shared_server
from tests.support.redis import RunningRedis, restartable_redis
from tests.support.server import RunningServer, start_server
from tests.support.stored import upload_id

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300), pytest.mark.long]

LEASE_SECONDS = 3
#: So long a cut may take to be noticed: the time that PostgreSQL has to answer, and more for a slow machine.
NOTICE_SECONDS = 60.0
LENGTH = 3 * MIB


@dataclass
class Pair:
    """A node behind cables, and one beside the services; both are reached by clients at any time."""

    node: RunningServer
    other: RunningServer
    cables: Mapping[str, Cable]
    statuses: list[tuple[str, int]] = field(default_factory=list)

    async def readiness(self, server: RunningServer) -> int:
        """The status of ``/readyz``; 0 without an answer."""
        with suppress(OSError, TimeoutError):
            return (await asyncio.wait_for(request("GET", f"{server.root}/readyz"), 15)).status
        return 0


@asynccontextmanager
async def pair(directory: Path, locking: str) -> AsyncIterator[Pair]:
    """Start both; the node reaches PostgreSQL and Redis over a cable each."""
    postgres = shared_server()
    database = postgres.create_database()
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(restartable_redis())
        network = stack.enter_context(separate_network())
        cables = {name: network.add_cable() for name in ("clients", "database", "redis")}
        addresses = {}
        for name, relay in {"database": _to_postgres(postgres), "redis": _to_redis(redis)}.items():
            await relay.start(cables[name].outside)
            stack.push_async_callback(relay.stop)
            addresses[name] = f"{cables[name].outside}:{relay.port}"
        shared = {
            "LOCKING__KIND": locking,
            "LOCKING__LEASE_SECONDS": str(LEASE_SECONDS),
            "UPLOADS__LOCK_TIMEOUT_SECONDS": "2",
            "WORKER__MODE": "separate",
        }
        other = await asyncio.to_thread(
            start_server,
            directory / "data",
            settings={**shared, "RECORDS__URL": postgres.url(database), "REDIS__URL": redis.url},
            log=directory / "other.log",
        )
        stack.callback(other.kill)
        node = await asyncio.to_thread(
            start_server,
            directory / "data",
            "--host",
            cables["clients"].inside,
            settings={
                **shared,
                "RECORDS__URL": f"postgresql://tusd@{addresses['database']}/{database}",
                "REDIS__URL": f"redis://{addresses['redis']}/0",
            },
            log=directory / "node.log",
            program=(*network.program, sys.executable, "-m", "tusd_py"),
        )
        stack.callback(node.kill)
        yield Pair(node, other, cables)


def _to_postgres(postgres: PostgresServer) -> Relay:
    return Relay(lambda: asyncio.open_connection("127.0.0.1", postgres.port))


def _to_redis(redis: RunningRedis) -> Relay:
    return Relay(lambda: asyncio.open_unix_connection(redis.directory / "redis.sock"))


async def until_ready(nodes: Pair, server: RunningServer, *, ready: bool) -> float:
    """Wait until ``/readyz`` says that the server is ready, or that it is not; return how long that took."""
    began = time.monotonic()
    while (status := await nodes.readiness(server)) != (200 if ready else 503):
        assert time.monotonic() < began + NOTICE_SECONDS, f"/readyz is {status}"
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def append(url: str, offset: int, data: memoryview) -> Answer | None:
    """The answer to a PATCH of a few bytes; ``None`` without one."""
    with suppress(OSError, TimeoutError):
        return await asyncio.wait_for(request("PATCH", url, patch_headers(offset), data), 30)
    return None


@pytest.mark.parametrize(
    ("cut", "locking"), [("redis", "redis"), ("database", "redis"), ("database", "records"), ("both", "redis")]
)
async def test_node_that_is_cut_off(tmp_path: Path, cut: str, locking: str) -> None:
    """While it is cut off another node completes its uploads; afterwards it serves as before, and changed nothing."""
    async with pair(tmp_path, locking) as nodes:
        sent = content(1, LENGTH)
        running = PatientUpload(nodes.node.url, sent, rate=MIB / 4)
        uploading = asyncio.create_task(running.run())
        while running.position < MIB // 2:  # noqa: ASYNC110 - a counter reports no change
            await asyncio.sleep(0.01)
        assert running.url is not None
        idle = await create(nodes.node.url, 100)
        pulled = [nodes.cables[name] for name in (["database", "redis"] if cut == "both" else [cut])]
        for cable in pulled:
            cable.pull()
        cut_at = time.monotonic()
        noticed = await until_ready(nodes, nodes.node, ready=False)
        assert 200 == await nodes.readiness(nodes.other)

        # The lease of its last lock has ended by now: from here on it acknowledges nothing.
        await asyncio.sleep(max(0.0, cut_at + LEASE_SECONDS - time.monotonic()))
        refused = await append(idle, 0, sent[:10])
        assert refused is None or refused.status in (423, 503), refused
        head = await request("HEAD", idle, TUS)
        assert 423 == head.status, "not a status after which a client starts over"
        if cut != "redis":
            created = await request("POST", nodes.node.url, {**TUS, "Upload-Length": "5"}, b"")
            assert 503 == created.status, created

        while not uploading.done():
            uploading.cancel()  # again: before Python 3.12 wait_for may swallow it
            await asyncio.wait({uploading}, timeout=1)
        acknowledged = max((report.offset for report in running.reported), default=0)
        elsewhere = PatientUpload(nodes.other.url, sent, url=at_server(running.url, nodes.other), sent=running.sent)
        began = time.monotonic()
        await asyncio.wait_for(elsewhere.run(), NOTICE_SECONDS)
        taken_over = time.monotonic() - began
        assert acknowledged <= elsewhere.reported[0].offset

        for cable in pulled:
            cable.plug_in()
        recovered = await until_ready(nodes, nodes.node, ready=True)
        print(f"{cut}: noticed after {noticed:.1f} s, completed in {taken_over:.1f} s, ready after {recovered:.1f} s")
        await _serves_again(nodes, running.url, idle, sent)


async def _serves_again(nodes: Pair, url: str, idle: str, sent: memoryview) -> None:
    """The node knows what was done elsewhere, has changed nothing of it, and takes uploads as before."""
    data = nodes.other.data_dir / "uploads"
    head = await request("HEAD", url, TUS)
    assert (head.status, head.offset) == (200, LENGTH)
    answer = await append(idle, 0, sent[:100])
    assert answer is not None
    assert (answer.status, answer.offset) == (204, 100)
    again = PatientUpload(nodes.node.url, sent)
    await asyncio.wait_for(again.run(), NOTICE_SECONDS)
    assert again.url is not None
    for one in (url, again.url):
        assert sha256(sent) == sha256((data / upload_id(one)).read_bytes())
