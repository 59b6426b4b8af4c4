"""``python -m benchmarks.s3``: uploads to S3 through tusd-py, tusd and @tus/s3-store, and a plain multipart upload.

All write the same bytes to one versitygw on this machine, in parts of the same size, one after the other in each
round. CPU time is that of the server's processes, without versitygw and the client. Needs Go and Node.js.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.client import TUS, Connection, create, patch_headers
from tests.support.golang import tusd_program
from tests.support.node import installed
from tests.support.s3 import VERSITYGW, S3Server, running_s3
from tests.support.s3_services import ACCESS_KEY, SECRET_KEY
from tests.support.server import start_server
from tests.support.sockets import processes

MIB = 1024**2
PART_BYTES = 8 * MIB
PARALLEL_PARTS = 4
BUCKET = "uploads"
_PEER = Path(__file__).parent / "s3_peer"
_ENDPOINT = re.compile(rb"(?:tus endpoint|upload files to:)\s+(http\S+)\s")
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Figures:
    """One upload: MiB per second, and MiB per second of CPU time."""

    rate: float
    per_cpu_second: float


def cpu_seconds(pids: Sequence[int]) -> float:
    """The CPU time of processes so far, in user and kernel mode."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def s3_settings(s3: S3Server, **more: str) -> dict[str, str]:
    """The settings of a tusd-py over this S3."""
    return {
        "STORAGE__KIND": "s3",
        "S3__BUCKET": BUCKET,
        "S3__ENDPOINT_URL": s3.url,
        "S3__REGION": "us-east-1",
        "S3__ACCESS_KEY": ACCESS_KEY,
        "S3__SECRET_KEY": SECRET_KEY,
        "S3__PART_BYTES": str(PART_BYTES),
        "S3__PARALLEL_PARTS": str(PARALLEL_PARTS),
        "LOG__LEVEL": "warning",
        **more,
    }


@contextmanager
def ours(s3: S3Server, directory: Path) -> Iterator[tuple[str, int]]:
    """The URL and the process group of tusd-py."""
    server = start_server(directory / "data", settings=s3_settings(s3))
    try:
        yield server.url, server.process.pid
    finally:
        server.kill()


@contextmanager
def tusd(s3: S3Server, directory: Path) -> Iterator[tuple[str, int]]:
    """Those of tusd."""
    command = [tusd_program(), "-host", "127.0.0.1", "-port", "0", "-s3-bucket", BUCKET, "-s3-endpoint", s3.url]
    command += ["-s3-part-size", str(PART_BYTES), "-s3-max-buffered-parts", "20"]
    variables = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
    with _other(list(map(str, command)), directory, variables) as running:
        yield running


@contextmanager
def node(s3: S3Server, directory: Path) -> Iterator[tuple[str, int]]:
    """Those of @tus/server with @tus/s3-store."""
    arguments = [s3.url, BUCKET, ACCESS_KEY, SECRET_KEY, str(PART_BYTES)]
    with _other([installed(_PEER), str(_PEER / "server.mjs"), *arguments], directory, {}) as running:
        yield running


@contextmanager
def _other(command: Sequence[str], directory: Path, variables: dict[str, str]) -> Iterator[tuple[str, int]]:
    output = directory / "output"
    environment = {**os.environ, **variables, "TMPDIR": str(directory)}
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while (found := _ENDPOINT.search(output.read_bytes())) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it did not start: {output.read_text()[-2000:]}")
            time.sleep(0.05)
        yield found[1].decode(), process.pid
    finally:
        process.kill()
        process.wait()


async def upload(url: str, body: memoryview) -> None:
    """One POST and one PATCH."""
    location = await create(url, len(body))
    connection = await Connection.open(location)
    try:
        await connection.send_head("PATCH", location, patch_headers(0, len(body)))
        answer = await connection.answer_while(connection.send(body), 600.0)
        assert (answer.status, answer.offset) == (204, len(body)), answer
        head = await connection.request("HEAD", location, TUS)
        assert head.offset == len(body)
    finally:
        connection.close()


