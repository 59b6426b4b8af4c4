"""``python -m benchmarks.quota_cost``: the CPU time of a creation with quotas, compared with one without.

Servers with different settings answer the same creations in turn, over several connections each, so that other load
affects all of them alike. With ``--postgresql`` the records are in databases of one PostgreSQL, with fsync off as in
the tests, whose CPU time counts as well. Linux only: the CPU time of a process is read from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.postgres import PostgresServer, shared_server

CREATION = (
    b"POST /files/ HTTP/1.1\r\nHost: bench\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 100\r\nContent-Length: 0\r\n\r\n"
)
CONNECTIONS = 16
_DAY = {"QUOTAS__ENABLED": "true", "QUOTAS__BYTES_PER_DAY": "1TB", "QUOTAS__BYTES_PER_MONTH": "1TB"}
_ALL = {"QUOTAS__FILES_PER_DAY": "1000000", "QUOTAS__BYTES_STORED": "1TB", "QUOTAS__UPLOADS_AT_ONCE": "1000000"}
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "without quotas": {},
    "bytes a day and month": _DAY,
    "all quotas": {**_DAY, **_ALL},
}
_RATIO_MIN = 0.75


@dataclass(frozen=True)
class Running:
    """A server process and the port it listens on."""

    process_id: int
    port: int

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process_id}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure and print. Returns 1 if a creation with all quotas needs more than 4/3 of the CPU time of one without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creations", type=int, default=3200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--postgresql", action="store_true", help="needs PostgreSQL's programs")
    options = parser.parse_args()
    database = shared_server() if options.postgresql else None
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {
            name: stack.enter_context(serving(Path(folder, str(number)), {**settings, **_records(database)}))
            for number, (name, settings) in enumerate(_SETTINGS.items())
        }
        for server in servers.values():
            asyncio.run(send(server.port, options.creations // 4))
        costs: dict[str, list[float]] = {name: [] for name in servers}
        waits: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(options.rounds):
            for name, server in servers.items():
                before, began = server.cpu_seconds() + _cpu_seconds(database), time.perf_counter()
                asyncio.run(send(server.port, options.creations))
                waits[name].append((time.perf_counter() - began) / options.creations * 1e6)
                cost = server.cpu_seconds() + _cpu_seconds(database) - before
                costs[name].append(cost / options.creations * 1e6)
    medians = {name: statistics.median(each) for name, each in costs.items()}
    plain, plain_wait = medians["without quotas"], statistics.median(waits["without quotas"])
    for name, cost in medians.items():
        wait = statistics.median(waits[name])
        print(
            f"{name:<24} {cost:6.0f} us of CPU for each creation   {plain / cost:.2f} of those without; "
            f"{1e6 / wait:6,.0f} a second   {plain_wait / wait:.2f}"
        )
    return int(plain / medians["all quotas"] < _RATIO_MIN)


def _records(database: PostgresServer | None) -> dict[str, str]:
    return {} if database is None else {"RECORDS__URL": database.url(database.create_database())}


def _cpu_seconds(database: PostgresServer | None) -> float:
    """The CPU time of all processes of ``database``."""
    return sum(Running(each, 0).cpu_seconds() for each in ([] if database is None else database.processes()))


async def send(port: int, count: int, requests: Sequence[bytes] = (CREATION,)) -> None:
    """Send ``count`` requests over several connections, each of which repeats one of ``requests``.

    Raises ``RuntimeError`` for an answer other than 2xx.
    """

    async def connection(request: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count // CONNECTIONS):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 20" not in head[:12]:
                raise RuntimeError(f"the request was answered {head[:100]!r}")
        writer.close()

    await asyncio.gather(*(connection(requests[number % len(requests)]) for number in range(CONNECTIONS)))


@contextmanager
def serving(data_dir: Path, settings: Mapping[str, str]) -> Iterator[Running]:
    """A server with these settings, which are named as its variables are."""
    fixed = {"LOG__LEVEL": "warning", "UPLOADS__EMPTY_PER_CLIENT_MAX": "1000000"}
    variables = {f"TUSD_PY_{name}": value for name, value in {**fixed, **settings}.items()}
    command = [sys.executable, "-m", "tusd_py", "serve", "--port", "0", "--data-dir", str(data_dir)]
    with subprocess.Popen(
        command, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = next(word for line in process.stdout for word in line.split() if word.startswith("http://"))
            yield Running(process.pid, urlsplit(url).port or 0)
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
