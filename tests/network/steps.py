"""Uploads of each kind through everything that a server and its worker do, while a process is killed at one step.

Afterwards each upload is complete and published once, its events were delivered in order and each with one id, and
nothing is stored that no record names.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import urljoin

from tests.support.client import BODY, TUS, Answer, PatientUpload, patch_headers, request
from tests.support.content import content, sha256
from tests.support.faults import KilledAt, environment, marker_of
from tests.support.kept import InBuckets, InFiles, Kept
from tests.support.receiver import Receiver, receiving
from tests.support.server import RunningServer, start_server
from tests.support.stacks import as_settings
from tests.support.stored import upload_id
from tests.support.worker import jobs_in
from tusd_py.model.jobs import JobState
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.settings import Settings
from tusd_py.uploads.abandoned import remove_abandoned
from tusd_py.uploads.expire import sweep
from tusd_py.uploads.leftovers import remove_leftovers
from tusd_py.uploads.ports import Ports
from tusd_py.wiring.clock import utc_now
from tusd_py.wiring.ports import close_ports, open_ports

BYTES = 30_000
_STEPS = ["upload.validated", "upload.ready"]
EVENTS = ["post-create", "post-finish", *_STEPS]
FINAL_EVENTS = ["post-create", "upload.assembled", "post-finish", *_STEPS]
PART_EVENTS = ["post-create", "post-finish", "upload.ready"]
TERMINATED_EVENTS = ["post-create", "post-terminate"]
#: Longer than a tombstone or a leftover is kept.
LATER = timedelta(days=3)


class KilledAtStep:
    """One run: the server is started again whenever it was killed, and clients go on until they succeed."""

    def __init__(
        self, directory: Path, killed_at: KilledAt, stack: Mapping[str, str] | None = None, **settings: str
    ) -> None:
        self._directory = directory
        self._killed_at = killed_at
        self._data_dir = directory / "data"
        stack = stack or {}
        self._kept: Kept = (
            InBuckets.beside(stack["S3__BUCKET"])
            if "S3__BUCKET" in stack
            else InFiles(self._data_dir, directory / "published")
        )
        self._own_settings = as_settings(self._data_dir, stack)
        self._settings = {**stack, **settings}
        self._expected: dict[str, list[str]] = {}  # events by upload id
        self._sent: dict[str, str] = {}  # SHA-256 by upload id, of uploads that are published

    async def run(self, *, has_every_extension: bool = True) -> None:
        """Upload, be killed, wait for the end, and compare. Raises ``AssertionError``."""
        with receiving() as receiver:
            self._settings = {
                "WEBHOOKS__ENDPOINTS": json.dumps([{"name": "all", "url": receiver.url, "allow_private": True}]),
                "WORKER__LEASE_SECONDS": "1",
                "VALIDATION__ENABLED": "true",
                "VALIDATION__RULES": json.dumps([{"name": "all", "size_min": 1}]),
                **self._kept.settings,
                "UPLOADS__JOIN_AT_ONCE_BYTES_MAX": "1",
                **self._settings,
            }
            server = await asyncio.to_thread(self._start, 0)
            watching = asyncio.create_task(self._restart(server))
            try:
                await (self._upload if has_every_extension else self._upload_plainly)(server.url)
                await self._wait_for_end()
                assert marker_of(self._directory).exists(), "the server never came to this step"
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                self._server.kill()
            self._compare_events(receiver)
            await self._compare_files()

    def _start(self, port: int) -> RunningServer:
        variables = environment(self._directory, killed_at=self._killed_at)
        self._server = start_server(self._data_dir, settings=self._settings, port=port, variables=variables)
        return self._server

    async def _restart(self, server: RunningServer) -> None:
        while True:
            await asyncio.to_thread(server.process.wait)
            server.kill()
            server = await asyncio.to_thread(self._start, server.port)

    async def _upload(self, endpoint: str) -> None:
        await asyncio.gather(
            self._patched(endpoint), self._with_body(endpoint), self._concatenated(endpoint), self._terminated(endpoint)
        )

    async def _upload_plainly(self, endpoint: str) -> None:
        """Creations without a body, PATCH requests and DELETE only."""
        await asyncio.gather(self._patched(endpoint), self._terminated_after_patch(endpoint))

    async def _patched(self, endpoint: str) -> None:
        sent = content(1, BYTES)
        self._expect(await PatientUpload(endpoint, sent, headers=_named("patched")).run(), EVENTS, sent)

    async def _with_body(self, endpoint: str) -> None:
        sent = content(2, BYTES)
        headers = {**TUS, **BODY, "Upload-Length": str(BYTES), **_named("with body")}
        answer = await _patient("POST", endpoint, headers, sent)
        assert (201, BYTES) == (answer.status, answer.offset)
        self._expect(urljoin(endpoint, answer.headers["location"]), EVENTS, sent)

    async def _concatenated(self, endpoint: str) -> None:
        sent = content(3, BYTES)
        halves = sent[: BYTES // 3], sent[BYTES // 3 :]
        headers = {"Upload-Concat": "partial"}
        urls = await asyncio.gather(*(PatientUpload(endpoint, half, headers=headers).run() for half in halves))
        for url in urls:
            self._expect(url, PART_EVENTS)
        answer = await _patient(
            "POST", endpoint, {**TUS, **_named("joined"), "Upload-Concat": f"final;{' '.join(urls)}"}
        )
        assert 201 == answer.status
        self._expect(urljoin(endpoint, answer.headers["location"]), FINAL_EVENTS, sent)

    async def _terminated(self, endpoint: str) -> None:
        headers = {**TUS, **BODY, "Upload-Length": str(BYTES)}
        answer = await _patient("POST", endpoint, headers, content(4, BYTES // 2))
        await self._terminate(urljoin(endpoint, answer.headers["location"]))

    async def _terminated_after_patch(self, endpoint: str) -> None:
        answer = await _patient("POST", endpoint, {**TUS, "Upload-Length": str(BYTES)})
        url = urljoin(endpoint, answer.headers["location"])
        offset: int | None = 0
        while offset is not None and offset < BYTES // 2:
            await _patient("PATCH", url, patch_headers(offset), content(4, BYTES // 2)[offset:])
            # Whatever became of an attempt whose answer was lost, this is what the server has.
            offset = (await _patient("HEAD", url, TUS)).offset
        await self._terminate(url)

    async def _terminate(self, url: str) -> None:
        answer = await _patient("DELETE", url, TUS)
        assert answer.status in (204, 404), "404 if the answer of an earlier attempt was lost"
        answer = await _patient("HEAD", url, TUS)
        assert 404 == answer.status
        self._expect(url, TERMINATED_EVENTS)

    def _expect(self, url: str, events: list[str], sent: memoryview | None = None) -> None:
        self._expected[upload_id(url)] = events
        if sent is not None:
            self._sent[upload_id(url)] = sha256(sent)

    async def _wait_for_end(self, timeout_seconds: float = 180.0) -> None:
        """Return when every expected upload has ended and no job is left."""
        deadline = time.monotonic() + timeout_seconds
        async with _ports(self._own_settings) as ports:
            assert ports.job_queue is not None
            while True:
                jobs = await jobs_in(ports.job_queue, JobState.WAITING, JobState.RUNNING)
                uploads = await ports.records.find_all([*self._expected])
                if not jobs and all(each and each.status in (Status.READY, Status.TERMINATED) for each in uploads):
                    break
                assert time.monotonic() < deadline, f"{jobs}, {uploads}"
                await asyncio.sleep(0.05)
            assert [] == await jobs_in(ports.job_queue, JobState.DEAD)

    def _compare_events(self, receiver: Receiver) -> None:
        delivered: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for call in receiver.calls:
            delivered[call.payload["upload"]["id"]][call.payload["type"]] += call.header("webhook-id")
        for upload, events in self._expected.items():
            assert events == [kind for kind in delivered[upload] if kind != "post-receive"], upload
            for kind, ids in delivered[upload].items():
                assert 1 == len(set(ids)) or kind == "post-receive", f"{kind} of {upload} has the ids {ids}"

    async def _compare_files(self) -> None:
        """After the maintenance of later days, what is stored and what is published belongs to a record."""
        async with _ports(self._own_settings) as ports:
            await remove_leftovers(ports, utc_now() + LATER)
            await remove_abandoned(ports, utc_now() + LATER)
        async with _ports(self._own_settings, later=LATER) as ports:
            await sweep(ports)
        stored = await asyncio.to_thread(self._kept.stored)
        async with _ports(self._own_settings) as ports:
            uploads = [upload for upload in await ports.records.find_all(stored) if upload is not None]
        assert stored == [upload.id for upload in uploads], f"stored without a record; killed at {self._killed_at}"
        assert not [upload for upload in uploads if upload.has_ended]
        await self._compare_published(uploads)

    async def _compare_published(self, uploads: list[Upload]) -> None:
        paths: dict[str, str] = {}
        for upload in uploads:
            if upload.is_complete and upload.kind is not Kind.PARTIAL:
                (path,) = (step.details["path"] for step in upload.history if "path" in step.details)
                paths[path] = upload.id
        published = await asyncio.to_thread(self._kept.published)
        assert published.keys() == paths.keys()
        found = {upload: published[path] for path, upload in paths.items()}
        assert self._sent == {upload: digest for upload, digest in found.items() if upload in self._sent}


async def _patient(method: str, url: str, headers: Mapping[str, str], body: memoryview | None = None) -> Answer:
    """Repeat a request until the server answers it, and not with 423, 500 or 503."""
    deadline = time.monotonic() + 180  # a server that is started again on a loaded machine
    while True:
        with contextlib.suppress(OSError, TimeoutError, EOFError):
            answer = await asyncio.wait_for(request(method, url, headers, body), 30)
            if answer.status not in (423, 503):
                return answer
        assert time.monotonic() < deadline, f"{method} is not answered"
        await asyncio.sleep(0.05)


def _named(name: str) -> dict[str, str]:
    return {"Upload-Metadata": f"filename {b64encode(name.encode()).decode()}"}


@contextlib.asynccontextmanager
async def _ports(settings: Settings, later: timedelta = timedelta()) -> AsyncIterator[Ports]:
    ports = await open_ports(settings, clock=lambda: utc_now() + later)
    try:
        yield ports
    finally:
        await close_ports(ports, settings)
