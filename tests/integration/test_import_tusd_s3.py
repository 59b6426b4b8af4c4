"""``tusd-py import tusd s3://...``: the uploads of a tusd that keeps them in S3 go on where they stood, at their URLs.

A real tusd and a real S3 server.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.client import TUS, create, patch_headers, request
from tests.support.command import isolate, run
from tests.support.content import MIB, content
from tests.support.golang import tusd_program
from tests.support.s3 import S3Server, running_s3
from tests.support.s3_services import ACCESS_KEY, SECRET_KEY
from tests.support.server import RunningServer, start_server
from tests.support.stored import head
from tests.support.waiting import eventually

# tusd and the S3 server take minutes to compile.
pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(600)]

BUCKET, PREFIX = "tusd-bucket", "old/files"
METADATA = "filename w6QgYi50eHQ=,filetype dGV4dC9wbGFpbg=="
AWS_ID = "VXBs.b2Fk_IElEI-" * 12
BIG = bytes(content(0, 12 * MIB + 5))


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with running_s3() as running:
        running.client().create_bucket(Bucket=BUCKET)
        running.client().create_bucket(Bucket="ours")
        yield running


def settings(s3: S3Server, kind: str) -> dict[str, str]:
    return s3.settings("ours", STORAGE__KIND=kind)


def is_open(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port or 0)) == 0


@contextmanager
def tusd(s3: S3Server, directory: Path) -> Iterator[str]:
    """A tusd over the bucket, killed with -9 at the end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [str(tusd_program()), "-host", "127.0.0.1", "-port", str(port), "-s3-bucket", BUCKET]
    command += ["-s3-endpoint", s3.url, "-s3-object-prefix", PREFIX, "-s3-part-size", str(6 * MIB)]
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
    with (
        (directory / "tusd.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **keys}) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}/files/"
        finally:
            process.send_signal(signal.SIGKILL)


async def patch(url: str, offset: int, body: bytes) -> int:
    return (await request("PATCH", url, patch_headers(offset), body)).status


async def fill(url: str) -> dict[str, str]:
    """Uploads of every kind on tusd; their URLs by name."""
    found = {"tail": await create(url, 8, {**TUS, "Upload-Metadata": METADATA})}
    await patch(found["tail"], 0, b"0123")
    found["parts"] = await create(url, len(BIG))
    await patch(found["parts"], 0, BIG[: 6 * MIB])
    await patch(found["parts"], 6 * MIB, BIG[6 * MIB : 11 * MIB + 7])
    await patch(found["parts"], 11 * MIB + 7, BIG[11 * MIB + 7 : 11 * MIB + 9])
    found["complete"] = await create(url, len(BIG))
    await patch(found["complete"], 0, BIG)
    found["deferred"] = (await request("POST", url, {**TUS, "Upload-Defer-Length": "1"})).headers["location"]
    await patch(found["deferred"], 0, b"ab")
    found["untouched"] = await create(url, 3)
    found["empty"] = await create(url, 0)
    for name in ("first", "second"):
        found[name] = await create(url, 4, {**TUS, "Upload-Concat": "partial"})
        await patch(found[name], 0, b"part")
    parts = f"final;{found['first']} {found['second']}"
    found["final"] = (await request("POST", url, {**TUS, "Upload-Concat": parts})).headers["location"]
    return found


def add_with_a_long_id(s3: S3Server) -> str:
    """An unfinished upload with an id like those of AWS, which the S3 server here does not give. Return its id."""
    client: Any = s3.client()
    tusd_id = f"0123abcd+{AWS_ID}"
    info = {"ID": tusd_id, "Size": 5, "MetaData": {}}
    client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/0123abcd.info", Body=json.dumps(info).encode())
    client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/0123abcd", Body=b"ab")
    client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/0123abcd.part", Body=b"c")
    return tusd_id


def id_at(url: str) -> str:
    return urlsplit(url).path.removeprefix("/files/")


async def assert_same(server: RunningServer, url: str, before: Mapping[str, str]) -> None:
    status, after = head(server, server.url + id_at(url))
    assert 200 == status, url
    for header in ("upload-offset", "upload-length", "upload-defer-length"):
        assert before.get(header) == after.get(header), (url, header)
    assert set(before.get("upload-metadata", "").split(",")) == set(after.get("upload-metadata", "").split(","))
    assert before.get("upload-concat", "")[:6] == after.get("upload-concat", "")[:6]


def keys(s3: S3Server) -> set[str]:
    client: Any = s3.client()
    return {each["Key"] for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", ())}


def test_missing_bucket_is_one_sentence(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is read."""
    isolate(tmp_path, monkeypatch)
    assert 0 == run("migrate", "--data-dir", "data").exit_code
    result = run("import", "tusd", "s3://nowhere", "--data-dir", "data", **settings(s3, "disk"))
    assert 2 == result.exit_code
    assert result.stderr.startswith("tusd-py: the bucket does not exist")
    assert 1 == len(result.stderr.splitlines())


@pytest.mark.parametrize("kind", ["disk", "s3"])
async def test_uploads_of_a_real_tusd_go_on_at_their_urls(
    kind: str, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started in tusd, which is killed; imported, after a dry run; resumed with the path that the client stored."""
    with tusd(s3, tmp_path) as url:
        await eventually(lambda: is_open(url), "tusd listens", 60.0)
        urls = await fill(url)
        before = {name: (await request("HEAD", each, TUS)).headers for name, each in urls.items()}
    assert str(11 * MIB + 9) == before["parts"]["upload-offset"]
    urls["long"] = f"/files/{add_with_a_long_id(s3)}"
    before["long"] = {"upload-offset": "3", "upload-length": "5"}
    isolate(tmp_path, monkeypatch)
    server = start_server(tmp_path / "data", settings=settings(s3, kind))
    try:
        source = ("import", "tusd", f"s3://{BUCKET}/{PREFIX}", "--data-dir", str(tmp_path / "data"))
        untouched = keys(s3)
        dry = await asyncio.to_thread(run, *source, "--dry-run", **settings(s3, kind))
        assert "10 would be taken over, 0 were here already, 0 left out" in dry.stdout, dry.output
        assert untouched == keys(s3)
        done = await asyncio.to_thread(run, *source, **settings(s3, kind))
        assert 0 == done.exit_code, done.output
        for name, each in urls.items():
            await assert_same(server, each, before[name])
        assert b"partpart" == (await request("GET", server.url + id_at(urls["final"]), {})).body
        assert BIG == (await request("GET", server.url + id_at(urls["complete"]), {})).body
        for name, rest, whole in (
            ("parts", BIG[11 * MIB + 9 :], BIG),
            ("long", b"de", b"abcde"),
            ("tail", b"4567", b"01234567"),
            ("untouched", b"xyz", b"xyz"),
        ):
            resumed = server.url + id_at(urls[name])
            assert 204 == await patch(resumed, len(whole) - len(rest), rest), name
            assert whole == (await request("GET", resumed, {})).body
        shown = await asyncio.to_thread(run, "uploads", "show", id_at(urls["long"]), *source[3:], **settings(s3, kind))
        assert "ready" == json.loads(shown.stdout)["status"]
        again = await asyncio.to_thread(run, *source, "--json", **settings(s3, kind))
        assert {"known"} == {json.loads(line)["outcome"] for line in again.stdout.splitlines()}
        # A tusd that is started again must not take an unfinished upload for complete.
        with tusd(s3, tmp_path) as url:
            await eventually(lambda: is_open(url), "tusd listens", 60.0)
            assert 404 == (await request("HEAD", url + id_at(urls["parts"]), TUS)).status
    finally:
        server.stop()
        client: Any = s3.client()
        for key in keys(s3):
            client.delete_object(Bucket=BUCKET, Key=key)
