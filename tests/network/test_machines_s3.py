"""Two servers on one bucket: a killed or paused server is followed by another, and spoils nothing afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Connection, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.postgres import shared_server
from tests.support.redis import restartable_redis
from tests.support.s3 import EVERY_KIND, S3Server, running_s3
from tests.support.s3_proxy import Break, S3Proxy, s3_proxy
from tests.support.server import RunningServer, start_server
from tests.support.stored import head
from tests.support.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(240), pytest.mark.anyio]

LEASE_SECONDS = 2
WAIT_SECONDS = 60


@pytest.fixture(scope="module", params=EVERY_KIND)
def s3(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with running_s3(request.param) as running:
        running.client().create_bucket(Bucket="uploads")
        yield running


@dataclass
class Pair:
    """Two servers that share a database and a bucket. The first one reaches S3 through ``proxy``."""

    first: RunningServer
    second: RunningServer
    proxy: S3Proxy
    client: Any

    def at_second(self, url: str) -> str:
        """The URL of an upload at the second server."""
        return url.replace(f":{self.first.port}/", f":{self.second.port}/")

    def keys(self, url: str) -> list[str]:
        """The objects of an upload, tails too."""
        name = url.rsplit("/", 1)[1]
        listed = self.client.list_objects_v2(Bucket="uploads").get("Contents", ())
        return [each["Key"] for each in listed if name in each["Key"]]


@pytest.fixture(params=["records", "redis"])
async def pair(request: pytest.FixtureRequest, s3: S3Server, tmp_path: Path) -> AsyncIterator[Pair]:
    # Databases share no store.
    settings = s3.settings("uploads", S3__PREFIX=f"{tmp_path.name}/") | {
        "RECORDS__URL": shared_server().url(shared_server().create_database()),
        "LOCKING__KIND": request.param,
        "LOCKING__LEASE_SECONDS": str(LEASE_SECONDS),
        "WORKER__MODE": "separate",
    }
    with restartable_redis() as redis:
        if request.param == "redis":
            settings["REDIS__URL"] = redis.url
        async with s3_proxy(s3.port) as proxy:
            running = []
            for number, url in enumerate((proxy.url, s3.url)):
                directory, log = tmp_path / f"data-{number}", tmp_path / f"server-{number}.log"
                running.append(start_server(directory, settings={**settings, "S3__ENDPOINT_URL": url}, log=log))
            try:
                yield Pair(running[0], running[1], proxy, s3.client())
            finally:
                for server in running:
                    with suppress(ProcessLookupError):
                        os.killpg(server.process.pid, signal.SIGCONT)
                    server.kill()


async def offset_at(url: str) -> int:
    """The offset, once the lock of the server that is gone has ended."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        answer = await request("HEAD", url)
        if answer.offset is not None:
            return answer.offset
        assert answer.status == 423, answer
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


async def download(url: str) -> bytes:
    answer = await request("GET", url)
    assert answer.status == 200, answer
    return answer.body


async def begin(server: RunningServer, length: int, body: memoryview) -> tuple[str, Connection]:
    """An upload with a PATCH that has sent ``body`` so far."""
    url = await create(server.url, length)
    connection = await Connection.open(url)
    await connection.send_head("PATCH", url, patch_headers(0, length))
    await connection.send(body)
    return url, connection


async def test_killed_in_the_middle(pair: Pair) -> None:
    """After kill -9 another server continues at the saved offset. One object is left, with the right bytes."""
    body = content(1, 23 * MIB)
    url, connection = await begin(pair.first, len(body), body[: 11 * MIB])
    elsewhere = pair.at_second(url)
    sent, saves = 11 * MIB, pair.proxy.passed.count("PutObject")
    # Each save sends a tail. When the second one has come, the first is recorded.
    while pair.proxy.passed.count("PutObject") < saves + 2:
        await connection.send(body[sent : sent + 1000])
        sent += 1000
        await asyncio.sleep(0.01)
    pair.first.kill()
    connection.close()
    offset = await offset_at(elsewhere)
    assert 10 * MIB < offset <= sent
    answer = await request("PATCH", elsewhere, patch_headers(offset), body[offset:])
    assert (answer.status, answer.offset) == (204, len(body))
    assert await download(elsewhere) == bytes(body)
    assert len([key for key in pair.keys(url) if "/uploads/" in key]) == 1


# What the paused server was about to do, and the size of the upload that makes it do that.
LATE = [
    ("PutObject", MIB),  # the whole small upload, at its end
    ("UploadPart", 11 * MIB),  # the first part
    ("CompleteMultipartUpload", 11 * MIB),  # the end of the upload
    ("CreateMultipartUpload", 11 * MIB),
]


@pytest.mark.parametrize(("operation", "length"), LATE)
async def test_paused_server_wakes_after_the_takeover(pair: Pair, operation: str, length: int) -> None:
    """A server that is paused with a request to S3 under way does not change the upload that another has completed.

    It has received other bytes than those with which the upload is completed, so that each byte of it would be seen.
    """
    body, other = content(2, length), content(3, length)
    pair.proxy.breaks(operation, Break.HELD)
    url, connection = await begin(pair.first, length, body)
    elsewhere = pair.at_second(url)
    await eventually(lambda: operation in pair.proxy.broken, timeout_seconds=WAIT_SECONDS)
    os.killpg(pair.first.process.pid, signal.SIGSTOP)
    offset = await offset_at(elsewhere)
    answer = await request("PATCH", elsewhere, patch_headers(offset), other[offset:])
    assert (answer.status, answer.offset) == (204, length)
    expected = bytes(body[:offset]) + bytes(other[offset:])
    assert await download(elsewhere) == expected
    pair.proxy.release()
    os.killpg(pair.first.process.pid, signal.SIGCONT)
    late = await connection.answer()
    assert 400 <= late.status < 600, late
    await pair.proxy.settle()
    assert await download(elsewhere) == expected
    assert head(pair.first, url)[1]["upload-offset"] == str(length)
    # At the first server too, which now goes on with other uploads.
    assert await download(url) == expected
    again = await create(pair.first.url, length)
    assert (await request("PATCH", again, patch_headers(0), body)).offset == length
    connection.close()


async def test_paused_during_a_takeover_that_goes_on(pair: Pair) -> None:
    """The paused server wakes while the other one still receives: its late part spoils nothing that is acknowledged."""
    length = 16 * MIB
    body = content(4, length)
    pair.proxy.breaks("UploadPart", Break.HELD)
    url, connection = await begin(pair.first, length, body)
    elsewhere = pair.at_second(url)
    await eventually(lambda: "UploadPart" in pair.proxy.broken, timeout_seconds=WAIT_SECONDS)
    os.killpg(pair.first.process.pid, signal.SIGSTOP)
    offset = await offset_at(elsewhere)
    answer = await request("PATCH", elsewhere, patch_headers(offset), body[offset : offset + 6 * MIB])
    assert answer.status == 204
    pair.proxy.release()
    os.killpg(pair.first.process.pid, signal.SIGCONT)
    assert 400 <= (await connection.answer()).status < 600
    connection.close()
    offset = await offset_at(elsewhere)
    assert offset >= 6 * MIB
    answer = await request("PATCH", elsewhere, patch_headers(offset), body[offset:])
    assert (answer.status, answer.offset) == (204, length)
    assert await download(elsewhere) == bytes(body)
