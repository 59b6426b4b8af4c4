"""``tusd-py import tusd``: the uploads of a tusd server go on where they stood, with their URLs."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.client import BODY, TUS, create, patch_headers, request
from tests.support.command import isolate, run
from tests.support.golang import tusd_program
from tests.support.server import RunningServer, start_server
from tests.support.stored import head, upload_id
from tests.support.waiting import eventually
from tests.unit.imports.test_tusd_directory import made

pytestmark = pytest.mark.anyio

METADATA = "filename w6QgYi50eHQ=,filetype dGV4dC9wbGFpbg=="


async def test_imported_uploads_go_on_where_they_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a running server: unfinished ones are resumed, complete ones can be downloaded, again changes nothing."""
    source = tmp_path / "tusd"
    made(source, "unfinished", b"abc")
    made(source, "complete", b"12345")
    made(source, "deferred", b"xyz", Size=0, SizeIsDeferred=True)
    isolate(tmp_path, monkeypatch)
    server = start_server(tmp_path / "data")
    try:
        arguments = ("import", "tusd", str(source), "--data-dir", str(tmp_path / "data"))
        dry = await asyncio.to_thread(run, *arguments, "--dry-run")
        assert "3 would be taken over, 0 were here already, 0 left out" in dry.stdout
        assert 404 == head(server, server.url + "unfinished")[0]
        first = await asyncio.to_thread(run, *arguments, "--remove")
        assert (0, "3 taken over, 0 were here already, 0 left out") == (first.exit_code, first.stdout.splitlines()[-1])
        assert not list(source.iterdir())
        assert 204 == (await request("PATCH", server.url + "unfinished", patch_headers(3), b"de")).status
        ended = {**patch_headers(3), "Upload-Length": "4"}
        assert 204 == (await request("PATCH", server.url + "deferred", ended, b"!")).status
        bodies = {name: (await request("GET", server.url + name, {})).body for name in ("unfinished", "complete")}
        assert {"unfinished": b"abcde", "complete": b"12345"} == bodies
        made(source, "complete", b"other")
        made(source, "broken", None)
        again = await asyncio.to_thread(run, *arguments, "--json")
        assert 2 == again.exit_code
        outcomes = {line["id"]: line["outcome"] for line in map(json.loads, again.stdout.splitlines())}
        assert {"complete": "known", "broken": "skipped"} == outcomes
        assert b"12345" == (await request("GET", server.url + "complete", {})).body
    finally:
        server.stop()


def test_only_unfinished_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Complete ones stay where they are; a complete partial upload may still become part of a final one."""
    isolate(tmp_path, monkeypatch)
    made(tmp_path / "tusd", "unfinished", b"abc")
    made(tmp_path / "tusd", "complete", b"12345")
    made(tmp_path / "tusd", "partial", b"12345", IsPartial=True)
    assert 0 == run("migrate", "--data-dir", "data").exit_code
    done = run("import", "tusd", "tusd", "--unfinished", "--data-dir", "data", "--json")
    assert 0 == done.exit_code
    outcomes = {line["id"]: line["outcome"] for line in map(json.loads, done.stdout.splitlines())}
    assert {"unfinished": "imported", "complete": "complete", "partial": "imported"} == outcomes
    again = run("import", "tusd", "tusd", "--unfinished", "--data-dir", "data")
    assert "0 taken over, 1 complete, 2 were here already, 0 left out" == again.stdout.splitlines()[-1]


def test_wrong_arguments_are_refused_and_create_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with a sentence and status 2."""
    isolate(tmp_path, monkeypatch)
    owner = run("import", "tusd", ".", "--owner", "a\nb")
    assert (2, "tusd-py: --owner must be at most 255 characters of text\n") == (owner.exit_code, owner.stderr)
    assert not list(tmp_path.iterdir())
    assert 0 == run("migrate", "--data-dir", "data").exit_code
    missing = run("import", "tusd", "nowhere", "--data-dir", "data")
    assert (2, "tusd-py: nowhere is not a directory\n") == (missing.exit_code, missing.stderr)
    own = {"STORAGE__KIND": "s3", "S3__BUCKET": "b", "S3__ENDPOINT_URL": "http://127.0.0.1:9", "S3__SECRET_KEY": "y"}
    own["S3__ACCESS_KEY"] = "x"
    for arguments, sentence in (
        (("http://b/x",), "http://b/x is not like s3://bucket/prefix"),
        ((".", "--s3-endpoint", "http://127.0.0.1:9"), "--s3-endpoint needs a source like s3://bucket/prefix"),
        (("s3://b/uploads/old",), "the maintenance of this server removes objects below s3://b/uploads/old that it"),
    ):
        refused = run("import", "tusd", *arguments, "--data-dir", "data", **own)
        assert 2 == refused.exit_code, refused.output
        assert refused.stderr.startswith(f"tusd-py: {sentence}"), refused.stderr
        assert 1 == len(refused.stderr.splitlines())
    assert ["data"] == [path.name for path in tmp_path.iterdir()]


