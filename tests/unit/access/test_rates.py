"""The limit on creations: a burst, the wait that a client is told, and a storage that fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.harness import CALLER, UploadsHarness
from tests.support.redis import running_redis
from tusd_py.access.rates import WindowedCreationRate, storage_of
from tusd_py.model.upload import Kind
from tusd_py.protocol.access_errors import TooManyCreations

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield ""
    else:
        with running_redis() as redis_url:
            yield redis_url


async def test_burst_then_429(url: str) -> None:
    """As many at once as a minute allows, no more; others are not affected; the refusal says how long to wait."""
    rate = WindowedCreationRate(5, storage_of(url))
    for _ in range(5):
        await rate.ensure_allowed("user:alice")
    with pytest.raises(TooManyCreations) as refused:
        await rate.ensure_allowed("user:alice")
    assert refused.value.status == 429
    assert 50 <= (refused.value.retry_after_seconds or 0) <= 61
    await rate.ensure_allowed("user:bob")
    await rate.ensure_allowed("address:192.0.2.7")


async def test_storage_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """While Redis is down creations are allowed, and the log says so without the URL."""
    rate = WindowedCreationRate(1, storage_of("redis://:secret@127.0.0.1:9/0"))
    for _ in range(3):
        await rate.ensure_allowed("user:alice")
    assert "creations are not counted" in caplog.text
    assert "secret" not in caplog.text


async def test_parts_are_not_counted() -> None:
    """A parallel upload counts once, by its final upload."""
    harness = UploadsHarness()
    harness.ports = replace(harness.ports, creation_rate=WindowedCreationRate(1, storage_of("")))
    harness.caller = replace(CALLER, owner="alice")
    parts = [(await harness.create(1, b"x", kind=Kind.PARTIAL)).upload.id for _ in range(3)]
    await harness.create(None, kind=Kind.FINAL, parts=parts)
    with pytest.raises(TooManyCreations):
        await harness.create(1)
    assert await harness.create(1, kind=Kind.PARTIAL)
