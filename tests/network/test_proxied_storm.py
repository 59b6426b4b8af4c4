"""tus-js-client behind nginx, three servers and two workers while everything fails: every file right, no event lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network.proxied_storm import run


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("storage", "locking", "uploads", "faults", "outage_seconds"),
    [("disk", "redis", 200, 30, 10.0), ("disk", "records", 60, 14, 4.0), ("s3", "redis", 40, 18, 4.0)],
)
async def test_clients_behind_a_proxy(
    tmp_path: Path, storage: str, locking: str, uploads: int, faults: int, outage_seconds: float
) -> None:
    """Every upload ends completely and right, whatever fails meanwhile; nothing is locked or left over at the end."""
    storm = await run(
        tmp_path / "data", uploads, faults, storage=storage, locking=locking, outage_seconds=outage_seconds
    )
    print(storm)
    assert storm.uploads == len(storm.sent)
    assert set(storm.killed) == set(storm._victims())
