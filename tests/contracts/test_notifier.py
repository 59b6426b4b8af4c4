"""Messages between processes against their contract: sockets of a directory, Redis, PostgreSQL, one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest

from tests.contracts.notifier import End, NotifierContract, WakeUpContract
from tests.support.leases import FakeLeases, Medium
from tests.support.postgres import PostgresServer, empty_database
from tests.support.redis import RunningRedis, restartable_redis
from tusd_py.contracts.leases import Leases
from tusd_py.locking.redis import RedisLeases
from tusd_py.notify.datagrams import DatagramEndpoint
from tusd_py.notify.wakeup import notify, subscribe
from tusd_py.records.sql.leases import SqlLeases
from tusd_py.records.sql.listen import JOBS_CHANNEL, listening
from tusd_py.records.sql.schema import bring_up_to_date

# Its own waits end after a minute.
pytestmark = pytest.mark.timeout(240)


class Datagrams:
    """The end of a process with a ``Notifier``, which sends bytes."""

    def __init__(self, directory: Path, on_message: Callable[[str], None]) -> None:
        self._endpoint = DatagramEndpoint(directory, lambda message: on_message(message.decode()))

    @property
    def address(self) -> str:
        return self._endpoint.name

    def send(self, address: str, message: str) -> None:
        self._endpoint.send(address, message.encode())

    async def close(self) -> None:
        self._endpoint.close()


def opened(leases: Leases, on_message: Callable[[str], None]) -> End:
    leases.open(on_message)
    return leases


class TestDatagrams(NotifierContract):
    def open(self, directory: Path, on_message: Callable[[str], None]) -> End:
        return Datagrams(directory, on_message)

    async def interrupt(self) -> None:
        """Nothing to do."""


class TestInProcess(NotifierContract):
    """The fake by which other tests try lockers."""

    @pytest.fixture(autouse=True)
    def _use(self) -> None:
        self.medium = Medium()

    def open(self, directory: Path, on_message: Callable[[str], None]) -> End:
        return opened(FakeLeases(self.medium), on_message)

    async def interrupt(self) -> None:
        self.medium.is_down = True
        await asyncio.sleep(0)
        self.medium.is_down = False


@pytest.fixture(scope="module")
def redis() -> Iterator[RunningRedis]:
    with restartable_redis() as running:
        yield running


class TestRedis(NotifierContract):
    @pytest.fixture(autouse=True)
    def _use(self, redis: RunningRedis) -> None:
        self.redis = redis

    def open(self, directory: Path, on_message: Callable[[str], None]) -> End:
        return opened(RedisLeases(self.redis.url), on_message)

    async def interrupt(self) -> None:
        await asyncio.to_thread(self.redis.restart)


@pytest.mark.long
class TestRedisUnderUvloop(TestRedis):
    @pytest.fixture
    def anyio_backend(self) -> object:
        return "asyncio", {"use_uvloop": True}


class TestPostgres(NotifierContract):
    @pytest.fixture(autouse=True)
    def _use(self) -> None:
        self.url = empty_database()

    def open(self, directory: Path, on_message: Callable[[str], None]) -> End:
        return opened(SqlLeases(self.url, self.url), on_message)

    async def interrupt(self) -> None:
        """End every connection, as a server does that restarts."""
        await asyncio.to_thread(end_connections, self.url)


@pytest.mark.long
class TestRestartedPostgres(TestPostgres):
    @pytest.fixture(autouse=True)
    def _use(self) -> Iterator[None]:
        self.server = PostgresServer()
        self.server.start()
        try:
            self.url = self.server.url(self.server.create_database())
            bring_up_to_date(self.url)
            yield
        finally:
            self.server.remove()

    async def interrupt(self) -> None:
        await asyncio.to_thread(self.server.stop)
        await asyncio.to_thread(self.server.start)


def end_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}".encode())


class TestWakeUpsInADirectory(WakeUpContract):
    def subscribe(self, directory: Path, on_wake: Callable[[], None]) -> AbstractContextManager[None]:
        return subscribe(directory, on_wake)

    def wake(self, directory: Path) -> None:
        notify(directory)


class TestWakeUpsByPostgres(WakeUpContract):
    @pytest.fixture(autouse=True)
    def _use(self) -> Iterator[None]:
        self.url = empty_database()
        self.connection = psycopg.connect(self.url, autocommit=True)
        yield
        self.connection.close()

    def subscribe(self, directory: Path, on_wake: Callable[[], None]) -> AbstractContextManager[None]:
        return listening(self.url, {JOBS_CHANNEL: lambda _: on_wake()})

    def wake(self, directory: Path) -> None:
        self.connection.execute(f"NOTIFY {JOBS_CHANNEL}".encode())
