"""The stacks on which tests run servers: SQLite and a disk, PostgreSQL and a disk, or PostgreSQL, Redis and S3.

A test with the mark ``every_stack`` runs on each of them. Only the first belongs to ``make test``; the others are
``long``, except for the tests, or parameters, that have the mark ``quick_on_every_stack``.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from tests.support.postgres import shared_server
from tests.support.redis import flush, running_redis
from tests.support.s3 import S3Server, running_s3
from tusd_py.settings import Settings

SQLITE_DISK = "sqlite-disk"
POSTGRESQL_DISK = "postgresql-disk"
POSTGRESQL_REDIS_S3 = "postgresql-redis-s3"
STACKS = (SQLITE_DISK, POSTGRESQL_DISK, POSTGRESQL_REDIS_S3)
#: With the locks of one host.
POSTGRESQL_FILE_LOCKS = "postgresql-file-locks"

#: For tests with the fixture ``stack``, or with another one that takes its parameter.
every_stack = pytest.mark.parametrize("stack", STACKS, indirect=True)
on_a_disk = pytest.mark.parametrize("stack", (SQLITE_DISK, POSTGRESQL_DISK), indirect=True)
quick_on_every_stack = pytest.mark.quick_on_every_stack

_buckets = count()
_redis_databases = count()
#: As many as a Redis server has by default.
_REDIS_DATABASES = 16


def settings_on(stack: str) -> dict[str, str]:
    """The settings of servers on ``stack``, with a database, a bucket and a database of Redis that are new and empty.

    The services are started once for each test process.
    """
    settings: dict[str, str] = {}
    if stack != SQLITE_DISK:
        postgres = shared_server()
        settings["RECORDS__URL"] = postgres.url(postgres.create_database())
        # A killed server leaves its locks: the upload stays locked until this lease ends.
        settings["LOCKING__LEASE_SECONDS"] = "2"
        settings["LOCKING__KIND"] = "file" if stack == POSTGRESQL_FILE_LOCKS else "records"
    if stack == POSTGRESQL_REDIS_S3:
        settings["REDIS__URL"] = _empty_redis()
        settings["LOCKING__KIND"] = "redis"
        settings |= in_bucket(shared_s3(), f"uploads-{next(_buckets)}")
    return settings


def as_settings(data_dir: Path, variables: Mapping[str, str]) -> Settings:
    """The settings of ``settings_on`` for ports that a test opens itself."""
    sections: dict[str, dict[str, str]] = {"storage": {"data_dir": str(data_dir)}}
    for name, value in variables.items():
        section, _, key = name.lower().partition("__")
        sections.setdefault(section, {})[key] = value
    return Settings.model_validate(sections)


def in_bucket(server: S3Server, bucket: str) -> dict[str, str]:
    """Make this bucket, and return the settings of servers that keep their bytes there."""
    server.client().create_bucket(Bucket=bucket)
    return server.settings(bucket)


def mark_long(items: list[pytest.Item]) -> None:
    """Mark every test as long that runs on another stack than the first and is not chosen to be quick."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            stack = item.callspec.params.get("stack", SQLITE_DISK)
            is_chosen = stack in STACKS and item.get_closest_marker(quick_on_every_stack.name)
            if stack != SQLITE_DISK and not is_chosen:
                item.add_marker(pytest.mark.long)


@cache
def _of_this_process() -> ExitStack:
    services = ExitStack()
    atexit.register(services.close)
    return services


@cache
def _shared_redis() -> str:
    return _of_this_process().enter_context(running_redis())


@cache
def shared_s3() -> S3Server:
    """The S3 server of this test process, which ends with it."""
    return _of_this_process().enter_context(running_s3())


def _empty_redis() -> str:
    url = f"{_shared_redis()}?db={next(_redis_databases) % _REDIS_DATABASES}"
    flush(url)
    return url
