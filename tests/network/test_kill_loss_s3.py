"""What a client repeats after ``kill -9`` of a server with S3: the bound in docs/s3.md, for bodies of each pace.

``python -m tests.network.test_kill_loss_s3 ROUNDS`` measures it and prints a table.
"""

from __future__ import annotations

import asyncio
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.client import create, request
from tests.support.content import MIB
from tests.support.s3 import S3Server, running_s3
from tests.support.server import start_server

pytestmark = [pytest.mark.long, pytest.mark.timeout(600), pytest.mark.anyio]

BUCKET = "uploads"
LENGTH = 8 * 1024 * MIB
_PIECE = bytes(256 * 1024)
#: Bytes a second of each body, and how many such bodies run at the same time. 0 is as fast as possible.
PACES = ((64 * 1024, 4), (1 * MIB, 4), (8 * MIB, 1), (0, 1))
#: The bound in docs/s3.md, with the defaults: of time for slow bodies, and of bytes for all.
BOUND_SECONDS = 2.0
BOUND_BYTES = 64 * MIB
#: What waits in the buffers of both systems: no server has received it.
TRANSIT_BYTES = 16 * MIB
#: For a machine that is busy, with S3 on it.
MARGIN_SECONDS = 20.0


@dataclass
class Body:
    """A body that is being sent, and when how much of it was."""

    url: str
    rate: int
    sent: int = 0
    history: list[tuple[float, int]] = field(default_factory=list)

    async def send(self) -> None:
        """Send until the server is gone."""
        loop = asyncio.get_running_loop()
        parts = urlsplit(self.url)
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
            connection.setblocking(False)
            await loop.sock_connect(connection, ("127.0.0.1", parts.port))
            head = (
                f"PATCH {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
                f"Content-Type: application/offset+octet-stream\r\nContent-Length: {LENGTH}\r\n\r\n"
            )
            await loop.sock_sendall(connection, head.encode())
            piece = _PIECE if not self.rate else _PIECE[: max(1, self.rate // 50)]
            start = time.monotonic()
            try:
                while True:
                    await loop.sock_sendall(connection, piece)
                    self.sent += len(piece)
                    self.history.append((time.monotonic(), self.sent))
                    if self.rate:
                        await asyncio.sleep(start + self.sent / self.rate - time.monotonic())
            except ConnectionError:
                return

    def repeated(self, killed_at: float, offset: int) -> Repeated:
        """What has to be sent again of the bytes that were sent at ``killed_at``."""
        sent = max((count for at, count in self.history if at <= killed_at), default=0)
        since = max((at for at, count in self.history if count <= offset), default=self.history[0][0])
        return Repeated(self.rate, sent - offset, killed_at - since)


@dataclass(frozen=True)
class Repeated:
    rate: int
    size: int
    seconds: float


async def kill_once(s3: S3Server, directory: Path, rate: int, count: int) -> list[Repeated]:
    """Kill a server while ``count`` bodies run, start it again, and look at the offsets."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = s3.settings(BUCKET, S3__PART_BYTES="8MiB")
    server = await asyncio.to_thread(start_server, directory / "data", settings=settings)
    try:
        bodies = [Body(await create(server.url, LENGTH), rate) for _ in range(count)]
        sending = [asyncio.ensure_future(body.send()) for body in bodies]
        await asyncio.sleep(random.uniform(4, 7))
        killed_at = time.monotonic()
        await asyncio.to_thread(server.kill)
        await asyncio.wait(sending)
    finally:
        server.kill()
    port = server.port
    server = await asyncio.to_thread(start_server, directory / "data", settings=settings, port=port)
    try:
        offsets = [(await request("HEAD", body.url)).offset for body in bodies]
        return [body.repeated(killed_at, offset or 0) for body, offset in zip(bodies, offsets, strict=True)]
    finally:
        server.kill()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with running_s3() as running:
        running.client().create_bucket(Bucket=BUCKET)
        yield running


@pytest.mark.parametrize(("rate", "count"), PACES)
async def test_kill_repeats_a_bounded_part(s3: S3Server, tmp_path: Path, rate: int, count: int) -> None:
    """A slow body repeats seconds, and no body more than ``uploads.save_interval_bytes`` and what was in transit."""
    for number in range(2):
        for each in await kill_once(s3, tmp_path / str(number), rate, count):
            assert each.size <= BOUND_BYTES + TRANSIT_BYTES
            if rate:
                assert each.seconds <= BOUND_SECONDS + MARGIN_SECONDS


async def measure(rounds: int) -> None:
    """Print what was repeated at each pace."""
    with running_s3() as s3, tempfile.TemporaryDirectory() as directory:
        s3.client().create_bucket(Bucket=BUCKET)
        for rate, count in PACES:
            found = []
            for number in range(rounds):
                found += await kill_once(s3, Path(directory, f"{rate}-{number}"), rate, count)
            sizes, seconds = sorted(each.size / MIB for each in found), sorted(each.seconds for each in found)
            print(
                f"{rate // 1024} KiB/s x {count}: {len(found)} kills; MiB median {statistics.median(sizes):.2f}, "
                f"most {sizes[-1]:.2f}; seconds median {statistics.median(seconds):.2f}, most {seconds[-1]:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1])))
