"""Validation and publishing by a running server and its worker."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support import samples
from tests.support.client import TUS, Answer, create, patch_headers, request
from tests.support.programs import find_program
from tests.support.receiver import Answer as HookAnswer
from tests.support.receiver import receiving
from tests.support.server import RunningServer, start_server
from tests.support.waiting import eventually

RULES = [
    {"name": "images", "types": ["image/*"], "allowed_types": ["image/png"], "type_agrees": True},
    {"name": "tables", "files": ["*.csv"], "csv": True},
]

SETTINGS = {"VALIDATION__ENABLED": "true", "VALIDATION__EARLY": "true", "VALIDATION__RULES": json.dumps(RULES)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    root = tmp_path_factory.mktemp("processing")
    settings = {**SETTINGS, "PUBLISHING__DIRECTORY": str(root / "published"), "PUBLISHING__PATTERN": "{id}/{filename}"}
    settings |= {"UPLOADS__JOIN_AT_ONCE_BYTES_MAX": "10", "UPLOADS__DELETE_JOINED_PARTS": "true"}
    running = start_server(root / "data", settings=settings)
    yield running
    running.stop()


def metadata(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


async def upload(server: RunningServer, content: bytes, **values: str) -> str:
    """Upload ``content`` and return its URL."""
    location = await create(server.url, len(content), {**TUS, "Upload-Metadata": metadata(**values)})
    assert (await request("PATCH", location, patch_headers(0), content)).status == 204
    return location


async def answered(method: str, url: str, status: int) -> Answer:
    """Repeat the request until the response has this status: the worker takes some time."""
    deadline = time.monotonic() + 15
    while (answer := await request(method, url, TUS)).status != status:
        assert time.monotonic() < deadline, f"{method} {url} is answered {answer.status}, not {status}"
        await asyncio.sleep(0.02)
    return answer


def published(server: RunningServer, url: str, name: str) -> Path:
    return server.data_dir.parent / "published" / url.rsplit("/", 1)[1] / name


@pytest.mark.anyio
async def test_valid_upload_is_published_200(server: RunningServer) -> None:
    """The embedded worker validates it, and then publishes it."""
    digest = hashlib.sha256(samples.PNG).hexdigest()
    url = await upload(server, samples.PNG, filename="cat.png", filetype="image/png", sha256=digest)
    assert samples.PNG == (await answered("GET", url, 200)).body
    deadline = time.monotonic() + 15
    while not published(server, url, "cat.png").exists():
        assert time.monotonic() < deadline, "it was not published"
        await asyncio.sleep(0.02)
    assert samples.PNG == published(server, url, "cat.png").read_bytes()


@pytest.mark.parametrize(
    ("content", "values"),
    [(samples.PNG, {"sha256": "0" * 64}), (b"a,b\n1\n", {"filename": "x.csv"}), (b"", {"filename": "x.csv"})],
)
@pytest.mark.anyio
async def test_rejected_upload_is_not_published(server: RunningServer, content: bytes, values: dict[str, str]) -> None:
    """Its bytes stay in quarantine until it is terminated."""
    url = (
        await upload(server, content, **values)
        if content
        else await create(server.url, 0, {**TUS, "Upload-Metadata": metadata(**values)})
    )
    answer = await answered("GET", url, 403)
    assert answer.body.startswith(b"ERR_UPLOAD_NOT_ALLOWED: ")
    assert 403 == (await request("HEAD", url, TUS)).status
    assert content == server.stored(url)
    assert not published(server, url, "x.csv").parent.exists()
    assert 204 == (await request("DELETE", url, TUS)).status


@pytest.mark.anyio
async def test_large_final_upload_is_concatenated_validated_and_published(server: RunningServer) -> None:
    """Its parts cannot be downloaded, and are deleted afterwards."""
    halves = [samples.PNG[:20], samples.PNG[20:]]
    urls = []
    for half in halves:
        url = await create(server.url, len(half), {**TUS, "Upload-Concat": "partial"})
        assert (await request("PATCH", url, patch_headers(0), half)).status == 204
        urls.append(url)
    assert 404 == (await request("GET", urls[0], TUS)).status
    headers = {**TUS, "Upload-Concat": "final;" + " ".join(urls)}
    headers["Upload-Metadata"] = metadata(filename="whole.png", filetype="image/png")
    made = await request("POST", server.url, headers)
    assert 201 == made.status
    final = urljoin(server.url, made.headers["location"])
    assert samples.PNG == (await answered("GET", final, 200)).body
    for url in urls:
        await answered("HEAD", url, 404)


@pytest.mark.anyio
async def test_forbidden_type_is_refused_early_415(server: RunningServer, tmp_path: Path) -> None:
    """curl gets 415 after a few of many megabytes; HEAD is 200, and the next PATCH gets the same 415."""
    find_program("curl", "curl is not installed (Debian: apt-get install curl)")
    length = 200 * 1024 * 1024
    with (tmp_path / "big").open("wb") as file:
        file.write(samples.HTML)
        file.truncate(length)
    url = await create(server.url, length, {**TUS, "Upload-Metadata": metadata(filetype="image/png")})
    headers = [f"-H{name}: {value}" for name, value in patch_headers(0, length).items() if name != "Content-Length"]
    done = await asyncio.to_thread(
        subprocess.run,
        [
            *("curl", "-sS", "-o", str(tmp_path / "answer"), "-w", "%{http_code} %{size_upload}", "-X", "PATCH"),
            *("--limit-rate", "50M", "-T", str(tmp_path / "big"), *headers, url),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    status, uploaded = done.stdout.split()
    assert ("415", True) == (status, int(uploaded) < length // 4), done
    assert (tmp_path / "answer").read_bytes().startswith(b"ERR_TYPE_NOT_ALLOWED: ")
    head = await request("HEAD", url, TUS)
    assert (head.status, head.offset) == (200, 0)
    again = await request("PATCH", url, patch_headers(0), b"<html>")
    assert (again.status, again.body) == (415, (tmp_path / "answer").read_bytes())


@pytest.mark.anyio
async def test_owner_of_hook_in_published_path(tmp_path: Path) -> None:
    """An HTTP hook chooses the owner at creation; the upload is published in the directory of that owner."""
    with receiving() as receiver:
        receiver.answers["pre-create"] = HookAnswer({"ChangeFileInfo": {"Owner": "ann@example.com"}})
        settings = {"HOOKS__HTTP_URLS": receiver.url, "HOOKS__ENABLED_EVENTS": "pre-create"}
        settings |= {"PUBLISHING__DIRECTORY": str(tmp_path / "out"), "PUBLISHING__PATTERN": "{owner}/{filename}"}
        server = start_server(tmp_path / "data", settings=settings)
        try:
            await upload(server, b"of ann", filename="note.txt")
            path = tmp_path / "out" / "ann@example.com" / "note.txt"
            await eventually(path.exists, "the upload is published")
            assert b"of ann" == path.read_bytes()
        finally:
            server.stop()
