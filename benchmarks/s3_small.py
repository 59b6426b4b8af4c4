"""``python -m benchmarks.s3_small``: small uploads to S3, by tusd-py and by tusd, on the same service.

An upload is a POST and a PATCH, or one POST with the bytes. One client sends them one after the other: the time of
each, how many the server manages for each second of CPU time, and the requests to S3 that the service has logged. The
fastest tenth of the times is least disturbed by other programs. The service keeps connections open, as AWS does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.processes import cpu_seconds, wait_until_idle
from benchmarks.s3_floor import BUCKET
from benchmarks.s3_servers import Start, ours, tusd
from benchmarks.tus import Client, UnexpectedAnswer
from tests.support.s3 import S3Server, running_s3

_SERVERS: dict[str, Start] = {"tusd-py": ours, "tusd 2.9.1": tusd}
_SIZES = {"4 KiB": 4096, "1 MiB": 1024**2}
_UPLOADS = {4096: 200, 1024**2: 60}
_WARM_UP = 10
#: The service writes its log a little later than it answers.
_LOG_SECONDS = 0.5


@dataclass(frozen=True)
class Small:
    """The figures of one server for uploads of one kind."""

    fast_milliseconds: float  # the slowest of the fastest tenth
    milliseconds: float  # the median
    per_cpu_second: float
    s3_requests: float  # for each upload


def upload(client: Client, body: bytes, *, at_once: bool) -> None:
    """One upload to its end."""
    if at_once:
        client.create(len(body), body)
        return
    answer = client.append(client.create(len(body)), 0, body)
    if answer.status != 204:
        raise UnexpectedAnswer(f"the PATCH was answered {answer.status}")


def measure(start: Start, size: int, *, at_once: bool) -> Small:
    """Start a service and a server, and upload to them."""
    body = bytes(size)
    with (
        running_s3(logs_requests=True, keeps_alive=True) as s3,
        tempfile.TemporaryDirectory(prefix="s3-bench-", dir="/dev/shm") as directory,
    ):
        s3.client().create_bucket(Bucket=BUCKET)
        with start(s3, Path(directory)) as (url, pid), Client(url) as client:
            for _ in range(_WARM_UP):
                upload(client, body, at_once=at_once)
            wait_until_idle(pid)
            before, cpu = _logged(s3), cpu_seconds(pid)
            each = []
            for _ in range(_UPLOADS[size]):
                began = time.perf_counter()
                upload(client, body, at_once=at_once)
                each.append(time.perf_counter() - began)
            cpu = cpu_seconds(pid) - cpu
            requests = _logged(s3) - before
    fast = statistics.quantiles(each, n=10)[0]
    return Small(fast * 1000, statistics.median(each) * 1000, len(each) / cpu, requests / len(each))


def _logged(s3: S3Server) -> int:
    time.sleep(_LOG_SECONDS)
    return len(s3.access_log.read_bytes().splitlines())


def _median(rounds: Sequence[Small]) -> Small:
    return Small(**{name: statistics.median(asdict(each)[name] for each in rounds) for name in asdict(rounds[0])})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s3_small")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    titles = ["upload", "", "ms, fastest tenth", "ms, median", "uploads per CPU second", "requests to S3"]
    print(f"| {' | '.join(titles)} |", "|" + "---|" * len(titles), sep="\n")
    for title, size in _SIZES.items():
        for at_once in (False, True):
            found: dict[str, list[Small]] = {name: [] for name in _SERVERS}
            for _ in range(rounds):
                for name, start in _SERVERS.items():
                    found[name].append(measure(start, size, at_once=at_once))
            for name, figures in found.items():
                each = _median(figures)
                kind = f"{title}, {'one POST' if at_once else 'POST and PATCH'}"
                times = f"{each.fast_milliseconds:.1f} | {each.milliseconds:.1f}"
                print(f"| {kind} | {name} | {times} | {each.per_cpu_second:.0f} | {each.s3_requests:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
