"""``python -m benchmarks.webhook_delay``: the delay of post-finish after the last byte, and events per second.

Server and worker run as ``tusd-py serve`` starts them; the receiver is a thread of this program. The delay is measured
with one upload after the other, the rate while one client uploads as fast as it can.
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


class EventReceiver:
    """A receiver that records when each event arrived, by its type and the id of its upload."""

    def __init__(self) -> None:
        self.arrived_at: dict[tuple[str, str], float] = {}
        self.count = 0
        self.changed = threading.Condition()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/hooks"
        threading.Thread(target=self._accept, daemon=True).start()

    def wait(self, key: tuple[str, str]) -> float:
        """Wait for the event ``key`` and return when it arrived."""
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.arrived_at, 30):
                raise RuntimeError(f"{key} did not arrive within 30 seconds")
            return self.arrived_at[key]

    def _accept(self) -> None:
        while True:
            connection, _ = self.socket.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while stream.readline():
                length = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                event = json.loads(stream.read(length))
                now = time.perf_counter()
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                with self.changed:
                    self.count += 1
                    self.arrived_at[event["type"], event["upload"]["id"]] = now
                    self.changed.notify_all()


def main() -> int:
    """Measure and print. Returns 1 if a figure misses its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=300)
    arguments = parser.parse_args()
    with _server_with_receiver() as (client, receiver):
        delays = [_delay(client, receiver) for _ in range(arguments.uploads + 10)][10:]
        rate = _rate(client, receiver, arguments.uploads)
    p50, p99 = statistics.median(delays) * 1000, statistics.quantiles(delays, n=100)[98] * 1000
    print(f"last byte to post-finish     p50 {p50:.1f} ms   p99 {p99:.1f} ms")
    print(f"events during uploads        {rate:.0f} per second")
    return int(p50 >= 50 or p99 >= 300 or rate < 500)


@contextmanager
def _server_with_receiver() -> Iterator[tuple[Client, EventReceiver]]:
    receiver = EventReceiver()
    endpoint = {"name": "bench", "url": receiver.url, "allow_private": True, "concurrency": 64}
    environment = {"TUSD_PY_WEBHOOKS__ENDPOINTS": json.dumps([endpoint])}
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder, "data"), environment) as url,
        Client(url) as client,
    ):
        yield client, receiver


def _upload(client: Client) -> tuple[str, float]:
    """Upload one byte; return the id of the upload and the time before its last byte was sent."""
    location = client.create(1)
    began = time.perf_counter()
    client.append(location, 0, b"x")
    return location.rsplit("/", 1)[1], began


def _delay(client: Client, receiver: EventReceiver) -> float:
    upload_id, began = _upload(client)
    return receiver.wait(("post-finish", upload_id)) - began


def _rate(client: Client, receiver: EventReceiver, uploads: int) -> float:
    """Events per second, from the first upload to the last event; each upload has three."""
    before, began = receiver.count, time.perf_counter()
    last = ""
    for _ in range(uploads):
        last, _ = _upload(client)
    with receiver.changed:
        receiver.changed.wait_for(lambda: receiver.count >= before + 3 * uploads, 120)
    receiver.wait(("upload.ready", last))
    return (receiver.count - before) / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
