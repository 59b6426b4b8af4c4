"""Rates on the wire: what is refused, slowed down or made to wait, by real server processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.client import TUS, Answer, request
from tests.support.redis import restartable_redis
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, bearer

pytestmark = pytest.mark.anyio


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
