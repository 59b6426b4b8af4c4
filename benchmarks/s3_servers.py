"""The servers of the S3 benchmarks: tusd-py, others, and the floor, each over one S3 service and the same bucket."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.s3_floor import BUCKET, PARALLEL_PARTS, PART_BYTES
from tests.support.golang import tusd_program
from tests.support.node import installed
from tests.support.s3 import S3Server
from tests.support.s3_services import ACCESS_KEY, SECRET_KEY
from tests.support.server import start_server

_PEER = Path(__file__).parent / "s3_peer"
_ENDPOINT = re.compile(rb"(?:tus endpoint|upload files to:)\s+(http\S+)\s")
_START_SECONDS = 60.0

#: Starts a server that keeps its own files in a directory; yields its URL and its process.
Start = Callable[[S3Server, Path], AbstractContextManager[tuple[str, int]]]


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
    """tusd-py."""
    server = start_server(directory / "data", settings=s3_settings(s3))
    try:
        yield server.url, server.process.pid
    finally:
        server.kill()


@contextmanager
def tusd(s3: S3Server, directory: Path) -> Iterator[tuple[str, int]]:
    """tusd with its S3 store."""
    command = [str(tusd_program()), "-host", "127.0.0.1", "-port", "0", "-s3-bucket", BUCKET, "-s3-endpoint", s3.url]
    command += ["-s3-part-size", str(PART_BYTES), "-s3-max-buffered-parts", "20"]
    variables = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
    with _other(command, directory, variables) as running:
        yield running


@contextmanager
def node(s3: S3Server, directory: Path) -> Iterator[tuple[str, int]]:
    """@tus/server with @tus/s3-store."""
    arguments = [s3.url, BUCKET, ACCESS_KEY, SECRET_KEY, str(PART_BYTES)]
    with _other([installed(_PEER), str(_PEER / "server.mjs"), *arguments], directory, {}) as running:
        yield running


@contextmanager
def floor(s3: S3Server, directory: Path) -> Iterator[tuple[str, int]]:
    """The trivial application that passes bodies on to a multipart upload by aiobotocore."""
    command = [sys.executable, "-m", "benchmarks.s3_floor", s3.url]
    with _other(command, directory, {"PYTHONPATH": str(Path(__file__).parent.parent)}) as running:
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
