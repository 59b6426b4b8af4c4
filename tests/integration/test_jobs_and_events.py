"""Jobs and events by the commands and by the JSON API of a running server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import TUS, create, patch_headers, request
from tests.support.receiver import Answer, Receiver, receiving
from tests.support.server import RunningServer, start_server
from tests.support.waiting import eventually

ENDPOINT = {"name": "library", "allow_private": True, "events": ["post-finish"]}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def server(receiver: Receiver, tmp_path: Path) -> Iterator[RunningServer]:
    settings = {
        "WEBHOOKS__ENDPOINTS": json.dumps([{**ENDPOINT, "url": receiver.url}]),
        "EVENTS__RECORD": "true",
        "API__ENABLED": "true",
    }
    running = start_server(tmp_path / "data", settings=settings)
    yield running
    running.stop()


def command(server: RunningServer, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command and return its exit code and output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUSD_PY_")}
    return subprocess.run(
        [sys.executable, "-m", "tusd_py", *words, "--data-dir", str(server.data_dir)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )


def follow(server: RunningServer, printed: Path, errors_file: Path) -> subprocess.Popen[bytes]:
    """Start ``events tail --follow``; its output and its errors go to these files."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUSD_PY_")}
    arguments = [sys.executable, "-m", "tusd_py", "events", "tail", "--follow", "--json"]
    arguments += ["--data-dir", str(server.data_dir)]
    with printed.open("wb") as out, errors_file.open("wb") as errors:
        # A shell without a terminal starts what it runs in the background with SIGINT ignored, for its children too.
        return subprocess.Popen(arguments, stdout=out, stderr=errors, env=environment, preexec_fn=_heed_sigint)


def _heed_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def answer(server: RunningServer, path: str, method: str = "GET", status: int = 200) -> Any:
    response = await request(method, server.root + path, {})
    assert response.status == status, response.body
    content: Any = json.loads(response.body)
    return content


async def dead_job(server: RunningServer, upload_id: str) -> Any:
    """The dead job of this upload. The worker logs "job is dead" a moment before the job's state is saved."""
    deadline = asyncio.get_running_loop().time() + 15
    while not (jobs := (await answer(server, f"/api/jobs?state=dead&upload={upload_id}"))["jobs"]):
        assert asyncio.get_running_loop().time() < deadline, "the job is not dead"
        await asyncio.sleep(0.02)
    (job,) = jobs
    return job


async def upload(server: RunningServer) -> str:
    location = await create(server.url, 4, {**TUS, "Upload-Metadata": "filename YS5wbmc="})
    assert (await request("PATCH", location, patch_headers(0), b"0123")).status == 204
    return location.rsplit("/", 1)[1]


@pytest.mark.anyio
async def test_dead_job_is_listed_retried_and_deleted(server: RunningServer, receiver: Receiver) -> None:
    """A delivery that the receiver rejects (422) becomes a dead job, which an operator can retry and delete."""
    receiver.answers["post-finish"] = [Answer(status=422), Answer(), Answer(status=422)]
    upload_id = await upload(server)
    job = await dead_job(server, upload_id)
    assert (job["subscription"], job["attempt"]) == ("library", 1)
    assert "library answered 422" in job["error"]
    listed = command(server, "jobs", "list", "--state", "dead")
    assert f"{job['id']:>8}  dead" in listed.stdout
    assert job == json.loads(command(server, "jobs", "show", str(job["id"])).stdout)
    assert f"job {job['id']} will be retried\n" == command(server, "jobs", "retry", str(job["id"])).stdout
    await eventually(lambda: len(receiver.calls) >= 2, "the event is delivered again")
    again = command(server, "jobs", "retry", "999")
    message = "tusd-py: job 999 does not exist; tusd-py jobs list shows the newest jobs\n"
    assert (again.returncode, again.stderr) == (2, message)
    assert " dropped\n" in command(server, "jobs", "drop", str(job["id"])).stdout
    assert command(server, "jobs", "show", str(job["id"])).returncode == 2


