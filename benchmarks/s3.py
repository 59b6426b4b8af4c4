"""``python -m benchmarks.s3``: uploads to S3 through tusd-py, tusd and @tus/s3-store, and a plain multipart upload.

All write the same bytes to one versitygw on this machine, in parts of the same size, one after the other in each
round. "aiobotocore" is a multipart upload of bytes that are in memory: nothing sends them, and no HTTP is received.
"floor" is the same behind HTTP (``benchmarks.s3_floor``). The second table says where the time goes: the client, the
server and the service share the cores, so a rate is bound by the sum of their CPU times. Needs Go and Node.js.
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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.processes import cpu_seconds, wait_until_idle
from benchmarks.s3_floor import BUCKET, MIB, PART_BYTES, Multipart, s3_client
from benchmarks.s3_servers import Start, floor, node, ours, tusd
from benchmarks.streams import append
from benchmarks.tus import Client
from tests.support.s3 import VERSITYGW, S3Server, running_s3

_PLAIN = "aiobotocore"
_SERVERS: dict[str, Start] = {
    "tusd-py": ours,
    "tusd 2.9.1": tusd,
    "@tus/s3-store 2.0.7": node,
    "floor": floor,
}


@dataclass(frozen=True)
class Figures:
    """One upload: how long it took, and the CPU time of all that took part. All in seconds, for each MiB."""

    wall: float
    server: float
    client: float
    service: float
    idle: float  # of all cores
    others: float  # other programs on this machine

    @property
    def rate(self) -> float:
        """MiB per second."""
        return 1 / self.wall

    @property
    def per_cpu_second(self) -> float:
        """MiB for each second of the server's CPU time."""
        return 1 / max(self.server, 1e-9)


class Meter:
    """Measures from its creation on. The client is this process, unless it is the server itself."""

    def __init__(self, server: int, service: int) -> None:
        self._server, self._service = server, service
        self._before = self._now()

    def _now(self) -> tuple[float, float, float, float, float]:
        client = 0.0 if self._server == os.getpid() else time.process_time()
        return time.perf_counter(), cpu_seconds(self._server), client, cpu_seconds(self._service), _idle_seconds()

    def figures(self, mebibytes: int) -> Figures:
        wall, server, client, service, idle = (
            (after - before) / mebibytes for after, before in zip(self._now(), self._before, strict=True)
        )
        others = wall * (os.cpu_count() or 1) - server - client - service - idle
        return Figures(wall, server, client, service, idle, max(0.0, others))


def _idle_seconds() -> float:
    """How long cores have had nothing to do: the sum over all."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return (int(fields[3]) + int(fields[4])) / os.sysconf("SC_CLK_TCK")


def upload(url: str, size: int) -> None:
    """One POST and one PATCH."""
    with Client(url, 600.0) as client:
        append(client, client.create(size), 0, size)


def measure_server(start: Start, s3: S3Server, mebibytes: int) -> Figures:
    """Start a server, upload a little to warm it up, then measure one upload."""
    with (
        tempfile.TemporaryDirectory(prefix="s3-bench-", dir="/dev/shm") as directory,
        start(s3, Path(directory)) as (url, pid),
    ):
        upload(url, 2 * PART_BYTES)
        wait_until_idle(pid)
        meter = Meter(pid, s3.process_id)
        upload(url, mebibytes * MIB)
        return meter.figures(mebibytes)


def measure_plain(s3: S3Server, mebibytes: int) -> Figures:
    """A multipart upload by aiobotocore alone, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.s3", "--mebibytes", str(mebibytes)]
    command += ["--plain", s3.url, "--service", str(s3.process_id)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Figures(*map(float, output.split()))


async def plain(url: str, service: int, mebibytes: int) -> Figures:
    """Upload bytes of this process."""
    block = os.urandom(MIB)
    async with s3_client(url) as client:
        await client.put_object(Bucket=BUCKET, Key="plain", Body=b"")
        meter = Meter(os.getpid(), service)
        multipart = Multipart(client, "plain")
        await multipart.create()
        for start in range(0, mebibytes * MIB, PART_BYTES):
            await multipart.add(block * (min(PART_BYTES, mebibytes * MIB - start) // MIB))
        await multipart.complete()
        return meter.figures(mebibytes)


def measure(rounds: int, mebibytes: int, names: Sequence[str]) -> dict[str, list[Figures]]:
    """The figures of each round, in turns."""
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            # An empty bucket each time: the objects are in memory.
            with running_s3(VERSITYGW) as s3:
                s3.client().create_bucket(Bucket=BUCKET)
                found[name].append(
                    measure_plain(s3, mebibytes) if name == _PLAIN else measure_server(_SERVERS[name], s3, mebibytes)
                )
    return found


def median(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    return Figures(**{name: statistics.median(asdict(each)[name] for each in rounds) for name in asdict(rounds[0])})


def rate_table(found: Mapping[str, Figures]) -> list[str]:
    """Rates, and how many times that of each other tusd-py's is."""
    lines = ["| | MiB/s | MiB per CPU second | tusd-py against it: MiB/s | per CPU second |", "|---|---|---|---|---|"]
    own = next(iter(found.values()))
    for name, each in found.items():
        ratios = f"{own.rate / each.rate:.2f} | {own.per_cpu_second / each.per_cpu_second:.2f}"
        lines.append(f"| {name} | {each.rate:,.0f} | {each.per_cpu_second:,.0f} | {ratios} |")
    return lines


def time_table(found: Mapping[str, Figures], cores: int) -> list[str]:
    """Where the time goes: milliseconds for each MiB."""
    titles = ["", "wall", f"wall x {cores} cores", "server", "client", "service", "idle", "other programs"]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for name, each in found.items():
        values = [each.wall, each.wall * cores, each.server, each.client, each.service, each.idle, each.others]
        lines.append(f"| {name} | {' | '.join(f'{value * 1000:.2f}' for value in values)} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s3")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--only", default="", help="names of the table, comma-separated; tusd-py is always measured")
    parser.add_argument("--plain", default="", help=argparse.SUPPRESS)
    parser.add_argument("--service", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        figures = asyncio.run(plain(arguments.plain, arguments.service, arguments.mebibytes))
        print(*asdict(figures).values())
        return 0
    names = [*_SERVERS, _PLAIN]
    if arguments.only:
        names = [name for name in names if name == "tusd-py" or name in arguments.only.split(",")]
    found = {name: median(each) for name, each in measure(arguments.rounds, arguments.mebibytes, names).items()}
    size = f"{arguments.mebibytes} MiB in parts of {PART_BYTES // MIB} MiB"
    print(f"{size}, medians of {arguments.rounds} rounds\n", *rate_table(found), sep="\n")
    print("\nMilliseconds for each MiB; all but wall is CPU time:\n", *time_table(found, os.cpu_count() or 1), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
