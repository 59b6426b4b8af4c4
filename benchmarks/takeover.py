"""``python -m benchmarks.takeover``: how long a request waits for an upload that another server is receiving.

Two servers on one PostgreSQL. A client stalls in a PATCH at one of them, another client sends a request for the same
upload to the other, and waits until it is answered. Both kinds of locks take turns. Needs PostgreSQL and Redis.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.network.test_takeover import take_over
from tests.support.client import Connection
from tests.support.machines import Machines, machines
from tests.support.postgres import shared_server
from tests.support.redis import running_redis

METHODS = ("HEAD", "PATCH", "DELETE")


async def _waits(nodes: Machines, method: str, count: int) -> list[float]:
    waits = []
    for number in range(count):
        first, second = nodes.servers[:: 1 if number % 2 else -1]
        holder, newcomer = await Connection.open(first.url), await Connection.open(second.url)
        waits.append((await take_over(first, method, holder, newcomer)).seconds)
        holder.close()
        newcomer.close()
    return waits


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.takeover")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tries", type=int, default=10, help="in each round")
    arguments = parser.parse_args()
    found: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis())
        pairs = {}
        for locking in ("redis", "records"):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takeover-")))
            settings = {"LOCKING__KIND": locking, "REDIS__URL": redis}
            pairs[locking] = stack.enter_context(machines(directory, 2, shared_server(), settings))
        for _ in range(arguments.rounds):
            for locking, nodes in pairs.items():
                for method in METHODS:
                    found.setdefault((method, locking), []).extend(asyncio.run(_waits(nodes, method, arguments.tries)))
    print("| request | locks | takeovers | median ms | 90 % ms | at most ms |")
    print("|---|---|---|---|---|---|")
    for (method, locking), waits in sorted(found.items()):
        nine = statistics.quantiles(waits, n=10)[-1]
        print(
            f"| {method} | {locking} | {len(waits)} | {statistics.median(waits) * 1e3:.0f} "
            f"| {nine * 1e3:.0f} | {max(waits) * 1e3:.0f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
