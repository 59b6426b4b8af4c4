"""Uploads while server and worker are killed at random and Redis loses everything: each must end completely.

With ``has_faults`` a second receiver's name is never resolved, the clock is set back by an hour at every other kill,
and Redis refuses writes for a while after the others.

Each is validated and published, and its events are delivered; some are concatenated from parts. So the kills interrupt
everything that a worker does.

As a program it runs at full size: ``python -m tests.network.chaos --uploads 500 --kills 20 --broker redis``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

from tests.support.client import TUS, PatientUpload, request
from tests.support.content import content, sha256
from tests.support.faults import HANGING_HOST, environment, set_clock
from tests.support.postgres import PostgresServer, shared_server
from tests.support.receiver import Receiver, receiving
from tests.support.redis import flush, refusing_writes, running_redis
from tests.support.server import RunningServer, start_server
from tests.support.sockets import processes
from tests.support.stored import upload_id
from tests.support.worker import jobs_in, settings_of
from tusd_py.model.jobs import JobState
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.settings import Settings
from tusd_py.uploads.ports import Ports
from tusd_py.wiring.ports import close_ports, open_ports

#: The events of an upload in order: of one that is sent, of one that a worker concatenates, and of its parts.
EVENTS = ["post-create", "post-finish", "upload.validated", "upload.ready"]
FINAL_EVENTS = ["post-create", "upload.assembled", "post-finish", "upload.validated", "upload.ready"]
PART_EVENTS = ["post-create", "post-finish", "upload.ready"]
#: Every fourth upload is concatenated from two parts.
FINAL_EVERY = 4
#: So few file names that many uploads have the same one.
NAMES = 5
AT_A_TIME = 20
BYTES = 60_000
#: The endpoint to which nothing can be delivered.
HANGING = "hanging"
#: Bytes per second, so slow that a kill always interrupts some uploads.
RATE = 40_000.0


@dataclass
class Chaos:
    """One run: its settings, its counts, and what the uploads are expected to end as."""

    data_dir: Path
    broker: str
    uploads: int
    kills: int
    seed: int
    mode: str = "link"  # of publishing
    has_faults: bool = False
    database: PostgresServer | None = None  # else SQLite; it is restarted among the kills
    more_settings: dict[str, str] = field(default_factory=dict)
    killed: Counter[str] = field(default_factory=Counter)
    set_back: int = 0  # hours by which the clock was set back
    redelivered: int = 0
    rerun: Counter[str] = field(default_factory=Counter)  # jobs claimed more than once, by actor
    finished: int = 0
    concatenated: int = 0
    expected_events: dict[str, list[str]] = field(default_factory=dict)  # by upload id
    sent: dict[str, str] = field(default_factory=dict)  # SHA-256 by upload id, of uploads that are published

    @property
    def published(self) -> Path:
        return self.data_dir.parent / "published"

    def __post_init__(self) -> None:
        self.records_url = "" if self.database is None else self.database.url(self.database.create_database())

    async def run(self) -> None:
        """Upload, kill, wait for the end, and compare. Raises ``AssertionError``."""
        with receiving() as receiver:
            self._settings = {
                "WEBHOOKS__ENDPOINTS": json.dumps(self._endpoints(receiver)),
                "RECORDS__URL": self.records_url,
                "WORKER__LEASE_SECONDS": "1",
                "WORKER__BROKER": self.broker,
                "VALIDATION__ENABLED": "true",
                "VALIDATION__RULES": json.dumps([{"name": "all", "size_min": 1, "extensions": ["bin"]}]),
                "PUBLISHING__DIRECTORY": str(self.published),
                "PUBLISHING__PATTERN": "{owner}/{filename}",
                "PUBLISHING__MODE": self.mode,
                "UPLOADS__JOIN_AT_ONCE_BYTES_MAX": "1",
                **self.more_settings,
            }
            self._server = await asyncio.to_thread(self._start, 0)
            try:
                await self._upload_and_kill()
                uploads = await self._finished()
            finally:
                self._stop()
            self._compare_events(receiver)
            self._compare_files(uploads)

    def _endpoints(self, receiver: Receiver) -> list[dict[str, object]]:
        endpoints: list[dict[str, object]] = [{"name": "all", "url": receiver.url, "allow_private": True}]
        if self.has_faults:
            endpoints.append({"name": HANGING, "url": f"http://{HANGING_HOST}/"})
        return endpoints

    def _stop(self) -> None:
        self._server.kill()

    def _start(self, port: int) -> RunningServer:
        directory = self.data_dir.parent
        variables = environment(directory, has_hanging_host=True, has_clock=True) if self.has_faults else {}
        set_clock(directory, -3600.0 * self.set_back)
        return start_server(self.data_dir, settings=self._settings, port=port, variables=variables)

    async def _upload_and_kill(self) -> None:
        slots = asyncio.Semaphore(AT_A_TIME)
        killing = asyncio.create_task(self._kill())

        async def one(number: int) -> None:
            async with slots:
                await (self._final(number) if number % FINAL_EVERY == 0 else self._whole(number))
                self.finished += 1

        await asyncio.gather(*(one(number) for number in range(self.uploads)))
        await killing

    async def _whole(self, number: int) -> None:
        sent = content(number, BYTES)
        url = await self._upload(sent, _metadata_header(number, sent)).run()
        self._expect(url, EVENTS, sent)

    async def _final(self, number: int) -> None:
        sent = content(number, BYTES)
        headers = {"Upload-Concat": "partial"}
        halves = (sent[: BYTES // 3], sent[BYTES // 3 :])
        urls = await asyncio.gather(*(self._upload(half, headers).run() for half in halves))
        for url in urls:
            self._expect(url, PART_EVENTS)
        headers = {**TUS, **_metadata_header(number, sent), "Upload-Concat": "final;" + " ".join(urls)}
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                answer = await asyncio.wait_for(request("POST", self._server.url, headers), 10.0)
                if answer.status == 201:
                    break
                assert answer.status in (423, 503), f"POST: {answer}"
            await asyncio.sleep(0.1)
        self._expect(urljoin(self._server.url, answer.headers["location"]), FINAL_EVENTS, sent)
        self.concatenated += 1

    def _upload(self, sent: memoryview, headers: Mapping[str, str]) -> PatientUpload:
        return PatientUpload(self._server.url, sent, rate=RATE, headers=headers)

    def _expect(self, url: str, events: list[str], sent: memoryview | None = None) -> None:
        self.expected_events[upload_id(url)] = events
        if sent is not None:
            self.sent[upload_id(url)] = sha256(sent)

    async def _kill(self) -> None:
        """Spread the kills evenly over the uploads."""
        dice = random.Random(self.seed)
        for number in range(self.kills):
            enough = self.uploads * number // self.kills
            while self.finished < enough:  # noqa: ASYNC110 - a counter reports no change
                await asyncio.sleep(0.01)
            await asyncio.sleep(dice.uniform(0.0, 0.4))
            victim = dice.choice(self._victims())
            self.killed[victim] += 1
            await self._fail(victim)
            if self.has_faults:
                await self._fault(number)

    async def _fault(self, number: int) -> None:
        if number % 2 == 0:
            self.set_back += 1
            set_clock(self.data_dir.parent, -3600.0 * self.set_back)
        elif self.broker != "embedded":
            with refusing_writes(self.broker):
                await asyncio.sleep(1.5)

    def _victims(self) -> list[str]:
        return ["both", "server", "worker"] + ["database"] * (self.database is not None)

    async def _fail(self, victim: str) -> None:
        if self.broker != "embedded":
            flush(self.broker)
        await self._kill_one(victim)

    async def _kill_one(self, victim: str) -> None:
        if victim == "database":
            assert self.database is not None
            # SIGQUIT is a crash: it ends every connection at once and recovers from the log.
            await asyncio.to_thread(self.database.stop, signal.SIGQUIT if self.killed[victim] % 2 else signal.SIGINT)
            await asyncio.to_thread(self.database.start)
            return
        if victim == "worker":
            for pid in set(processes(self._server.process.pid)) - {self._server.process.pid}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        if victim == "both":
            self._server.kill()
        else:
            os.kill(self._server.process.pid, signal.SIGKILL)
            self._server.process.wait()
            if self._server.process.stdout is not None:
                self._server.process.stdout.close()
        self._server = await asyncio.to_thread(self._start, self._server.port)

    async def _finished(self, timeout_seconds: float = 90.0) -> list[Upload]:
        """All complete uploads, once each of them is ready and no job is left."""
        deadline = time.monotonic() + timeout_seconds
        async with _ports_of(settings_of(self.data_dir, records={"url": self.records_url})) as ports:
            assert ports.job_queue is not None
            while True:
                unended = await jobs_in(ports.job_queue, JobState.WAITING, JobState.RUNNING)
                jobs = [job for job in unended if job.subscription != HANGING]
                uploads = await _complete(ports)
                late = [upload for upload in uploads if upload.status is not Status.READY]
                if not jobs and not late and self.expected_events.keys() <= {upload.id for upload in uploads}:
                    break
                assert time.monotonic() < deadline, f"{len(jobs)} jobs and {len(late)} uploads: {jobs[:1]}, {late[:1]}"
                await asyncio.sleep(0.05)
            assert [] == await jobs_in(ports.job_queue, JobState.DEAD)
            self.rerun.update(job.actor for job in await jobs_in(ports.job_queue, JobState.DONE) if job.attempt > 1)
            return uploads

    def _compare_events(self, receiver: Receiver) -> None:
        delivered: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for call in receiver.calls:
            delivered[call.payload["upload"]["id"]][call.payload["type"]] += call.header("webhook-id")
        for upload, events in self.expected_events.items():
            assert events == list(delivered[upload]), f"{upload} has the events {list(delivered[upload])}"
            for kind, event_ids in delivered[upload].items():
                assert 1 == len(set(event_ids)), f"{kind} of {upload} has the ids {event_ids}"
                self.redelivered += len(event_ids) - 1
        # A kill between a creation and its answer leaves an upload whose URL the client does not know. A final upload
        # of this kind is completed, because it has its parts.
        for upload in delivered.keys() - self.expected_events.keys():
            assert list(delivered[upload]) in (["post-create"], FINAL_EVENTS), f"{upload}: {list(delivered[upload])}"

    def _compare_files(self, uploads: list[Upload]) -> None:
        """Every file in the directory, hidden ones too, belongs to one upload and has the path in its history."""
        paths: dict[str, str] = {}
        for upload in uploads:
            found = [step.details["path"] for step in upload.history if "path" in step.details]
            assert len(found) == (upload.kind is not Kind.PARTIAL), f"{upload.id} was published as {found}"
            paths |= dict.fromkeys(found, upload.id)
        files = {str(path.relative_to(self.published)) for path in self.published.rglob("*") if not path.is_dir()}
        assert files == paths.keys(), f"of no upload: {files - paths.keys()}, missing: {paths.keys() - files}"
        wrong = [
            path
            for path, upload in paths.items()
            if upload in self.sent and sha256((self.published / path).read_bytes()) != self.sent[upload]
        ]
        assert not wrong, f"not what was sent: {wrong}"
        assert self.sent.keys() <= set(paths.values())
        assert len(paths) == len(set(paths.values()))


async def _complete(ports: Ports) -> list[Upload]:
    """All complete uploads."""
    uploads: list[Upload] = []
    after_id = ""
    while page := await ports.records.page(after_id, 1000):
        after_id = page[-1].id
        uploads += [upload for upload in page if upload.is_complete]
    return uploads


def metadata(number: int, sent: memoryview) -> dict[str, str]:
    """The metadata of an upload that is published: one of a few names, and its digest."""
    return {"filename": f"{number % NAMES}.bin", "sha256": sha256(sent)}


def _metadata_header(number: int, sent: memoryview) -> dict[str, str]:
    values = metadata(number, sent).items()
    return {"Upload-Metadata": ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values)}


@contextlib.asynccontextmanager
async def _ports_of(settings: Settings) -> AsyncIterator[Ports]:
    ports = await open_ports(settings)
    try:
        yield ports
    finally:
        await close_ports(ports, settings)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.network.chaos")
    parser.add_argument("--uploads", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--broker", choices=["embedded", "redis"], default="embedded")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--mode", choices=["link", "copy"], default="link")
    parser.add_argument("--faults", action="store_true")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        broker = "embedded" if arguments.broker == "embedded" else stack.enter_context(running_redis())
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))
        chaos = Chaos(
            Path(directory, "data"),
            broker,
            arguments.uploads,
            arguments.kills,
            arguments.seed,
            arguments.mode,
            database=shared_server() if arguments.database == "postgresql" else None,
            has_faults=arguments.faults,
        )
        began_at = time.monotonic()
        asyncio.run(chaos.run())
    seconds = time.monotonic() - began_at
    print(f"{arguments.uploads} uploads, {chaos.concatenated} of them concatenated, {len(chaos.sent)} published")
    print(
        f"killed {dict(chaos.killed)}, run again {dict(chaos.rerun)}, delivered again {chaos.redelivered}, "
        f"{seconds:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
