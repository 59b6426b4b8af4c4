"""``python -m benchmarks.s3_memory``: the memory of one server process while many clients upload to S3 at once.

The budget (s3.memory_bytes) counts what waits to be sent to S3. Beside it a process needs what it has read ahead, and
its connections: the constant that this measures. versitygw runs on the same machine, over files in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.s3_floor import BUCKET, MIB
from benchmarks.s3_servers import s3_settings
from tests.support.client import Connection, create, patch_headers, request
from tests.support.content import content
from tests.support.s3 import VERSITYGW, running_s3
from tests.support.server import start_server

_PIECE_BYTES = 64 * 1024
_WARM_UP_BYTES = 9 * MIB


@dataclass(frozen=True)
class Memory:
    """The resident memory of the server: before, and at most."""

    before: int
    peak: int
    budget: int

    @property
    def beyond_budget(self) -> int:
        """What the uploads have taken in addition to the budget."""
        return self.peak - self.before - self.budget


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(name)


async def _upload(url: str, body: memoryview, rate: float, seconds: float) -> str:
    """Send ``body`` at ``rate`` bytes a second for ``seconds``, then the rest at once; return the URL."""
    location = await create(url, len(body))
    connection = await Connection.open(location)

    async def send() -> None:
        sent, began = 0, time.monotonic()
        while sent < len(body):
            is_slow = time.monotonic() - began < seconds
            count = max(1, int(min(_PIECE_BYTES, rate))) if is_slow else _PIECE_BYTES
            await connection.send(body[sent : sent + count])
            sent += count
            if is_slow and rate < _PIECE_BYTES:
                await asyncio.sleep(1)

    try:
        await connection.send_head("PATCH", location, patch_headers(0, len(body)))
        answer = await connection.answer_while(send(), 900.0)
        assert (answer.status, answer.offset) == (204, len(body)), answer
    finally:
        connection.close()
    return location


def measure(clients: int, size: int, *, budget: int, rate: float = float("inf"), seconds: float = 0.0) -> Memory:
    """Upload ``size`` bytes from each of ``clients`` at once, and compare some of them with what was sent."""
    body = content(1, size)

    async def run(url: str, count: int) -> list[str]:
        return await asyncio.gather(*(_upload(url, body, rate, seconds) for _ in range(count)))

    with running_s3(VERSITYGW) as s3, tempfile.TemporaryDirectory(prefix="s3-memory-") as directory:
        s3.client().create_bucket(Bucket=BUCKET)
        more = {"S3__MEMORY_BYTES": str(budget), "S3__PART_BYTES": "5MiB", "S3__PART_BYTES_MAX": "5MiB"}
        server = start_server(Path(directory, "data"), settings=s3_settings(s3, **more))
        try:
            asyncio.run(_upload(server.url, content(2, _WARM_UP_BYTES), float("inf"), 0))
            pid = server.process.pid
            before = _status(pid, "VmRSS")
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
            locations = asyncio.run(run(server.url, clients))
            peak = _status(pid, "VmHWM")
            for location in locations[:: max(1, clients // 10)]:
                assert asyncio.run(request("GET", location)).body == body
        finally:
            server.kill()
    return Memory(before, peak, budget)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s3_memory")
    parser.add_argument("--budget-mebibytes", type=int, default=64)
    arguments = parser.parse_args()
    budget = arguments.budget_mebibytes * MIB
    print("| clients | before MiB | peak MiB | budget MiB | beyond the budget MiB | for each client KiB |")
    print("|---|---|---|---|---|---|")
    for clients, size, rate, seconds in ((100, 12 * MIB, float("inf"), 0.0), (1000, 64 * 1024, 1000.0, 20.0)):
        found = measure(clients, size, budget=budget, rate=rate, seconds=seconds)
        print(
            f"| {clients} | {found.before // MIB} | {found.peak // MIB} | {budget // MIB} "
            f"| {found.beyond_budget / MIB:.0f} | {(found.peak - found.before - budget) / clients / 1024:.0f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
