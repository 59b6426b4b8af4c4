"""A process that holds many slow uploads open at once: started by a scenario, it prints a line when all run, then one
with what it saw once its standard input ends. A process of its own so that its work does not delay the probe's."""

from __future__ import annotations

import json
import selectors
import sys
import time
from dataclasses import dataclass

from benchmarks.machine import raise_open_files_limit
from benchmarks.tus import Client, UnexpectedAnswer

_UPLOAD_BYTES = 1 << 20
_DROP = bytes(1024)
_KEPT_SAMPLE = 20
_KEPT_SECONDS = 5.0


@dataclass
class _Slow:
    client: Client
    path: str
    sent: int = 0

    def drip(self) -> None:
        try:
            self.client.connection.sock.sendall(_DROP)
            self.sent += len(_DROP)
        except OSError:
            # Cut off by the server; counted at the end.
            return

    def is_open(self) -> bool:
        """Whether the server still waits for the rest: it has neither answered nor closed."""
        self.client.connection.sock.setblocking(False)
        try:
            self.client.connection.sock.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def _open(url: str, count: int) -> list[_Slow]:
    slow = []
    with Client(url) as maker:
        for _ in range(count):
            one = _Slow(Client(url), maker.create(_UPLOAD_BYTES))
            one.client.start_append(one.path, 0, _UPLOAD_BYTES)
            one.drip()
            slow.append(one)
    return slow


def _drip_until_told(slow: list[_Slow]) -> None:
    """Send a drop on each connection once a second, evenly spread, until standard input ends."""
    interval = 1.0 / len(slow)
    turn, due = 0, time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while not selector.select(max(0.0, due - time.monotonic())):
            # Never more than one round in arrears: a client that was held up does not make up for it in a burst.
            due = max(due + interval, time.monotonic() - 1.0)
            if slow[turn % len(slow)].sent < _UPLOAD_BYTES - len(_DROP):
                slow[turn % len(slow)].drip()
            turn += 1


def _kept_share(url: str, slow: list[_Slow]) -> float:
    """Of the bytes sent by a sample, the share the server says it has once they are cut off."""
    sample = slow[:: max(1, len(slow) // _KEPT_SAMPLE)]
    sent, kept = sum(one.sent for one in sample), 0
    with Client(url) as client:
        for one in sample:
            deadline = time.monotonic() + _KEPT_SECONDS
            while (answer := client.head(one.path)).offset is None and time.monotonic() < deadline:
                time.sleep(0.05)
            if answer.offset is None:
                raise UnexpectedAnswer(f"HEAD of a cut upload was answered {answer.status}")
            kept += min(answer.offset, one.sent)
    return kept / sent


def main() -> None:
    """``python -m benchmarks.trickle URL COUNT``."""
    raise_open_files_limit()
    url, count = sys.argv[1], int(sys.argv[2])
    slow = _open(url, count)
    print(json.dumps({"running": len(slow)}), flush=True)
    _drip_until_told(slow)
    open_still = sum(one.is_open() for one in slow)
    for one in slow:
        one.client.close()
    print(json.dumps({"open": open_still, "kept": _kept_share(url, slow)}), flush=True)


if __name__ == "__main__":
    main()
