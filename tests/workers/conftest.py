"""Tests that run with both brokers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.redis import flush, running_redis


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with running_redis() as url:
        yield url


@pytest.fixture(params=["embedded", "redis"])
def broker(request: pytest.FixtureRequest) -> str:
    """The setting ``worker.broker``."""
    if request.param == "embedded":
        return "embedded"
    url: str = request.getfixturevalue("redis_url")
    flush(url)
    return url
