"""Rates on the wire: what is refused, slowed down or made to wait, by real server processes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, Answer, Connection, patch_headers, request
from tests.support.redis import restartable_redis
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, bearer

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


async def post(server: RunningServer, headers: Mapping[str, str]) -> Answer:
    return await request("POST", server.url, {**TUS, "Upload-Length": "1", **headers}, b"")


async def test_creations_per_minute_429(tmp_path: Path) -> None:
    """The creation beyond the rate is answered 429 with Retry-After, for this owner only; nothing is created."""
    server = start_server(tmp_path / "rates", settings={"RATES__CREATIONS_PER_MINUTE": "5", "JWT__SECRET": SECRET})
    try:
        statuses = [(await post(server, bearer("alice"))).status for _ in range(5)]
        refused = await post(server, bearer("alice"))
        assert (statuses, refused.status) == ([201] * 5, 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert b"ERR_TOO_MANY_CREATIONS" in refused.body
        assert (await post(server, bearer("bob"))).status == 201
        assert (await post(server, {})).status == 201
    finally:
        server.stop()


async def test_two_servers_share_one_limit_in_redis(tmp_path: Path) -> None:
    """Two servers with Redis count together, by owner and by forwarded address; without Redis each goes on alone."""
    with restartable_redis() as redis:
        settings = {
            "RATES__CREATIONS_PER_MINUTE": "4",
            "RATES__CREATIONS_PER_ADDRESS": "6",
            "RATES__STORAGE": "redis",
            "REDIS__URL": redis.url,
            "JWT__SECRET": SECRET,
            "SERVER__TRUSTED_PROXIES": "127.0.0.1",
        }
        servers = [start_server(tmp_path / name, settings=settings) for name in ("one", "two")]
        first = {**bearer("alice"), "X-Forwarded-For": "2001:db8::1"}
        try:
            statuses = [(await post(servers[count % 2], first)).status for count in range(5)]
            assert statuses == [201] * 4 + [429]
            # The same /64 has two creations left for all its owners; the next network has its own.
            neighbour = {**bearer("bob"), "X-Forwarded-For": "2001:db8::ffff:2"}
            assert [(await post(servers[count % 2], neighbour)).status for count in range(3)] == [201, 201, 429]
            assert (await post(servers[0], {**bearer("bob"), "X-Forwarded-For": "2001:db8:1::1"})).status == 201
            redis.stop()
            assert [(await post(server, first)).status for server in servers] == [201, 201]
        finally:
            for server in servers:
                server.stop()


async def create(server: RunningServer, length: int) -> str:
    created = await request("POST", server.url, {**TUS, "Upload-Length": str(length)}, b"")
    return urljoin(server.url, created.headers["location"])


async def test_bytes_per_second_slow_an_upload_down(tmp_path: Path) -> None:
    """A PATCH takes as long as the rate says, most of it without passing the event loop; the bytes are right.

    The rate is below ``body_rate_min``, which ends no body that the server itself slows down.
    """
    settings = {"RATES__BYTES_PER_SECOND_PER_UPLOAD": "4MiB", "UPLOADS__BODY_RATE_MIN": "10MB"}
    server = start_server(tmp_path / "slow", settings=settings)
    content = bytes(range(256)) * (12 * MIB // 256)
    try:
        url = await create(server, len(content))
        started = time.monotonic()
        assert (await request("PATCH", url, patch_headers(0), content)).offset == len(content)
        seconds = time.monotonic() - started
        assert 2.9 < seconds < 10, seconds
        assert server.stored(url) == content
        metrics = (await request("GET", f"{server.root}/metrics", {})).body.decode()
        found = re.search(r"^tusd_py_zero_copy_received_bytes_total (\S+)$", metrics, re.M)
        assert found is not None
        assert float(found[1]) > len(content) / 2
    finally:
        server.stop()


async def test_bytes_per_second_are_shared_by_an_owner(tmp_path: Path) -> None:
    """Two uploads of one owner take as long as their bytes together; a request for one of them is still quick."""
    settings = {"RATES__BYTES_PER_SECOND_PER_OWNER": "2MiB"}
    server = start_server(tmp_path / "shared", settings=settings)
    content = bytes(3 * MIB)
    try:
        urls = [await create(server, len(content)) for _ in range(2)]
        started = time.monotonic()
        sending = [asyncio.create_task(request("PATCH", url, patch_headers(0), content)) for url in urls]
        await asyncio.sleep(1)
        asked = time.monotonic()
        offset = (await request("HEAD", urls[1], TUS)).offset
        assert time.monotonic() - asked < 1
        assert offset is not None
        if offset < len(content):
            assert (await sending[1]).status == 400  # interrupted
            assert (await request("PATCH", urls[1], patch_headers(offset), content[offset:])).offset == len(content)
        assert (await sending[0]).offset == len(content)
        await sending[1]
        assert 2.9 < time.monotonic() - started < 10
    finally:
        server.stop()


async def test_uploads_receiving_at_once_423(tmp_path: Path) -> None:
    """A third upload waits, then gets 423 with Retry-After; a takeover does not wait; a freed slot is used."""
    settings = {"RATES__UPLOADS_RECEIVING_AT_ONCE": "2", "RATES__WAIT_SECONDS": "1"}
    server = start_server(tmp_path / "slots", settings=settings)
    try:
        urls = [await create(server, 10) for _ in range(3)]
        connections = [await Connection.open(url) for url in urls[:2]]
        for connection, url in zip(connections, urls, strict=False):
            await connection.send_head("PATCH", url, {**patch_headers(0), "Content-Length": "10"})
            await connection.send(b"12345")
        await asyncio.sleep(0.3)
        started = time.monotonic()
        refused = await request("PATCH", urls[2], patch_headers(0), b"1234567890")
        assert (refused.status, refused.headers["retry-after"]) == (423, "1")
        assert b"ERR_TOO_MANY_REQUESTS_AT_ONCE" in refused.body
        assert 0.9 < time.monotonic() - started < 5
        assert (await request("HEAD", urls[2], TUS)).offset == 0
        # The client of the first upload comes back while its earlier request still has the slot.
        assert (await request("HEAD", urls[0], TUS)).offset == 5
        assert (await request("PATCH", urls[0], patch_headers(5), b"67890")).offset == 10
        assert (await request("PATCH", urls[2], patch_headers(0), b"1234567890")).offset == 10
        for connection in connections:
            connection.close()
    finally:
        server.stop()
