"""The limit on creations: a burst, the wait that a client is told, and what counts as a file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.harness import CALLER, UploadsHarness
from tusd_py.access.rates import WindowedCreationRate
from tusd_py.model.upload import Kind
from tusd_py.protocol.access_errors import TooManyCreations

pytestmark = pytest.mark.anyio


async def test_burst_then_429() -> None:
    """As many at once as a minute allows, no more; others are not affected; the refusal says how long to wait."""
    rate = WindowedCreationRate(5)
    for _ in range(5):
        rate.ensure_allowed("user:alice")
    with pytest.raises(TooManyCreations) as refused:
        rate.ensure_allowed("user:alice")
    assert refused.value.status == 429
    assert 50 <= (refused.value.retry_after_seconds or 0) <= 61
    rate.ensure_allowed("user:bob")
    rate.ensure_allowed("address:192.0.2.7")


async def test_parts_are_not_counted() -> None:
    """A parallel upload counts once, by its final upload."""
    harness = UploadsHarness()
    harness.ports = replace(harness.ports, creation_rate=WindowedCreationRate(1))
    harness.caller = replace(CALLER, owner="alice")
    parts = [(await harness.create(1, b"x", kind=Kind.PARTIAL)).upload.id for _ in range(3)]
    await harness.create(None, kind=Kind.FINAL, parts=parts)
    with pytest.raises(TooManyCreations):
        await harness.create(1)
    assert await harness.create(1, kind=Kind.PARTIAL)
