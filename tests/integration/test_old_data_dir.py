"""A data directory of version 0.1, left behind by SIGKILL, opened by this version.

``tests/fixtures/make_old_data_dir.py`` has made it with the server and the worker of that version.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import TUS, patch_headers, request
from tests.support.receiver import Receiver, receiving
from tests.support.server import RunningServer, start_server
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

_ARCHIVE = Path(__file__).parents[1] / "fixtures" / "data-0.1.tar.gz"
_TEN_YEARS = str(10 * 365 * 86400)
_UNFINISHED = ("unfinished", "unfinished at a chosen path", "empty so far", "part 3")
_FINALS = ("joined final", "queued final", "pending final")


class OldDataDir:
    """A copy of the directory, the uploads in it by name, and a server of this version with its worker."""

    def __init__(self, directory: Path, receivers: dict[str, Receiver]) -> None:
        with tarfile.open(_ARCHIVE) as archive:
            archive.extractall(directory, filter="data")
        self.directory = directory
        self.receivers = receivers
        self.manifest: dict[str, Any] = json.loads((directory / "manifest.json").read_text())
        self.uploads: dict[str, dict[str, Any]] = self.manifest["uploads"]
        self._make_jobs_due()
        endpoints = [{"name": name, "url": each.url, "allow_private": True} for name, each in receivers.items()]
        settings = {
            "WEBHOOKS__ENDPOINTS": json.dumps(endpoints),
            "EVENTS__RECORD": "true",
            "EVENTS__KEEP_SECONDS": _TEN_YEARS,
            "EXPIRATION__TOMBSTONE_SECONDS": _TEN_YEARS,
            "VALIDATION__ENABLED": "true",
            "PUBLISHING__DIRECTORY": str(directory / "published"),
            "API__ENABLED": "true",
        }
        self.server: RunningServer = start_server(directory / "data", settings=settings)

    def _make_jobs_due(self) -> None:
        """For a machine whose clock is behind that of the machine on which the archive was made."""
        with closing(sqlite3.connect(self.directory / "data/tusd.sqlite3")) as connection, connection:
            connection.execute("UPDATE jobs SET next_attempt_at = min(next_attempt_at, ?)", (int(time.time() * 1e6),))

    def url(self, name: str) -> str:
        return self.server.url + str(self.uploads[name]["id"])

    def count(self, rows: str) -> int:
        with closing(sqlite3.connect(self.directory / "data/tusd.sqlite3", timeout=10)) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {rows}").fetchone()[0])

    async def api(self, path: str, method: str = "GET") -> Any:
        response = await request(method, f"{self.server.root}/api/{path}", {})
        assert response.status == 200, response.body
        return json.loads(response.body)

    async def jobs_ended(self) -> None:
        await eventually(
            lambda: self.count("jobs WHERE state IN ('waiting', 'running')") == 0, "all jobs have ended", 60
        )

    async def has_sha256(self, name: str) -> bool:
        """Whether a download of the upload has the SHA-256 of what its client has or would have sent."""
        response = await request("GET", self.url(name), {})
        assert response.status == 200, (name, response)
        return hashlib.sha256(response.body).hexdigest() == str(self.uploads[name]["sha256"])


@pytest.fixture
def old(tmp_path: Path) -> Iterator[OldDataDir]:
    with receiving() as library, receiving() as gone, receiving() as strict:
        opened = OldDataDir(tmp_path, {"library": library, "gone": gone, "strict": strict})
        try:
            yield opened
        finally:
            opened.server.stop()


async def test_unfinished_uploads_continue_at_their_offset(old: OldDataDir) -> None:
    """HEAD reports the recorded offset; after the missing bytes the download has the right SHA-256."""
    for name in _UNFINISHED:
        upload = old.uploads[name]
        head = await request("HEAD", old.url(name), TUS)
        assert head.status == 200
        assert head.offset is not None
        # The server was killed in the middle of a body of this one.
        assert head.offset == upload["offset"] or (upload["offset"] is None and head.offset <= 50)
        content = random.Random(name).randbytes(upload["length"])
        assert hashlib.sha256(content).hexdigest() == upload["sha256"]
        answer = await request("PATCH", old.url(name), patch_headers(head.offset), content[head.offset :])
        assert (answer.status, answer.offset) == (204, upload["length"])
    await old.jobs_ended()
    assert [name for name in _UNFINISHED if name != "part 3" and not await old.has_sha256(name)] == []


async def test_final_uploads_are_assembled(old: OldDataDir) -> None:
    """A final upload with a queued job is assembled at once, one with an unfinished part when that is complete."""
    part = random.Random("part 3").randbytes(old.uploads["part 3"]["length"])[400:]
    assert (await request("PATCH", old.url("part 3"), patch_headers(400), part)).status == 204
    await old.jobs_ended()
    assert [name for name in _FINALS if not await old.has_sha256(name)] == []


async def test_queued_and_running_jobs_are_done_once(old: OldDataDir) -> None:
    """Uploads that waited for workers, or whose worker was killed, get ready; each is published once."""
    interrupted = [name for name in old.uploads if name.startswith(("running", "queued", "finished"))]
    await old.jobs_ended()
    for name in interrupted:
        view = await old.api(f"uploads/{old.uploads[name]['id']}")
        assert (name, view["status"], view["pending_steps"]) == (name, "ready", [])
        assert await old.has_sha256(name)
    published = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (old.directory / "published").rglob("*")
        if path.is_file() and not path.name.startswith(".")
    ]
    assert sorted(published) == sorted(old.uploads[name]["sha256"] for name in [*interrupted, "joined final"])
    delivered = {call.payload["upload"]["id"] for call in old.receivers["library"].calls}
    assert {old.uploads[name]["id"] for name in interrupted if not name.startswith("finished")} <= delivered


async def test_dead_jobs_can_be_retried(old: OldDataDir) -> None:
    """A retry of a job that had died delivers its event, as it was recorded then."""
    await old.jobs_ended()
    dead = [job for job in (await old.api("jobs?state=dead&limit=1000"))["jobs"] if job["subscription"] == "strict"]
    assert dead
    job = dead[-1]
    assert "answered 422" in job["error"]
    await old.api(f"jobs/{job['id']}/retry", "POST")
    await old.jobs_ended()
    assert (await old.api(f"jobs/{job['id']}"))["state"] == "done"
    (call,) = [call for call in old.receivers["strict"].calls if call.payload["id"] == job["event_id"]]
    assert call.payload["upload"]["id"] == job["upload_id"]


async def test_closed_endpoint_is_still_closed(old: OldDataDir) -> None:
    """The endpoint that had answered 410 gets no request until it is opened; its dead jobs are no jobs any more."""
    await old.jobs_ended()
    (closed,) = (await old.api("endpoints"))["endpoints"]
    assert (closed["name"], closed["reason"]) == ("gone", "answered 410")
    assert old.receivers["gone"].calls == []
    assert old.count("jobs WHERE upload_id LIKE 'closed %'") == 0
    await old.api("endpoints/gone/open", "POST")
    dead = [job for job in (await old.api("jobs?state=dead&limit=1000"))["jobs"] if job["subscription"] == "gone"]
    await old.api(f"jobs/{dead[0]['id']}/retry", "POST")
    await eventually(lambda: len(old.receivers["gone"].calls) == 1, "the event is delivered")


async def test_history_and_tombstones_are_readable(old: OldDataDir) -> None:
    """Histories and events of the old version are shown with the new names; 404 and 410 are as before."""
    finished = await old.api(f"uploads/{old.uploads['finished']['id']}")
    entries = {entry["step"]: entry["details"] for entry in finished["history"]}
    assert entries["validation"]["sha256"] == old.uploads["finished"]["sha256"]
    assert entries["publishing"]["path"].endswith("/a.txt")
    events = (await old.api(f"events?upload={old.uploads['finished']['id']}"))["events"]
    types = ["post-create", "post-receive", "post-finish", "upload.validated", "upload.ready"]
    assert [event["type"] for event in events] == types
    assert events[2]["upload"]["pending_steps"] == ["validation", "publishing"]
    assert events[3]["upload"]["history"][-1]["details"] == entries["validation"]
    statuses = [(await request("HEAD", old.url(name), TUS)).status for name in ("terminated", "expired")]
    assert statuses == [404, 410]