@contextmanager
def tusd(directory: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [str(tusd_program()), "-host", "127.0.0.1", "-port", str(port), "-upload-dir", str(directory)]
    with (directory.parent / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}/files/"
        finally:
            process.terminate()


def is_open(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port or 0)) == 0


async def fill(url: str) -> dict[str, str]:
    """Uploads of every kind on tusd; their ids by name."""
    found = {"unfinished": await create(url, 8, {**TUS, "Upload-Metadata": METADATA})}
    await request("PATCH", found["unfinished"], patch_headers(0), b"0123")
    found["complete"] = (await request("POST", url, {**TUS, **BODY, "Upload-Length": "5"}, b"01234")).headers[
        "location"
    ]
    found["deferred"] = (await request("POST", url, {**TUS, "Upload-Defer-Length": "1"})).headers["location"]
    await request("PATCH", found["deferred"], patch_headers(0), b"ab")
    found["empty"] = await create(url, 0)
    for name in ("first", "second"):
        found[name] = await create(url, 4, {**TUS, "Upload-Concat": "partial"})
        await request("PATCH", found[name], patch_headers(0), b"part")
    parts = f"final;{found['first']} {found['second']}"
    found["final"] = (await request("POST", url, {**TUS, "Upload-Concat": parts})).headers["location"]
    found["loose"] = await create(url, 4, {**TUS, "Upload-Concat": "partial"})
    return {name: upload_id(made_url) for name, made_url in found.items()}


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_uploads_of_a_real_tusd_are_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever tusd 2 has written is read: offsets, lengths, metadata, kinds and bytes are as tusd answered them."""
    source = tmp_path / "tusd"
    source.mkdir()
    with tusd(source) as url:
        await eventually(lambda: is_open(url), "tusd listens", 60.0)
        ids = await fill(url)
        before = {name: await request("HEAD", url + found, TUS) for name, found in ids.items()}
    isolate(tmp_path, monkeypatch)
    server = start_server(tmp_path / "data")
    try:
        arguments = ("import", "tusd", str(source), "--data-dir", str(tmp_path / "data"))
        done = await asyncio.to_thread(run, *arguments)
        assert 0 == done.exit_code, done.output
        for name, found in ids.items():
            await assert_same(server, found, before[name].headers)
        assert b"partpart" == (await request("GET", server.url + ids["final"], {})).body
        assert 204 == (await request("PATCH", server.url + ids["unfinished"], patch_headers(4), b"4567")).status
        assert b"01234567" == (await request("GET", server.url + ids["unfinished"], {})).body
    finally:
        server.stop()


async def assert_same(server: RunningServer, found: str, before: Mapping[str, str]) -> None:
    status, after = head(server, server.url + found)
    assert 200 == status
    for header in ("upload-offset", "upload-length", "upload-defer-length"):
        assert before.get(header) == after.get(header), (found, header)
    assert set(before.get("upload-metadata", "").split(",")) == set(after.get("upload-metadata", "").split(","))
    assert before.get("upload-concat", "")[:6] == after.get("upload-concat", "")[:6]
