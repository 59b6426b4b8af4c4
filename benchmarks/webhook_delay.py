"""``python -m benchmarks.webhook_delay``: from the last byte to post-finish at the receiver, and events a second.

Server and worker run as ``tusd-py serve`` starts them; the receiver is a thread of this program. The delay is taken one
upload after the other; the rate while uploads come in as fast as one client sends them.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.hook_overhead import serving
from benchmarks.tus import Client


class Listening:
    """A receiver that only notes when what came: ``Type`` and id of the upload."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], float] = {}
        self.count = 0
        self.news = threading.Condition()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/hooks"
        threading.Thread(target=self._accept, daemon=True).start()

    def wait(self, key: tuple[str, str]) -> float:
        """When it was told so."""
        with self.news:
            if not self.news.wait_for(lambda: key in self.seen, 30):
                raise RuntimeError(f"{key} was not told within 30 seconds")
            return self.seen[key]

    def _accept(self) -> None:
        while True:
            connection, _ = self.socket.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reading:
            while reading.readline():
                length = 0
                while (line := reading.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                told = json.loads(reading.read(length))
                now = time.perf_counter()
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                with self.news:
                    self.count += 1
                    self.seen[told["type"], told["upload"]["id"]] = now
                    self.news.notify_all()


def main() -> int:
    """Measure and print; 1 where a figure misses its mark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=300)
    arguments = parser.parse_args()
    with _told() as (client, listening):
        delays = [_delay(client, listening) for _ in range(arguments.uploads + 10)][10:]
        rate = _rate(client, listening, arguments.uploads)
    p50, p99 = statistics.median(delays) * 1000, statistics.quantiles(delays, n=100)[98] * 1000
    print(f"last byte to post-finish     p50 {p50:.1f} ms   p99 {p99:.1f} ms")
    print(f"events while uploads come in     {rate:.0f} a second")
    return int(p50 >= 50 or p99 >= 300 or rate < 500)


@contextmanager
def _told() -> Iterator[tuple[Client, Listening]]:
    listening = Listening()
    endpoint = {"name": "bench", "url": listening.url, "allow_private": True, "concurrency": 64}
    environment = {"TUSD_PY_WEBHOOKS__ENDPOINTS": json.dumps([endpoint])}
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder, "data"), environment) as url,
        Client(url) as client,
    ):
        yield client, listening


def _upload(client: Client) -> tuple[str, float]:
    """Its id, and when its last byte was sent."""
    location = client.create(1)
    began = time.perf_counter()
    client.append(location, 0, b"x")
    return location.rsplit("/", 1)[1], began


def _delay(client: Client, listening: Listening) -> float:
    upload_id, began = _upload(client)
    return listening.wait(("post-finish", upload_id)) - began


def _rate(client: Client, listening: Listening, uploads: int) -> float:
    """Three events an upload, from the first byte of all to the last event."""
    before, began = listening.count, time.perf_counter()
    last = ""
    for _ in range(uploads):
        last, _ = _upload(client)
    with listening.news:
        listening.news.wait_for(lambda: listening.count >= before + 3 * uploads, 120)
    listening.wait(("upload.ready", last))
    return (listening.count - before) / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
