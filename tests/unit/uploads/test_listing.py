"""Lists that are longer than a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tusd_py.model.upload import Upload
from tusd_py.protocol.listing import UploadFilter
from tusd_py.records.memory import MemoryRecords
from tusd_py.uploads import listing

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("limit", "count"), [(None, 7), (1, 1), (3, 3), (6, 6), (9, 7)])
async def test_all_pages_up_to_the_limit(monkeypatch: pytest.MonkeyPatch, limit: int | None, count: int) -> None:
    """Each upload comes once, newest first, whether the limit ends within a page, at its end, or is larger."""
    monkeypatch.setattr(listing, "_PAGE", 3)
    records, at = MemoryRecords(), datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(7):
        created = at + timedelta(seconds=number)
        await records.insert(Upload(id=str(number), length=1, created_at=created, updated_at=created))
    found = [upload.id async for upload in listing.listed(records, UploadFilter(), limit)]
    assert found == list("6543210")[:count]
