"""Starts a Redis server for one test, without persistence. Without redis-server the test is skipped, or fails in CI."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.support.programs import find_program

_START_SECONDS = 20.0


@contextmanager
def running_redis() -> Iterator[str]:
    """Start a Redis server that listens on a unix socket only, and yield its URL."""
    # Not under tmp_path: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="redis-") as directory, redis_in(Path(directory)) as url:
        yield url


@contextmanager
def redis_in(directory: Path) -> Iterator[str]:
    """Start a Redis server with its socket in ``directory``. Started there again, it has the same URL and no data."""
    program = _find_program()
    socket = directory / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(directory)]
    with subprocess.Popen(
        [program, *options, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for_answer(f"unix://{socket}")
            yield f"unix://{socket}"
        finally:
            process.terminate()


@dataclass
class RunningRedis:
    """A Redis server that a test can stop and start again."""

    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.directory / 'redis.sock'}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, without data, and wait until it answers."""
        program = _find_program()
        options = ["--port", "0", "--unixsocket", str(self.directory / "redis.sock"), "--dir", str(self.directory)]
        self.process = subprocess.Popen(
            [program, *options, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
        )
        _wait_for_answer(self.url)

    def stop(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def restart(self) -> None:
        """End it and start it again: it has lost everything."""
        self.stop()
        self.start()


@contextmanager
def restartable_redis() -> Iterator[RunningRedis]:
    """Start a Redis server that listens on a unix socket only."""
    _find_program()
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:
        running = RunningRedis(Path(directory))
        running.start()
        try:
            yield running
        finally:
            running.stop()


def flush(url: str) -> None:
    """Delete all data."""
    with Redis.from_url(url) as client:
        client.flushdb()


@contextmanager
def refusing_writes(url: str) -> Iterator[None]:
    """Let Redis refuse writes during the block, as with a full disk or without its replicas; reads go on."""
    with Redis.from_url(url) as client:
        client.config_set("min-replicas-to-write", 1)
        try:
            yield
        finally:
            client.config_set("min-replicas-to-write", 0)


def _find_program() -> str:
    return find_program("redis-server", "redis-server is not installed (Debian: apt-get install redis-server)")


def _wait_for_answer(url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return
            except RedisError:
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)
