"""``python -m benchmarks.token_cost``: the CPU time that a token seen before adds to a creation and to a HEAD.

One server, which accepts tokens (JWT) and anonymous requests, answers both in turn, so that other load affects both
alike. Another server without access control shows what access control itself adds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import jwt

from benchmarks.quota_cost import CONNECTIONS, CREATION, Running, send, serving

_SECRET = "a secret of the benchmark, of thirty-two bytes and more"
_ADDED_MAX = 20.0  # microseconds


def main() -> int:
    """Measure and print. Returns 1 if a token adds more than 20 microseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    token = jwt.encode({"sub": "ada", "exp": time.time() + 3600}, _SECRET, "HS256")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        controlled = stack.enter_context(serving(Path(folder, "0"), {"JWT__SECRET": _SECRET}))
        plain = stack.enter_context(serving(Path(folder, "1"), {}))
        targets: dict[str, tuple[Running, list[bytes]]] = {}
        for name in ("creation", "HEAD"):
            for server, control in ((plain, "access control off"), (controlled, "without a token")):
                targets[f"{name}, {control}"] = server, _requests(name, server)
            requests = [_with_token(each, token) for each in _requests(name, controlled)]
            targets[f"{name}, with a token"] = controlled, requests
        costs: dict[str, list[float]] = {name: [] for name in targets}
        for number in range(options.rounds + 1):
            for name, (server, requests) in targets.items():
                before = server.cpu_seconds()
                asyncio.run(send(server.port, options.requests, requests))
                if number:  # the first round warms up
                    costs[name].append((server.cpu_seconds() - before) / options.requests * 1e6)
    medians = {name: statistics.median(each) for name, each in costs.items()}
    for name, cost in medians.items():
        print(f"{name:<32} {cost:6.0f} us of CPU for each request")
    added = [_added(costs, name) for name in ("creation", "HEAD")]
    print(f"a token adds {added[0]:.0f} us to a creation, {added[1]:.0f} us to a HEAD (medians of the rounds)")
    return int(max(added) > _ADDED_MAX)


def _added(costs: Mapping[str, Sequence[float]], name: str) -> float:
    """The median of what a token added in each round: other load changes between rounds more than within one."""
    pairs = zip(costs[f"{name}, without a token"], costs[f"{name}, with a token"], strict=True)
    return statistics.median(after - before for before, after in pairs)


def _requests(name: str, server: Running) -> list[bytes]:
    """The requests of this name: HEADs are of an upload for each connection, because one waits for another."""
    return [CREATION] if name == "creation" else [asyncio.run(_head(server.port)) for _ in range(CONNECTIONS)]


def _with_token(request: bytes, token: str) -> bytes:
    return request.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n")


async def _head(port: int) -> bytes:
    """A HEAD of an upload that belongs to nobody, which is created now."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(CREATION)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()
    location = next(line for line in head.splitlines() if line.lower().startswith("location:"))
    path = "/files/" + location.rsplit("/", 1)[1]
    return f"HEAD {path} HTTP/1.1\r\nHost: bench\r\nTus-Resumable: 1.0.0\r\n\r\n".encode()


if __name__ == "__main__":
    sys.exit(main())