def measure_server(start: Callable[..., Any], s3: S3Server, body: memoryview) -> Figures:
    """Start a server, upload a little to warm it up, then measure one upload."""
    with (
        tempfile.TemporaryDirectory(prefix="s3-bench-", dir="/dev/shm") as directory,
        start(s3, Path(directory)) as (url, pid),
    ):
        asyncio.run(upload(url, body[: 2 * PART_BYTES]))
        pids = processes(pid)
        cpu, began = cpu_seconds(pids), time.perf_counter()
        asyncio.run(upload(url, body))
        seconds = time.perf_counter() - began
        cpu = cpu_seconds(pids) - cpu
    return _figures(len(body), seconds, cpu)


def measure_plain(s3: S3Server, body: memoryview) -> Figures:
    """A multipart upload by aiobotocore alone, in a process of its own, with the configuration of tusd-py."""
    command = [sys.executable, "-m", "benchmarks.s3", "--plain", s3.url, "--mebibytes", str(len(body) // MIB)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, cpu = map(float, output.split())
    return _figures(len(body), seconds, cpu)


async def plain(url: str, body: memoryview) -> tuple[float, float]:
    """Seconds, and seconds of CPU time, of a multipart upload."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    config = AioConfig(
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": False, "addressing_style": "path"},
    )
    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    async with get_session().create_client(
        "s3", endpoint_url=url, region_name="us-east-1", config=config, **keys
    ) as client:
        await client.put_object(Bucket=BUCKET, Key="plain", Body=b"")
        cpu, began = time.process_time(), time.perf_counter()
        made = await client.create_multipart_upload(Bucket=BUCKET, Key="plain")
        multipart = {"Bucket": BUCKET, "Key": "plain", "UploadId": made["UploadId"]}
        slots = asyncio.Semaphore(PARALLEL_PARTS)

        async def send(number: int) -> dict[str, object]:
            async with slots:
                piece = bytes(body[(number - 1) * PART_BYTES : number * PART_BYTES])
                sent = await client.upload_part(PartNumber=number, Body=piece, **multipart)
            return {"PartNumber": number, "ETag": sent["ETag"]}

        parts = await asyncio.gather(*map(send, range(1, -(-len(body) // PART_BYTES) + 1)))
        await client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **multipart)
        return time.perf_counter() - began, time.process_time() - cpu


def _figures(size: int, seconds: float, cpu: float) -> Figures:
    return Figures(size / MIB / seconds, size / MIB / max(cpu, 0.01))


def _content(mebibytes: int) -> memoryview:
    block = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(256)) * (MIB // 8192)
    return memoryview(b"".join(block[number:] + block[:number] for number in range(mebibytes)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s3")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--plain", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    body = _content(arguments.mebibytes)
    if arguments.plain:
        print(*asyncio.run(plain(arguments.plain, body)))
        return 0
    servers = {"tusd-py": ours, "tusd 2.9.1": tusd, "@tus/s3-store 2.0.7": node}
    found: dict[str, list[Figures]] = {name: [] for name in (*servers, "aiobotocore alone")}
    for _ in range(arguments.rounds):
        for name, start in servers.items():
            # An empty bucket each time: the objects are in memory.
            with running_s3(VERSITYGW) as s3:
                s3.client().create_bucket(Bucket=BUCKET)
                found[name].append(measure_server(start, s3, body))
        with running_s3(VERSITYGW) as s3:
            s3.client().create_bucket(Bucket=BUCKET)
            found["aiobotocore alone"].append(measure_plain(s3, body))
    print(f"{arguments.mebibytes} MiB in parts of {PART_BYTES // MIB} MiB, medians of {arguments.rounds} rounds\n")
    print("| | MiB/s | MiB per CPU second | tusd-py against it: MiB/s | per CPU second |")
    print("|---|---|---|---|---|")
    own = _median(found["tusd-py"])
    for name, rounds in found.items():
        each = _median(rounds)
        ratios = f"{own.rate / each.rate:.2f} | {own.per_cpu_second / each.per_cpu_second:.2f}"
        print(f"| {name} | {each.rate:,.0f} | {each.per_cpu_second:,.0f} | {ratios} |")
    return 0


def _median(rounds: Sequence[Figures]) -> Figures:
    return Figures(
        statistics.median(each.rate for each in rounds), statistics.median(each.per_cpu_second for each in rounds)
    )


if __name__ == "__main__":
    sys.exit(main())
