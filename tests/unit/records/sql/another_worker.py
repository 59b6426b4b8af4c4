"""A process that claims jobs beside others, for ``test_jobs``: ``python another_worker.py URL``."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from tusd_py.records.sql.database import SqlDatabase

NOW = datetime(2026, 3, 1, tzinfo=UTC)


async def main(url: str) -> None:
    """Claim and complete jobs until there are none; print the id of each."""
    database = await SqlDatabase.open(url)
    job_queue = database.job_queue

    async def work() -> None:
        while jobs := await job_queue.claim(NOW, NOW + timedelta(seconds=60), 3):
            for job in jobs:
                print(job.id, flush=True)
                await job_queue.complete(job, NOW)

    await asyncio.gather(*(work() for _ in range(3)))
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
