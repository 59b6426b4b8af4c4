"""Starts a real S3 server (versitygw) for one test run."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.golang import versitygw_program
from tests.support.ports import free_port
from tusd_py.storage.s3.client import BucketConfig

_START_SECONDS = 20.0
ACCESS_KEY, SECRET_KEY = "tusd-py-test", "tusd-py-secret"


class S3Server:
    """A server over a directory. It can be stopped and started again with the same address and objects."""

    def __init__(
        self, program: str, directory: Path, *, logs_requests: bool = False, keeps_alive: bool = False
    ) -> None:
        self._program = program
        self._directory = directory
        self._logs_requests = logs_requests
        self._keeps_alive = keeps_alive
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def directory(self) -> Path:
        """Where the service keeps its objects."""
        return self._directory / "objects"

    @property
    def process_id(self) -> int:
        """That of the running server."""
        assert self._process is not None, "it runs"
        return self._process.pid

    @property
    def access_log(self) -> Path:
        """A line for each request."""
        return self._directory / "access.log"

    def account(self, bucket: str) -> BucketConfig:
        return BucketConfig(
            bucket=bucket,
            endpoint_url=self.url,
            region="us-east-1",
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        )

    def settings(self, bucket: str, **more: str) -> dict[str, str]:
        """The settings of a tusd-py that keeps its bytes in ``bucket``, with the smallest parts that S3 takes."""
        return {
            "STORAGE__KIND": "s3",
            "S3__BUCKET": bucket,
            "S3__ENDPOINT_URL": self.url,
            "S3__REGION": "us-east-1",
            "S3__ACCESS_KEY": ACCESS_KEY,
            "S3__SECRET_KEY": SECRET_KEY,
            "S3__PART_BYTES": "5MiB",
            **more,
        }

    def client(self) -> Any:
        """A client that blocks, for tests that look at the objects themselves."""
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )

    def start(self) -> None:
        options = ["--port", f"127.0.0.1:{self.port}", "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet"]
        if self._logs_requests:
            options += ["--access-log", str(self.access_log)]
        if self._keeps_alive:
            options += ["--keep-alive"]
        data = self.directory
        data.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [self._program, *options, "posix", str(data)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._directory,
        )
        client = self.client()
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                client.list_buckets()
                return
            except (BotoCoreError, ClientError):
                assert time.monotonic() < deadline, "versitygw does not answer"
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def running_s3(*, logs_requests: bool = False, keeps_alive: bool = False) -> Iterator[S3Server]:
    """Start a server over an empty directory. ``keeps_alive`` leaves connections open after a request."""
    program = str(versitygw_program())
    with tempfile.TemporaryDirectory(prefix="s3-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        server = S3Server(program, Path(directory), logs_requests=logs_requests, keeps_alive=keeps_alive)
        server.start()
        try:
            yield server
        finally:
            server.stop()
