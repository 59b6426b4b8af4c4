"""Uploads while server and worker are killed at random, and Redis loses everything: who is told of what in the end.

As a program it does so at full size: ``python -m tests.network.chaos --uploads 500 --kills 20 --broker redis``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.client import PatientUpload
from tests.support.content import content
from tests.support.receiver import Receiver, receiving
from tests.support.redis import flush, running_redis
from tests.support.server import RunningServer, start_server
from tests.support.sockets import processes
from tests.support.stored import upload_id
from tests.support.worker import jobs_in, outbox_of, settings_of
from tusd_py.contracts.jobs import JobState

#: What becomes of every upload, in this order.
LIFE = ["post-create", "post-finish", "upload.ready"]
AT_A_TIME = 20
BYTES = 60_000
#: So long a kill finds something to interrupt.
RATE = 40_000.0


@dataclass
class Chaos:
    """One run: its figures, and what the receiver was told."""

    data_dir: Path
    broker: str
    uploads: int
    kills: int
    seed: int
    killed: Counter[str] = field(default_factory=Counter)
    redelivered: int = 0
    finished: int = 0

    async def run(self) -> None:
        """Upload, kill, wait for the end, and compare. Raises ``AssertionError``."""
        with receiving() as receiver:
            self._settings = {
                "WEBHOOKS__ENDPOINTS": json.dumps([{"name": "all", "url": receiver.url, "allow_private": True}]),
                "WORKER__LEASE_SECONDS": "1",
                "WORKER__BROKER": self.broker,
            }
            self._server = await asyncio.to_thread(self._start, 0)
            try:
                ids = await self._upload_and_kill()
                await self._settled()
            finally:
                self._server.kill()
            self._compare(receiver, ids)

    def _start(self, port: int) -> RunningServer:
        return start_server(self.data_dir, settings=self._settings, port=port)

    async def _upload_and_kill(self) -> list[str]:
        room = asyncio.Semaphore(AT_A_TIME)
        killing = asyncio.create_task(self._kill())

        async def one(number: int) -> str:
            async with room:
                upload = PatientUpload(self._server.url, content(number, BYTES), rate=RATE)
                url = await upload.run()
                self.finished += 1
                return upload_id(url)

        ids = await asyncio.gather(*(one(number) for number in range(self.uploads)))
        await killing
        return list(ids)

    async def _kill(self) -> None:
        """Spread the kills over the uploads, the last ones behind them."""
        dice = random.Random(self.seed)
        for number in range(self.kills):
            enough = self.uploads * number // self.kills
            while self.finished < enough:  # noqa: ASYNC110 - it is counted by others, and nobody is told
                await asyncio.sleep(0.01)
            await asyncio.sleep(dice.uniform(0.0, 0.4))
            whom = dice.choice(["both", "server", "worker"])
            self.killed[whom] += 1
            if self.broker != "embedded":
                flush(self.broker)
            await self._kill_one(whom)

    async def _kill_one(self, whom: str) -> None:
        if whom == "worker":
            for pid in set(processes(self._server.process.pid)) - {self._server.process.pid}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        if whom == "both":
            self._server.kill()
        else:
            os.kill(self._server.process.pid, signal.SIGKILL)
            self._server.process.wait()
            if self._server.process.stdout is not None:
                self._server.process.stdout.close()
        self._server = await asyncio.to_thread(self._start, self._server.port)

    async def _settled(self, timeout_seconds: float = 90.0) -> None:
        """Return once no job is left to be done."""
        deadline = time.monotonic() + timeout_seconds
        async with outbox_of(settings_of(self.data_dir)) as outbox:
            while left := await jobs_in(outbox, JobState.WAITING, JobState.RUNNING):
                assert time.monotonic() < deadline, f"{len(left)} jobs are left, such as {left[0]}"
                await asyncio.sleep(0.05)
            assert [] == await jobs_in(outbox, JobState.DEAD)

    def _compare(self, receiver: Receiver, ids: list[str]) -> None:
        told: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for call in receiver.calls:
            told[call.told["upload"]["id"]][call.told["type"]] += call.header("webhook-id")
        for upload in ids:
            assert LIFE == list(told[upload]), f"{upload} was told as {list(told[upload])}"
            for kind, event_ids in told[upload].items():
                assert 1 == len(set(event_ids)), f"{kind} of {upload} has the ids {event_ids}"
                self.redelivered += len(event_ids) - 1
        # A kill between a creation and its answer leaves an upload that its client never heard of.
        assert {"post-create"} >= {kind for upload in told.keys() - set(ids) for kind in told[upload]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.network.chaos")
    parser.add_argument("--uploads", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--broker", choices=["embedded", "redis"], default="embedded")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        broker = "embedded" if given.broker == "embedded" else stack.enter_context(running_redis())
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))
        chaos = Chaos(Path(directory, "data"), broker, given.uploads, given.kills, given.seed)
        began_at = time.monotonic()
        asyncio.run(chaos.run())
    seconds = time.monotonic() - began_at
    print(f"{given.uploads} uploads, killed {dict(chaos.killed)}, told again {chaos.redelivered}, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
