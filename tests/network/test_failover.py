"""A standby of PostgreSQL takes over while uploads run: nothing acknowledged is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psycopg
import pytest

from tests.network.test_tls import start_worker
from tests.support.client import TUS, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.machines import machines
from tests.support.postgres import PostgresServer
from tests.support.receiver import Receiver, receiving
from tests.support.server import RunningServer, start_server
from tests.support.stored import assert_stored, head
from tests.support.waiting import eventually

# Two servers of PostgreSQL, and two of tusd-py, for each test.
pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300)]

UPLOADS = 12
RATE = MIB / 4


@dataclass
class Pair:
    """A primary and its synchronous standby."""

    primary: PostgresServer
    standby: PostgresServer

    def url(self, database: str) -> str:
        """The URL of whichever can be written to."""
        both = (self.primary, self.standby)
        parameters = {
            "host": ",".join(str(each.directory) for each in both),
            "port": ",".join(str(each.port) for each in both),
            "target_session_attrs": "read-write",
        }
        return f"postgresql://tusd@/{database}?{urlencode(parameters)}"

    def kill_primary(self) -> None:
        """Every process of it, as when its machine loses power."""
        processes = self.primary.processes()
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.primary.stop(signal.SIGKILL)


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@contextmanager
def worker_process(directory: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """A worker beside the servers."""
    worker = start_worker(directory, {**settings, "WORKER__LEASE_SECONDS": "5"})
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(60)


def execute(server: PostgresServer, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
    with closing(psycopg.connect(server.url(database), autocommit=True)) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def pair() -> Iterator[Pair]:
    primary = PostgresServer()
    standby: PostgresServer | None = None
    try:
        primary.start()
        standby = PostgresServer(copy_of=primary)
        standby.start()
        execute(primary, "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        execute(primary, "SELECT pg_reload_conf()")
        deadline = time.monotonic() + 60
        while not execute(primary, "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"):
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.05)
        yield Pair(primary, standby)
    finally:
        primary.remove()
        if standby is not None:
            standby.remove()


async def test_promoted_standby_has_everything_that_was_acknowledged(
    pair: Pair, tmp_path: Path, hooks: Receiver
) -> None:
    """The primary dies in the middle of uploads to two servers; the uploads check that no offset ever falls."""
    database = pair.primary.create_database()
    endpoint = [{"name": "all", "url": hooks.url, "allow_private": True}]
    settings = {
        "RECORDS__URL": pair.url(database),
        "LOCKING__KIND": "records",
        "LOCKING__LEASE_SECONDS": "2",
        "UPLOADS__SAVE_INTERVAL_SECONDS": "0.2",
        "WEBHOOKS__ENDPOINTS": json.dumps(endpoint),
    }
    with (
        machines(tmp_path, 2, pair.primary, settings, database=database) as servers,
        worker_process(tmp_path, settings),
    ):
        uploads = [servers.upload(content(number, MIB), rate=RATE) for number in range(UPLOADS)]
        for upload in uploads:
            upload.answer_seconds = 60.0
        async with asyncio.TaskGroup() as group:
            for upload in uploads:
                group.create_task(upload.run())
            await eventually(lambda: all(upload.position > MIB // 4 for upload in uploads), "all send", 60.0)
            await asyncio.to_thread(pair.kill_primary)
            # Creations meet the failover too: a commit whose answer was lost must not be repeated.
            late = [servers.upload(content(100 + number, 1000)) for number in range(UPLOADS)]
            for upload in late:
                upload.answer_seconds = 60.0
                group.create_task(upload.run())
            await asyncio.sleep(1.0)
            await asyncio.to_thread(pair.standby.promote)
            for upload in uploads:
                upload.rate = float("inf")
        for upload in (*uploads, *late):
            assert upload.url is not None
            assert_stored(servers.servers[0], upload.url, upload.content)
        await eventually(lambda: len(delivered(hooks)) >= 2 * UPLOADS, "each upload is announced", 120.0)
        for server in servers.servers:
            assert 201 == http_status(server, "POST", "/files/", {"Upload-Length": "8"})
        await eventually(lambda: states_of_jobs(pair, database) == {"done"}, "every job is done", 120.0)
    kinds = execute(pair.standby, "SELECT upload_id, type, count(*) FROM events GROUP BY 1, 2", database)
    ended = [upload_id for upload_id, kind, _ in kinds if kind == "post-finish"]
    assert UPLOADS * 2 == len(ended) == len(set(ended))
    # An event may be delivered twice, with the same id: its receiver's answer may have been lost with the primary.
    assert UPLOADS * 2 == len(delivered(hooks))
    assert [] == [row for row in kinds if row[1] in ("post-create", "post-finish") and row[2] != 1]
    assert "Traceback" not in "".join(path.read_text() for path in tmp_path.glob("*.log"))


def states_of_jobs(pair: Pair, database: str) -> set[str]:
    return {str(state) for (state,) in execute(pair.standby, "SELECT DISTINCT state FROM jobs", database)}


def delivered(hooks: Receiver) -> set[str]:
    """The ids of the events of ends that were delivered."""
    return {call.payload["id"] for call in hooks.calls if call.hook == "upload.ready"}


async def test_primary_that_became_read_only_is_left(pair: Pair, tmp_path: Path) -> None:
    """Connections to it stay open, and refuse to write: 503, then the one that can be written to is used."""
    database = pair.primary.create_database()
    server = start_server(tmp_path / "data", settings={"RECORDS__URL": pair.url(database)})
    try:
        url = await create(server.url, 8)
        assert 204 == (await request("PATCH", url, patch_headers(0), b"0123")).status
        execute(pair.primary, "ALTER SYSTEM SET default_transaction_read_only = on")
        execute(pair.primary, "SELECT pg_reload_conf()")
        await eventually(lambda: is_read_only(server), "the server notices", 60.0)
        assert 503 == (await request("PATCH", url, patch_headers(4), b"4567")).status
        status, headers = head(server, url)
        assert (status, headers.get("upload-offset")) in ((200, "4"), (423, None))
        await asyncio.to_thread(pair.standby.promote)
        await eventually(lambda: not is_read_only(server), "the server uses the other one", 60.0)
        assert 200 == head(server, url)[0]
        assert 204 == (await request("PATCH", url, patch_headers(4), b"4567")).status
        rows = execute(pair.standby, "SELECT \"offset\", status FROM uploads WHERE status = 'ready'", database)
        assert [(8, "ready")] == rows
        assert "Traceback" not in server.log.read_text()
    finally:
        server.stop()


def is_read_only(server: RunningServer) -> bool:
    return http_status(server, "POST", "/files/", {"Upload-Length": "8"}) == 503


async def test_commit_that_the_standby_has_not_received_is_not_acknowledged(pair: Pair, tmp_path: Path) -> None:
    """While the synchronous standby does not answer, requests are answered 503, in bounded time; then they go on."""
    database = pair.primary.create_database()
    server = start_server(tmp_path / "data", settings={"RECORDS__URL": pair.url(database)})
    try:
        url = await create(server.url, 8)
        await asyncio.to_thread(pair.standby.pause)
        began = time.monotonic()
        status = await asyncio.to_thread(http_status, server, "PATCH", urlsplit(url).path, patch_headers(0), b"0123")
        print(f"answered {status} after {time.monotonic() - began:.1f} s")
        assert 503 == status
        await asyncio.to_thread(pair.standby.resume)
        await eventually(lambda: 200 == head(server, url)[0], "HEAD is answered", 60.0)
        offset = int(head(server, url)[1]["upload-offset"])
        assert offset in (0, 4)
        assert 204 == (await request("PATCH", url, patch_headers(offset), b"01234567"[offset:])).status
        assert b"01234567" == server.stored(url)
    finally:
        pair.standby.resume()
        server.stop()


async def test_without_a_choice_of_hosts_a_read_only_database_is_503(pair: Pair, tmp_path: Path) -> None:
    """And the server comes back when it can write again."""
    database = pair.primary.create_database()
    server = start_server(tmp_path / "data", settings={"RECORDS__URL": pair.primary.url(database)})
    try:
        for value, is_refused in (("on", True), ("off", False)):
            execute(pair.primary, f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            execute(pair.primary, "SELECT pg_reload_conf()")
            await eventually(partial(answers, server, is_refused), value, 60.0)
        assert "add target_session_attrs=read-write" in server.log.read_text()
    finally:
        server.stop()


async def test_what_an_asynchronous_standby_lacks_is_sent_again(pair: Pair, tmp_path: Path) -> None:
    """An offset falls, and the client continues there; an upload that was created since is unknown."""
    database = pair.primary.create_database()
    server = start_server(tmp_path / "data", settings={"RECORDS__URL": pair.url(database)})
    try:
        url = await create(server.url, 8)
        assert 204 == (await request("PATCH", url, patch_headers(0), b"01")).status
        execute(pair.primary, "ALTER SYSTEM RESET synchronous_standby_names")
        execute(pair.primary, "SELECT pg_reload_conf()")
        await asyncio.to_thread(pair.standby.stop)
        assert 204 == (await request("PATCH", url, patch_headers(2), b"234567")).status
        lost = await create(server.url, 8)
        await asyncio.to_thread(pair.kill_primary)
        await asyncio.to_thread(pair.standby.start)
        await asyncio.to_thread(pair.standby.promote)
        await eventually(lambda: head(server, url)[0] == 200, "HEAD is answered", 60.0)
        status, headers = head(server, url)
        assert (200, "2") == (status, headers["upload-offset"])
        assert 404 == head(server, lost)[0]
        assert 204 == (await request("PATCH", url, patch_headers(2), b"234567")).status
        assert b"01234567" == server.stored(url)
    finally:
        server.stop()


def answers(server: RunningServer, is_refused: bool) -> bool:
    return is_read_only(server) == is_refused


def http_status(server: RunningServer, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> int:
    """The status of a request, which may take two minutes."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.request(method, path, body, {**TUS, **headers})
        return connection.getresponse().status
