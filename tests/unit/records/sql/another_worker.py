"""A process that claims jobs beside others, for ``test_outbox``: ``python another_worker.py URL``."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from tusd_py.records.sql.records import SqlRecords

NOW = datetime(2026, 3, 1, tzinfo=UTC)


async def main(url: str) -> None:
    """Claim and end jobs until there are none, telling the number of each on stdout."""
    records = await SqlRecords.open(url)

    async def work() -> None:
        while jobs := await records.claim(NOW, NOW + timedelta(seconds=60), 3):
            for job in jobs:
                print(job.id, flush=True)
                await records.complete(job, NOW)

    await asyncio.gather(*(work() for _ in range(3)))
    await records.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
