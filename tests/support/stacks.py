"""What a server of the tests stands on: SQLite and a disk, PostgreSQL and a disk, or PostgreSQL, Redis and S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest

from tests.support.postgres import shared_server
from tests.support.redis import running_redis
from tests.support.s3 import S3Server, running_s3

#: For ``pytest.mark.parametrize``: only the first is quick.
STACKS = (
    "sqlite, disk",
    pytest.param("postgresql, disk", marks=pytest.mark.long),
    pytest.param("postgresql, redis, s3", marks=pytest.mark.long),
)
_buckets = count()


@contextmanager
def running_stack(name: str) -> Iterator[Mapping[str, str]]:
    """Start what ``name`` says, with a new database and a new bucket; yield the settings of servers on it."""
    with ExitStack() as stack:
        settings: dict[str, str] = {}
        if "postgresql" in name:
            postgres = shared_server()
            settings["RECORDS__URL"] = postgres.url(postgres.create_database())
            settings["LOCKING__KIND"] = "records"
        if "redis" in name:
            settings["REDIS__URL"] = stack.enter_context(running_redis())
            settings["LOCKING__KIND"] = "redis"
        if "s3" in name:
            settings |= in_bucket(stack.enter_context(running_s3()), f"uploads-{next(_buckets)}")
        yield settings


def in_bucket(server: S3Server, bucket: str) -> dict[str, str]:
    """Make this bucket, and return the settings of servers that keep their bytes there."""
    server.client().create_bucket(Bucket=bucket)
    return server.settings(bucket)
