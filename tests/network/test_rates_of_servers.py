"""Rates that several servers count together: behind nginx, in four processes, while Redis comes and goes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from tests.support.client import TUS, Answer, Connection, request
from tests.support.proxies import running_proxy
from tests.support.redis import RunningRedis, flush, restartable_redis
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, bearer

pytestmark = [pytest.mark.anyio, pytest.mark.long]

PER_OWNER, PER_ADDRESS = 12, 8


@dataclass
class Site:
    """Two servers, one of them with three processes, each behind an nginx that clients reach."""

    servers: list[RunningServer]
    endpoints: list[str]
    redis: RunningRedis

    async def create(self, number: int, headers: Mapping[str, str], source: str = "127.0.0.1") -> Answer:
        """A creation through one of the proxies, from one of the addresses of the loopback interface."""
        return await send_from(source, self.endpoints[number % 2], {**TUS, "Upload-Length": "1", **headers})

    async def create_as(self, number: int, address: str, **more: str) -> Answer:
        """A creation without nginx, forwarded by a trusted proxy for ``address``."""
        headers = {**TUS, "Upload-Length": "1", "X-Forwarded-For": address, **more}
        return await request("POST", self.servers[number % 2].url, headers, b"")


async def send_from(source: str, url: str, headers: Mapping[str, str]) -> Answer:
    parts = urlsplit(url)
    streams = await asyncio.open_connection(parts.hostname, parts.port, local_addr=(source, 0))
    connection = Connection(*streams, parts.netloc)
    try:
        return await connection.request("POST", url, headers, b"")
    finally:
        connection.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        redis = stack.enter_context(restartable_redis())
        settings = {
            "RATES__CREATIONS_PER_MINUTE": str(PER_OWNER),
            "RATES__CREATIONS_PER_ADDRESS": str(PER_ADDRESS),
            "RATES__STORAGE": "redis",
            "REDIS__URL": redis.url,
            "JWT__SECRET": SECRET,
            "API__ENABLED": "true",
            "ACCOUNTS__ENABLED": "true",
            "RATES__FAILED_LOGINS_PER_MINUTE": "3",
            "RATES__FAILED_LOGINS_PER_ADDRESS": "10",
            "SERVER__TRUSTED_PROXIES": "127.0.0.1",
        }
        servers, endpoints = [], []
        for name, processes in (("one", "3"), ("two", "1")):
            server = start_server(tmp_path / name, settings=settings | {"SERVER__PROCESSES": processes})
            stack.callback(server.kill)
            servers.append(server)
            proxy = stack.enter_context(running_proxy("nginx", server.port, tmp_path / f"nginx-{name}"))
            endpoints.append(proxy.endpoint)
        yield Site(servers, endpoints, redis)


def statuses(answers: list[Answer]) -> Counter[int]:
    for answer in answers:
        if answer.status == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 60, answer
    return Counter(answer.status for answer in answers)


async def test_one_limit_for_all_servers_and_processes(site: Site) -> None:
    """At once or not, exactly as many as permitted; addresses that clients invent count for nothing."""
    invented = [{"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.1"} for number in range(30)]
    creations = [site.create(number, headers, "127.0.0.2") for number, headers in enumerate(invented)]
    assert statuses(await asyncio.gather(*creations)) == {201: PER_ADDRESS, 429: 30 - PER_ADDRESS}
    other = [site.create(number, {"X-Real-IP": "127.0.0.2"}, "127.0.0.3") for number in range(4)]
    assert statuses(await asyncio.gather(*other)) == {201: 4}
    # One owner from many addresses; the ones that are refused count for no address.
    owned = [site.create_as(number, f"198.51.100.{number}", **bearer("alice")) for number in range(40)]
    assert statuses(await asyncio.gather(*owned)) == {201: PER_OWNER, 429: 40 - PER_OWNER}
    refused_at = [number for number in range(40) if (await site.create_as(0, f"198.51.100.{number}")).status != 201]
    assert refused_at == []


async def test_ipv6_networks_count_as_one_client(site: Site) -> None:
    """Every address of a /64 shares one limit, however it is written; the next network has its own."""
    ways = ["2001:db8::1", "[2001:db8::2]:443", "2001:DB8:0:0:ffff::3", "2001:0db8::4", "2001:db8::5%eth0"]
    answers = [await site.create_as(number, ways[number % 4]) for number in range(PER_ADDRESS + 2)]
    assert statuses(answers) == {201: PER_ADDRESS, 429: 2}
    assert (await site.create_as(0, "2001:db8:0:1::1")).status == 201
    # An IPv4 client counts the same through a proxy that writes it as IPv6.
    mapped = [await site.create_as(number, way) for number, way in enumerate(["192.0.2.9", "::ffff:192.0.2.9"] * 5)]
    assert statuses(mapped) == {201: PER_ADDRESS, 429: 2}


async def test_files_are_counted_not_parts_nor_chunks(site: Site) -> None:
    """A parallel upload is one file, as is a session with its chunks; what is not created is none."""
    for number in range(PER_ADDRESS - 2):
        assert (await site.create_as(number, "192.0.2.1")).status == 201
    parts = []
    for number in range(6):
        part = await site.create_as(0, "192.0.2.1", **{"Upload-Length": "0", "Upload-Concat": "partial"})
        assert part.status == 201, (number, part)
        parts.append(urlsplit(urljoin(site.servers[0].url, part.headers["location"])).path)
    final = {**TUS, "X-Forwarded-For": "192.0.2.1", "Upload-Concat": f"final;{' '.join(parts)}"}
    assert (await request("POST", site.servers[0].url, final, b"")).status == 201
    body = json.dumps({"file_name": "a", "file_size": 6, "chunk_count": 3}).encode()
    headers = {"X-Forwarded-For": "192.0.2.1", "Content-Type": "application/json"}
    sessions = f"{site.servers[1].root}/api/sessions"
    created = await request("POST", sessions, headers, body)
    assert created.status == 201, created
    session = json.loads(created.body)["id"]
    for number in (2, 0, 1):
        put = await request(
            "PUT",
            f"{sessions}/{session}/chunks/{number}",
            {"X-Forwarded-For": "192.0.2.1", "Content-Type": "application/octet-stream"},
            b"ab",
        )
        assert put.status < 300, put
    assert (await request("POST", f"{sessions}/{session}/finalize", headers, b"{}")).status < 300
    assert (await request("POST", sessions, headers, body)).status == 429
    assert (await site.create_as(0, "192.0.2.1")).status == 429
    assert (await site.create_as(0, "192.0.2.1", **{"Upload-Concat": "partial"})).status == 201


async def test_failed_logins_count_together(site: Site) -> None:
    """For a name and an address, and for an address with all names; the same name waits from no other address."""

    async def log_in(number: int, name: str, address: str) -> Answer:
        body = json.dumps({"name": name, "password": "a wrong password"}).encode()
        headers = {"X-Forwarded-For": address, "Content-Type": "application/json"}
        return await request("POST", f"{site.servers[number % 2].root}/api/auth/login", headers, body)

    alice = [await log_in(number, "alice", "192.0.2.1") for number in range(6)]
    assert statuses(alice) == {401: 3, 429: 3}
    assert (await log_in(0, "alice", "192.0.2.2")).status == 401
    others = [await log_in(number, f"name{number}", "192.0.2.1") for number in range(10)]
    assert statuses(others) == {401: 7, 429: 3}


async def test_redis_paused_restarted_and_flushed(site: Site) -> None:
    """Uploads are answered while Redis is paused, limited by each process; afterwards all count together again."""
    answers = [await site.create_as(number, "192.0.2.1") for number in range(PER_ADDRESS + 1)]
    assert statuses(answers) == {201: PER_ADDRESS, 429: 1}
    os.kill(site.redis.pid, signal.SIGSTOP)
    try:
        answers = await asyncio.gather(*(site.create_as(number, "192.0.2.2") for number in range(60)))
        # Four processes: each counts for itself, and none lets more through than the limit.
        counted = statuses(list(answers))
        assert set(counted) == {201, 429}
        assert PER_ADDRESS <= counted[201] <= 4 * PER_ADDRESS
    finally:
        os.kill(site.redis.pid, signal.SIGCONT)
    await _counts_together(site, "192.0.2.3")
    # Answers that Redis gave late are not taken for those of later questions.
    assert (await site.create_as(0, "192.0.2.4")).status == 201
    flush(site.redis.url)
    answers = [await site.create_as(number, "192.0.2.5") for number in range(PER_ADDRESS + 1)]
    assert statuses(answers) == {201: PER_ADDRESS, 429: 1}
    site.redis.restart()
    await _counts_together(site, "192.0.2.6")


async def _counts_together(site: Site, prefix: str) -> None:
    """Wait until every process uses Redis again: a fresh address then gets exactly the limit."""
    for attempt in range(60):
        address = f"{prefix.rpartition('.')[0]}.{100 + attempt}"
        answers = await asyncio.gather(*(site.create_as(number, address) for number in range(3 * PER_ADDRESS)))
        if statuses(list(answers))[201] == PER_ADDRESS:
            return
        await asyncio.sleep(0.5)
    raise AssertionError("the servers do not count together again")
