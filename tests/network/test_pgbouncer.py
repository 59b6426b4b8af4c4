"""PostgreSQL behind PgBouncer in transaction mode: the contracts hold, and servers run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts import test_records
from tests.contracts.job_queue import JobQueueContract
from tests.support.client import PatientUpload
from tests.support.content import content
from tests.support.pgbouncer import Pooler, running_pgbouncer
from tests.support.postgres import empty_database, new_database, shared_server
from tests.support.server import start_server
from tests.support.stored import assert_stored
from tusd_py.contracts.records import Records
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.records.sql.postgres import connect, is_pooled

pytestmark = [pytest.mark.long, pytest.mark.anyio]


@pytest.fixture(scope="module")
def pooler() -> Iterator[Pooler]:
    with running_pgbouncer(shared_server()) as running:
        yield running


def through(pooler: Pooler, url: str) -> str:
    """The same database through the pooler."""
    return pooler.url(url.partition("@/")[2].partition("?")[0])


class TestPooledRecords(test_records.TestPostgresRecords):
    """Records in PostgreSQL behind PgBouncer."""

    @pytest.fixture(autouse=True)
    def _use(self, pooler: Pooler) -> None:
        self.pooler = pooler

    async def open(self, directory: Path) -> Records:
        self.url = empty_database()
        return (await SqlDatabase.open(through(self.pooler, self.url))).records


class TestPooledJobQueue(JobQueueContract):
    """Events and jobs in PostgreSQL behind PgBouncer."""

    @pytest.fixture(autouse=True)
    def _use(self, pooler: Pooler) -> None:
        self.pooler = pooler

    async def open(self, directory: Path) -> SqlDatabase:
        return await SqlDatabase.open(through(self.pooler, empty_database()))


async def test_pooler_is_recognised(pooler: Pooler) -> None:
    """A direct connection prepares statements, one through the pooler does not."""
    url = new_database()
    with connect(url) as direct, connect(through(pooler, url)) as pooled:
        assert (is_pooled(direct), is_pooled(pooled)) == (False, True)


async def test_uploads_through_the_pooler(pooler: Pooler, tmp_path: Path) -> None:
    """Two server processes with locks in the database take twenty uploads, with notifications over a direct URL."""
    url = new_database()
    settings = {
        "RECORDS__URL": through(pooler, url),
        "RECORDS__LISTEN_URL": url,
        "LOCKING__KIND": "records",
        "SERVER__PROCESSES": "2",
    }
    server = start_server(tmp_path / "data", settings=settings)
    try:
        uploads = [PatientUpload(server.url, content(number, 300_000)) for number in range(20)]
        await asyncio.gather(*(upload.run() for upload in uploads))
        for upload in uploads:
            assert upload.url is not None
            assert_stored(server, upload.url, upload.content)
    finally:
        server.stop()
