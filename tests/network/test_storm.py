"""Three servers and two workers while everything under them fails: every file right, every event once in effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network.storm import Storm
from tests.support.postgres import shared_server
from tests.support.redis import restartable_redis


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.anyio
@pytest.mark.parametrize("locking", ["redis", "records"])
async def test_fourteen_faults_during_forty_uploads(tmp_path: Path, locking: str) -> None:
    """Servers, workers, Redis and PostgreSQL fail one after the other; no lock is left at the end."""
    with restartable_redis() as redis:
        data_dir = tmp_path / "data"
        storm = Storm(data_dir, redis.url, 40, 14, 1, database=shared_server(), redis=redis, locking=locking)
        await storm.run()
    assert 14 == sum(storm.killed.values())
    assert (40, 10) == (len(storm.sent), storm.concatenated)
    print(f"faults {dict(storm.killed)}, run again {dict(storm.rerun)}, delivered again {storm.redelivered}")