@pytest.mark.anyio
@pytest.mark.parametrize("opens_by", ["api", "command"])
async def test_closed_endpoint_410_is_listed_and_opened(
    server: RunningServer, receiver: Receiver, opens_by: str
) -> None:
    """An endpoint that answered 410 gets no request until it is opened, by the API or the command."""
    receiver.answers["post-finish"] = [Answer(status=410)]
    assert (await answer(server, "/api/endpoints")) == {"endpoints": []}
    assert command(server, "endpoints", "list").stderr == "no closed endpoints\n"
    await upload(server)
    await eventually(lambda: server.log.read_text().count("job is dead") >= 1, "it is closed")
    (closed,) = (await answer(server, "/api/endpoints"))["endpoints"]
    assert (closed["name"], closed["state"], closed["reason"]) == ("library", "closed", "answered 410")
    assert json.loads(command(server, "endpoints", "list", "--json").stdout) == closed
    assert f"closed  {closed['since']}  library  answered 410\n" == command(server, "endpoints", "list").stdout
    await upload(server)
    await eventually(lambda: server.log.read_text().count("job is dead") >= 2, "nothing is delivered")
    assert len(receiver.calls) == 1
    if opens_by == "api":
        assert await answer(server, "/api/endpoints/library/open", "POST") == {"opened": "library"}
    else:
        opened = command(server, "endpoints", "open", "library", "--retry")
        assert opened.stdout == "library is open; jobs to be retried: 2\n"
        await eventually(lambda: len(receiver.calls) == 3, "what was missed is delivered")
    again = command(server, "endpoints", "open", "library")
    assert (again.returncode, "library is not closed" in again.stderr) == (2, True)
    calls = len(receiver.calls)
    await upload(server)
    await eventually(lambda: len(receiver.calls) == calls + 1, "it is delivered again")


@pytest.mark.anyio
async def test_events_are_listed_in_order(server: RunningServer) -> None:
    """The API and the command list the same events, oldest first; ``after`` continues from a place."""
    upload_id = await upload(server)
    events = (await answer(server, f"/api/events?upload={upload_id}"))["events"]
    types = ["post-create", "post-receive", "post-finish", "upload.ready"]
    assert types == [event["type"] for event in events]
    later = (await answer(server, f"/api/events?after={events[1]['place']}&limit=1"))["events"]
    assert [events[2]] == later
    lines = command(server, "events", "tail", "--json").stdout.splitlines()
    assert [event["id"] for event in events] == [json.loads(line)["id"] for line in lines]
    assert "post-finish" in command(server, "events", "tail", "-n", "2").stdout


@pytest.mark.anyio
async def test_events_tail_follow_until_sigint(server: RunningServer, tmp_path: Path) -> None:
    """New events are printed soon; SIGINT ends the command with exit code 0 and no further output."""
    earlier = await upload(server)
    printed, errors_file = tmp_path / "printed", tmp_path / "errors_file"
    following = follow(server, printed, errors_file)
    try:
        await eventually(lambda: earlier in printed.read_text(), "past events are printed")
        later = await upload(server)
        await eventually(lambda: printed.read_text().count(f'"id": "{later}"') >= 4, "new events are printed", 5)
        following.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(following.wait, 10)
    finally:
        following.kill()
        following.wait()
    assert (code, errors_file.read_text()) == (0, "")
    events = [json.loads(line) for line in printed.read_text().splitlines()]
    types = ["post-create", "post-receive", "post-finish", "upload.ready"]
    assert [(upload_id, kind) for upload_id in (earlier, later) for kind in types] == [
        (event["upload"]["id"], event["type"]) for event in events
    ]


@pytest.mark.anyio
async def test_upload_view_has_its_history(server: RunningServer) -> None:
    """The view of an upload has status, times and metadata, but nothing about its storage."""
    upload_id = await upload(server)
    shown = await answer(server, f"/api/uploads/{upload_id}")
    assert (shown["status"], shown["offset"], shown["metadata"]) == ("ready", 4, {"filename": "a.png"})
    assert ["uploading", "processing", "ready"] == [step["status"] for step in shown["history"]]
    assert "storage" not in shown


INVALID = [
    ("GET", "/api/uploads/none", 404),
    ("GET", "/api/jobs/none", 404),
    ("GET", "/api/jobs/999", 404),
    ("GET", "/api/jobs?state=odd", 400),
    ("GET", "/api/jobs?limit=-1", 400),
    ("GET", "/api/jobs?before=99999999999999999999", 400),
    ("GET", "/api/events?after=x", 400),
    ("POST", "/api/jobs/999/retry", 409),
    ("DELETE", "/api/jobs/999", 409),
]


@pytest.mark.anyio
async def test_invalid_api_requests_4xx(server: RunningServer) -> None:
    """Each invalid request gets its status and a sentence."""
    for method, path, status in INVALID:
        assert (await answer(server, path, method, status))["error"], path


@pytest.mark.anyio
async def test_api_is_off_by_default_404(tmp_path: Path) -> None:
    """By default there is no ``/api``."""
    server = start_server(tmp_path / "data")
    try:
        assert (await request("GET", server.root + "/api/jobs", {})).status == 404
    finally:
        server.stop()
