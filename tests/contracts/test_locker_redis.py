"""The lease locker on Redis against the contract of lockers: two lockers that share nothing but the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.locker import LockerContract
from tests.support.redis import flush, running_redis
from tusd_py.contracts.locker import Locker
from tusd_py.locking.lease import LeaseLocker
from tusd_py.locking.redis import RedisLeases


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_redis() as url:
        yield url


class TestRedisLocker(LockerContract):
    @pytest.fixture(autouse=True)
    def _use(self, server: str) -> Iterator[None]:
        self.url = server
        yield
        flush(server)

    def open(self, directory: Path) -> Locker:
        return LeaseLocker(RedisLeases(self.url), lease_seconds=15)

    def other(self, locker: Locker, directory: Path) -> Locker:
        return self.open(directory)


@pytest.mark.long
class TestRedisLockerUnderUvloop(TestRedisLocker):
    @pytest.fixture
    def anyio_backend(self) -> object:
        return "asyncio", {"use_uvloop": True}
