"""A process with many slow uploads: a process of its own, so that its work does not delay that of the probe.

``python -m benchmarks.slow_clients URL COUNT BYTES`` sends BYTES a second on each of COUNT uploads, and prints a line
when all run. When its standard input ends it closes them and prints how many were still open, and what share of the
bytes the server has kept.
"""

from __future__ import annotations

import json
import selectors
import sys
import time
from dataclasses import dataclass

from benchmarks.machine import raise_open_files_limit
from benchmarks.tus import Client, UnexpectedAnswer

_UPLOAD_BYTES = 1 << 20
_KEPT_SAMPLE = 20
_KEPT_SECONDS = 5.0


@dataclass
class _SlowUpload:
    client: Client
    path: str
    piece: bytes
    sent: int = 0

    def send_piece(self) -> None:
        try:
            self.client.connection.sock.sendall(self.piece)
            self.sent += len(self.piece)
        except OSError:
            # The server has closed the connection: ``is_open`` finds it at the end.
            return

    def is_open(self) -> bool:
        """Whether the server has neither answered nor closed the connection."""
        self.client.connection.sock.setblocking(False)
        try:
            self.client.connection.sock.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def _open(url: str, count: int, piece: bytes) -> list[_SlowUpload]:
    slow = []
    with Client(url) as maker:
        for _ in range(count):
            one = _SlowUpload(Client(url), maker.create(_UPLOAD_BYTES), piece)
            one.client.start_append(one.path, 0, _UPLOAD_BYTES)
            one.send_piece()
            slow.append(one)
    return slow


def _send_slowly(slow: list[_SlowUpload]) -> None:
    """Send a piece on each connection once a second, evenly spread, until standard input ends."""
    interval = 1.0 / len(slow)
    index, due = 0, time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while not selector.select(max(0.0, due - time.monotonic())):
            # At most one round behind: after a delay the missed sends are not made up for in a burst.
            due = max(due + interval, time.monotonic() - 1.0)
            one = slow[index % len(slow)]
            if one.sent < _UPLOAD_BYTES - len(one.piece):
                one.send_piece()
            index += 1


def _kept_share(url: str, slow: list[_SlowUpload]) -> float:
    """The share of the bytes of a sample of uploads that the server reports after their connections were closed."""
    sample = slow[:: max(1, len(slow) // _KEPT_SAMPLE)]
    sent, kept = sum(one.sent for one in sample), 0
    with Client(url) as client:
        for one in sample:
            deadline = time.monotonic() + _KEPT_SECONDS
            while (answer := client.head(one.path)).offset is None and time.monotonic() < deadline:
                time.sleep(0.05)
            if answer.offset is None:
                raise UnexpectedAnswer(f"HEAD of an interrupted upload was answered {answer.status}")
            kept += min(answer.offset, one.sent)
    return kept / sent


def main() -> None:
    """Run the slow uploads."""
    raise_open_files_limit()
    url, count, piece = sys.argv[1], int(sys.argv[2]), bytes(int(sys.argv[3]))
    slow = _open(url, count, piece)
    print(json.dumps({"running": len(slow)}), flush=True)
    _send_slowly(slow)
    still_open = sum(one.is_open() for one in slow)
    for one in slow:
        one.client.close()
    print(json.dumps({"open": still_open, "kept": _kept_share(url, slow)}), flush=True)


if __name__ == "__main__":
    main()
