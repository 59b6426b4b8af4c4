"""Three servers and two workers on one PostgreSQL and one Redis, while everything fails: ``chaos`` on several machines.

Each request of an upload goes to any of the servers. Servers and workers are killed, Redis is restarted, paused,
flushed and made read-only, PostgreSQL is restarted in order and by a crash.

As a program it runs at full size: ``python -m tests.network.storm --uploads 200 --faults 40``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from redis import Redis

from tests.network.chaos import RATE, Chaos
from tests.support.client import PatientUpload
from tests.support.machines import Machines, ScatteredUpload
from tests.support.postgres import shared_server
from tests.support.redis import RunningRedis, restartable_redis
from tests.support.server import RunningServer, start_server
from tests.support.waiting import eventually
from tusd_py.model.upload import Upload

SERVERS, WORKERS = 3, 2
LEASE_SECONDS = 2


@dataclass
class Storm(Chaos):
    """One run. ``broker`` is the URL of ``redis``."""

    redis: RunningRedis = field(kw_only=True)
    locking: str = "redis"
    #: Longer than the lease of a lock, so that the holders lose it.
    outage_seconds: float = 2.5

    def _start(self, port: int) -> RunningServer:
        self._settings |= {
            "WORKER__MODE": "separate",
            "WORKER__BROKER": "redis",
            "REDIS__URL": self.redis.url,
            "LOCKING__KIND": self.locking,
            "LOCKING__LEASE_SECONDS": str(LEASE_SECONDS),
            "UPLOADS__LOCK_TIMEOUT_SECONDS": "2",
        }
        servers = []
        for number in range(SERVERS):
            log = self.data_dir.parent / f"server-{number}.log"
            servers.append(start_server(self.data_dir, settings=self._settings, log=log))
        self.machines = Machines(servers, self._settings)
        self.workers = [self._start_worker(number) for number in range(WORKERS)]
        return servers[0]

    def environment(self) -> dict[str, str]:
        """The variables of a command that works with the servers' settings."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TUSD_PY_")}
        return environment | {f"TUSD_PY_{name}": value for name, value in self._settings.items()}

    def _start_worker(self, number: int) -> subprocess.Popen[bytes]:
        with (self.data_dir.parent / f"worker-{number}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tusd_py", "worker", "--data-dir", str(self.data_dir)],
                env=self.environment(),
                stderr=log,
                start_new_session=True,
            )

    def _stop(self) -> None:
        for server in self.machines.servers:
            if server.process.poll() is None:
                server.kill()
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(10)

    def _upload(self, sent: memoryview, headers: Mapping[str, str]) -> PatientUpload:
        return ScatteredUpload(self._server.url, sent, rate=RATE, headers=headers, machines=self.machines)

    def _victims(self) -> list[str]:
        return ["server", "worker", "database", "redis-restart", "redis-pause", "redis-flush", "redis-read-only"]

    async def _fail(self, victim: str) -> None:
        number = self.killed[victim]
        match victim:
            case "server":
                self.machines.servers[number % SERVERS].kill()
                await asyncio.to_thread(self.machines.replace, number % SERVERS)
                self._server = self.machines.servers[0]
            case "worker":
                worker = self.workers[number % WORKERS]
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait(10)
                self.workers[number % WORKERS] = self._start_worker(number % WORKERS)
            case "database":
                await super()._kill_one(victim)
            case "redis-restart":
                await asyncio.to_thread(self.redis.stop)
                await asyncio.sleep(self.outage_seconds)
                await asyncio.to_thread(self.redis.start)
            case "redis-pause":
                os.kill(self.redis.pid, signal.SIGSTOP)
                await asyncio.sleep(self.outage_seconds)
                os.kill(self.redis.pid, signal.SIGCONT)
            case "redis-flush":
                with Redis.from_url(self.redis.url) as client:
                    client.flushall()
            case "redis-read-only":
                with Redis.from_url(self.redis.url) as client:
                    client.replicaof("127.0.0.1", "1")
                    await asyncio.sleep(self.outage_seconds)
                    client.replicaof("NO", "ONE")

    async def _finished(self, timeout_seconds: float = 90.0) -> list[Upload]:
        uploads = await super()._finished(timeout_seconds)
        # A lease is renewed as long as its holder thinks that it has it, and a killed holder's ends by itself.
        await eventually(lambda: not self.locks_left(), "no upload is locked")
        return uploads

    def locks_left(self) -> list[str]:
        """The uploads that are locked now; not the lock of the maintenance."""
        if self.locking == "records":
            with closing(psycopg.connect(self.records_url)) as connection:
                found = connection.execute(
                    "SELECT key FROM locks WHERE ends_at > extract(epoch FROM clock_timestamp()) * 1000"
                ).fetchall()
            return [key for (key,) in found if not key.startswith(".")]
        with Redis.from_url(self.redis.url) as client:
            seconds, microseconds = client.time()
            now = seconds * 1000 + microseconds // 1000
            keys = [key for key in client.scan_iter("tusd-py:lock:*") if b":." not in key]
            ends = {key: client.hget(key, "until") for key in keys}
        return [key.decode() for key, end in ends.items() if end is not None and int(end) > now]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.network.storm")
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--locking", choices=["redis", "records"], default="redis")
    arguments = parser.parse_args()
    with restartable_redis() as redis, tempfile.TemporaryDirectory(prefix="storm-") as directory:
        storm = Storm(
            Path(directory, "data"),
            redis.url,
            arguments.uploads,
            arguments.faults,
            arguments.seed,
            database=shared_server(),
            redis=redis,
            locking=arguments.locking,
        )
        began_at = time.monotonic()
        asyncio.run(storm.run())
    print(f"{arguments.uploads} uploads, {storm.concatenated} of them concatenated, {len(storm.sent)} published")
    print(f"faults {dict(storm.killed)}, run again {dict(storm.rerun)}, delivered again {storm.redelivered}")
    print(f"{time.monotonic() - began_at:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
