"""The storm of many clients: tus-js-client behind nginx in front of three servers and two workers, while all fails.

Every client cuts its uploads and resumes them, and every fourth file is sent in parallel parts. With S3, a proxy in
front of the store answers 503, or does not answer.

As a program it runs at full size: ``python -m tests.network.proxied_storm --uploads 200 --faults 30 --storage disk``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.network.chaos import EVENTS, FINAL_EVENTS, FINAL_EVERY, PART_EVENTS, metadata
from tests.network.storm import Storm
from tests.support.balancer import running_balancer
from tests.support.content import MIB, content, sha256
from tests.support.node import FOLDER, installed
from tests.support.postgres import shared_server
from tests.support.redis import restartable_redis
from tests.support.s3 import S3Server, running_s3
from tests.support.s3_faults import S3Faults, S3Mode
from tests.support.stacks import in_bucket
from tests.support.stored import upload_id
from tusd_py.model.upload import Kind, Upload

#: Every so many uploads one is larger than a part in S3.
LARGE_EVERY = 5
#: Some uploads do not end before the last fault; the others end all the time.
HELD_EVERY = 3
CUTS_MAX = 3
_END_SECONDS = 300.0


@dataclass
class ProxiedStorm(Storm):
    """One run. ``size`` is that of the largest ordinary file; ``rate`` in bytes a second is that of each request."""

    size: int = 400_000
    rate: int = 16_000
    s3: S3Server | None = None
    s3_faults: S3Faults | None = None
    s3_settings: dict[str, str] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    created_again: int = 0  # uploads that tus-js-client began anew
    cuts: int = 0
    is_over: bool = False  # it failed, or all uploads have ended

    def __post_init__(self) -> None:
        super().__post_init__()
        self.more_settings |= {"SERVER__TRUSTED_PROXIES": "127.0.0.1"}
        if self.s3_faults is not None:
            self.more_settings |= {**self.s3_settings, "S3__ENDPOINT_URL": self.s3_faults.url}

    async def _upload_and_kill(self) -> None:
        ports = [server.port for server in self.machines.servers]
        with contextlib.ExitStack() as stack:
            starting = running_balancer(self.data_dir.parent / "nginx", ports)
            endpoint = await asyncio.to_thread(stack.enter_context, starting)
            files = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="storm-files-")))
            plans = [self._plan(number, files) for number in range(self.uploads)]
            self.cuts = sum(plan["cuts"] for plan in plans)
            clients = await self._start_clients({"endpoint": endpoint, "rate": self.rate, "uploads": plans})
            striking = asyncio.create_task(self._strike(clients))
            try:
                async with asyncio.timeout(_END_SECONDS + 20 * self.kills):
                    await self._watch(clients)
                    # Not killed if it ends by itself: asyncio would not learn its exit code.
                    await clients.wait()
            finally:
                # Not cancelled: a server that is being started in a thread would outlive this.
                self.is_over = True
                await striking
                if clients.returncode is None:
                    clients.kill()
                await clients.wait()
            assert 0 == clients.returncode
            assert self.kills == self.killed.total(), "all uploads ended before the last fault"

    async def _start_clients(self, plan: dict[str, Any]) -> asyncio.subprocess.Process:
        node = await asyncio.to_thread(installed, FOLDER)
        with (self.data_dir.parent / "clients.log").open("wb") as log:
            clients = await asyncio.create_subprocess_exec(
                node,
                str(FOLDER / "storm.mjs"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                limit=MIB,
            )
        assert clients.stdin is not None
        clients.stdin.write(json.dumps(plan).encode() + b"\n")
        await clients.stdin.drain()
        return clients

    def _plan(self, number: int, files: Path) -> dict[str, Any]:
        """What one client does, in the words of ``storm.mjs``."""
        sent = self._content(number)
        path = files / f"{number}.bin"
        path.write_bytes(sent)
        return {
            "number": number,
            "file": str(path),
            "metadata": metadata(number, sent),
            "parts": 2 if number % FINAL_EVERY == 0 else 1,
            "cuts": 1 + number % CUTS_MAX,
            "isHeld": number % HELD_EVERY == 0,
        }

    def _content(self, number: int) -> memoryview:
        if self.s3 is not None and number % LARGE_EVERY == 0:
            return content(number, 11 * MIB + number)
        # Sizes differ, so that uploads end all the time.
        return content(number, random.Random(f"{self.seed} {number}").randrange(self.size // 20, self.size))

    async def _watch(self, clients: asyncio.subprocess.Process) -> None:
        """Read the reports of the clients until each has one."""
        assert clients.stdout is not None
        while line := await clients.stdout.readline():
            report = json.loads(line)
            log = f"{report}; servers log to {self.data_dir.parent}"
            assert report["error"] is None, log
            self.statuses.update(report["statuses"])
            is_parallel = report["number"] % FINAL_EVERY == 0
            self.created_again += len(report["created"]) - (3 if is_parallel else 1)
            self.expected_events[upload_id(report["url"])] = FINAL_EVENTS if is_parallel else EVENTS
            self.sent[upload_id(report["url"])] = sha256(self._content(report["number"]))
            self.concatenated += is_parallel
            self.finished += 1
        assert self.finished == self.uploads, f"{self.finished} clients ended: see clients.log"

    async def _strike(self, clients: asyncio.subprocess.Process) -> None:
        """Let one after the other fail, each kind before any of them again; then let the clients hurry."""
        dice = random.Random(self.seed)
        kinds: list[str] = []
        for _ in range(self.kills):
            if not kinds:
                kinds = self._victims()
                dice.shuffle(kinds)
            await asyncio.sleep(dice.uniform(0.3, 1.5))
            if self.is_over:
                return
            victim = kinds.pop()
            await self._fail(victim)
            self.killed[victim] += 1
        assert clients.stdin is not None
        clients.stdin.write(b"fast\n")
        await clients.stdin.drain()

    def _victims(self) -> list[str]:
        s3 = ["s3-503", "s3-hang"] if self.s3_faults is not None else []
        return ["server", *super()._victims(), *s3]

    async def _fail(self, victim: str) -> None:
        if victim not in ("s3-503", "s3-hang"):
            await super()._fail(victim)
            return
        assert self.s3_faults is not None
        self.s3_faults.set(S3Mode.REFUSE if victim == "s3-503" else S3Mode.HANG)
        await asyncio.sleep(self.outage_seconds)
        self.s3_faults.set(S3Mode.RELAY)

    async def _finished(self, timeout_seconds: float = 90.0) -> list[Upload]:
        uploads = await super()._finished(timeout_seconds + _END_SECONDS)
        # Parts, and uploads that tus-js-client does not know: the answer to their creation was lost.
        events = {Kind.REGULAR: EVENTS, Kind.FINAL: FINAL_EVENTS, Kind.PARTIAL: PART_EVENTS}
        self.expected_events = {upload.id: events[upload.kind] for upload in uploads} | self.expected_events
        await asyncio.to_thread(self._check_store)
        return uploads

    def _check_store(self) -> None:
        """Records and bytes agree. After the janitor no object and no part is left that belongs to no upload."""
        self._run("fsck")
        if self.s3 is None:
            return
        self._run("s3", "janitor", "--older-than", "1s", "--delete")
        assert "" == self._run("s3", "janitor", "--older-than", "1s", "--json")
        listed = self.s3.client().list_multipart_uploads(Bucket=self.s3_settings["S3__BUCKET"]).get("Uploads", ())
        complete = {one for one in self.sent if any(one in each["Key"] for each in listed)}
        assert not complete, f"multipart uploads of complete uploads: {complete}"

    def _run(self, *command: str) -> str:
        """The output of a command with the servers' settings, which has to succeed."""
        run = subprocess.run(
            [sys.executable, "-m", "tusd_py", *command, "--data-dir", str(self.data_dir)],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == run.returncode, run.stdout + run.stderr
        return run.stdout

    def __str__(self) -> str:
        return (
            f"{self.uploads} uploads, {self.concatenated} of them in parallel parts, {self.cuts} cuts\n"
            f"faults {dict(self.killed)}, run again {dict(self.rerun)}, delivered again {self.redelivered}\n"
            f"begun anew by the client {self.created_again}, answers {dict(self.statuses.most_common())}"
        )


async def run(
    data_dir: Path, uploads: int, faults: int, seed: int = 1, *, storage: str = "disk", **more: Any
) -> ProxiedStorm:
    """Run a storm over a Redis server, and an S3 server if ``storage`` is that, of its own."""
    async with contextlib.AsyncExitStack() as stack:
        redis = stack.enter_context(restartable_redis())
        if storage == "s3":
            more["s3"] = stack.enter_context(running_s3())
            more["s3_settings"] = await asyncio.to_thread(in_bucket, more["s3"], "uploads")
            more["s3_faults"] = await stack.enter_async_context(S3Faults(more["s3"].port))
        storm = ProxiedStorm(
            data_dir, redis.url, uploads, faults, seed, mode="copy", database=shared_server(), redis=redis, **more
        )
        await storm.run()
    return storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.network.proxied_storm")
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--outage", type=float, default=10.0, help="seconds for which Redis and S3 are away")
    parser.add_argument("--locking", choices=["redis", "records"], default="redis")
    parser.add_argument("--directory", type=Path, help="keep data and logs here")
    parser.add_argument("--storage", choices=["disk", "s3"], default="disk")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storm-") as directory:
        began_at = time.monotonic()
        storm = asyncio.run(
            run(
                Path(arguments.directory or directory, "data"),
                arguments.uploads,
                arguments.faults,
                arguments.seed,
                storage=arguments.storage,
                locking=arguments.locking,
                outage_seconds=arguments.outage,
            )
        )
    print(storm)
    print(f"{time.monotonic() - began_at:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
