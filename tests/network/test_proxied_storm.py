"""tus-js-client behind nginx, three servers and two workers while everything fails: every file right, no event lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network.proxied_storm import run

pytestmark = pytest.mark.anyio


@pytest.mark.timeout(180)
async def test_ten_uploads(tmp_path: Path) -> None:
    """Ten uploads while three of them fail."""
    storm = await run(tmp_path / "data", 10, 3, rate=100_000)
    print(storm)
