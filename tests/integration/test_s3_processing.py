"""Every step of a worker with the bytes in a real S3 server, and the end of uploads there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from typer.testing import Result

from tests.support import samples
from tests.support.client import TUS, create, patch_headers, request
from tests.support.command import run
from tests.support.content import MIB, content
from tests.support.s3 import EVERY_KIND, RGW, S3Server, running_s3
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, bearer
from tests.support.waiting import eventually

# The S3 server takes minutes to compile.
pytestmark = [pytest.mark.long, pytest.mark.timeout(300), pytest.mark.anyio]

#: Other tests use the machine, too.
_WORKER_SECONDS = 90.0
SOURCE, TARGET = "uploads", "published"
RULES = [
    {"name": "images", "types": ["image/*"], "allowed_types": ["image/png"], "type_agrees": True},
    {"name": "tables", "files": ["*.csv"], "csv": True},
]


@pytest.fixture(scope="module", params=EVERY_KIND)
def s3(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with running_s3(request.param) as running:
        for bucket in (SOURCE, TARGET):
            running.client().create_bucket(Bucket=bucket)
        yield running


def settings(s3: S3Server, **more: str) -> dict[str, str]:
    return s3.settings(SOURCE) | {
        "VALIDATION__ENABLED": "true",
        "VALIDATION__EARLY": "true",
        "VALIDATION__RULES": json.dumps(RULES),
        "PUBLISHING__DIRECTORY": f"s3://{TARGET}/in",
        "PUBLISHING__PATTERN": "{id}/{filename}",
        "UPLOADS__JOIN_AT_ONCE_BYTES_MAX": "10",
        "UPLOADS__DELETE_JOINED_PARTS": "true",
        **more,
    }


@pytest.fixture(scope="module")
def server(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("s3") / "data", settings=settings(s3))
    yield running
    running.stop()


def metadata(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


async def upload(server: RunningServer, body: bytes, **values: str) -> str:
    location = await create(server.url, len(body), {**TUS, "Upload-Metadata": metadata(**values)})
    for start in range(0, len(body), 4 * MIB) if body else ():
        piece = body[start : start + 4 * MIB]
        assert (await request("PATCH", location, patch_headers(start, len(piece)), piece)).status == 204
    return location


async def becomes(method: str, url: str, status: int) -> bytes:
    """The body, once the response has this status: the worker takes some time."""
    deadline = time.monotonic() + _WORKER_SECONDS
    while (answer := await request(method, url, TUS)).status != status:
        assert time.monotonic() < deadline, f"{method} {url} is answered {answer.status}, not {status}"
        await asyncio.sleep(0.05)
    return answer.body


def keys(s3: S3Server, bucket: str, prefix: str = "") -> list[str]:
    listed = s3.client().list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
    return [each["Key"] for each in listed if not each["Key"].endswith(("probe", "tusd-py.mark"))]


async def published(s3: S3Server, url: str, name: str) -> str:
    """Wait until this upload is published under ``name``, and return its key."""
    folder = f"in/{url.rsplit('/', 1)[1]}/"
    stem, dot, extension = name.rpartition(".")
    # Where a completion has no condition, each name has a suffix of its upload (docs/s3.md).
    suffix = "-[a-z2-7]+" if s3.kind == RGW else ""
    await eventually(lambda: len(keys(s3, TARGET, folder)) == 1, "it is published", _WORKER_SECONDS)
    (key,) = keys(s3, TARGET, folder)
    assert re.fullmatch(f"{folder}{stem}{suffix}{re.escape(dot + extension)}", key), key
    return key


def stored(s3: S3Server, key: str) -> bytes:
    body: bytes = s3.client().get_object(Bucket=TARGET, Key=key)["Body"].read()
    return body


async def command(server: RunningServer, s3: S3Server, *arguments: str, **more: str) -> Result:
    """Run a command beside the server, with its settings."""
    variables = settings(s3, **more)
    return await asyncio.to_thread(run, *arguments, "--data-dir", str(server.data_dir), **variables)


@pytest.mark.parametrize("size", [0, 12 * MIB])
async def test_valid_upload_is_published(server: RunningServer, s3: S3Server, size: int) -> None:
    """The type is that of the first bytes, the digest that of all; then it is copied to the other bucket."""
    body = samples.PNG + bytes(content(80, size))
    digest = hashlib.sha256(body).hexdigest()
    url = await upload(server, body, filename="cat.png", filetype="image/png", sha256=digest)
    assert await becomes("GET", url, 200) == body
    key = await published(s3, url, "cat.png")
    assert stored(s3, key) == body
    await eventually(lambda: keys(s3, SOURCE, "publishing/") == [], "nothing is left of it", _WORKER_SECONDS)
    assert (await request("DELETE", url, TUS)).status == 204
    assert keys(s3, SOURCE, f"uploads/{url.rsplit('/', 1)[1]}") == []
    assert stored(s3, key) == body


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (samples.PNG, {"sha256": "0" * 64}),
        (b"a,b\n1\n", {"filename": "x.csv"}),
        (b"not an image", {"filetype": "image/png"}),
    ],
)
async def test_rejected_upload_is_not_published(
    server: RunningServer, s3: S3Server, body: bytes, values: dict[str, str]
) -> None:
    """Wrong digest, broken table, wrong type: its bytes stay in quarantine until it is terminated."""
    url = await create(server.url, len(body), {**TUS, "Upload-Metadata": metadata(**values)})
    sent = await request("PATCH", url, patch_headers(0, len(body)), body)
    assert sent.status in (204, 415)
    if sent.status == 204:
        await becomes("GET", url, 403)
    assert keys(s3, TARGET, f"in/{url.rsplit('/', 1)[1]}") == []
    assert (await request("DELETE", url, TUS)).status == 204


async def test_final_upload_is_concatenated_validated_and_published(server: RunningServer, s3: S3Server) -> None:
    """Its parts are copied within S3 by the worker, and deleted afterwards."""
    body = samples.PNG + bytes(content(81, 13 * MIB))
    pieces = [body[: 6 * MIB], body[6 * MIB : 6 * MIB + 10], body[6 * MIB + 10 :]]
    urls = []
    for piece in pieces:
        url = await create(server.url, len(piece), {**TUS, "Upload-Concat": "partial"})
        assert (await request("PATCH", url, patch_headers(0, len(piece)), piece)).status == 204
        urls.append(url)
    headers = {**TUS, "Upload-Concat": "final;" + " ".join(urls)}
    headers["Upload-Metadata"] = metadata(filename="whole.png", filetype="image/png")
    made = await request("POST", server.url, headers)
    assert made.status == 201
    final = urljoin(server.url, made.headers["location"])
    assert await becomes("GET", final, 200) == body
    for url in urls:
        await becomes("HEAD", url, 404)
        assert keys(s3, SOURCE, f"uploads/{url.rsplit('/', 1)[1]}") == []
    key = await published(s3, final, "whole.png")
    assert stored(s3, key) == body


async def test_expired_uploads_leave_the_bucket(s3: S3Server, tmp_path: Path) -> None:
    """Expired uploads leave the bucket with parts and tails; published objects stay."""
    more = {"S3__PREFIX": "expiring/", "EXPIRATION__UNFINISHED_SECONDS": "1", "EXPIRATION__FINISHED_SECONDS": "2"}
    server = start_server(tmp_path / "data", settings=settings(s3, **more))
    try:
        begun = await create(server.url, 20 * MIB, TUS)
        piece = bytes(content(82, 6 * MIB))
        assert (await request("PATCH", begun, patch_headers(0, len(piece)), piece)).status == 204
        url = await upload(server, samples.PNG, filename="e.png", filetype="image/png")
        key = await published(s3, url, "e.png")
        await becomes("HEAD", begun, 410)
        await becomes("HEAD", url, 410)
        gone = "the bytes are deleted"
        await eventually(lambda: keys(s3, SOURCE, "expiring/uploads/") == [], gone, _WORKER_SECONDS)
        assert [each for each in keys(s3, SOURCE, "expiring/") if "/tails/" in each] == []
        begun_parts = s3.client().list_multipart_uploads(Bucket=SOURCE, Prefix="expiring/").get("Uploads")
        assert not begun_parts
        assert stored(s3, key) == samples.PNG
    finally:
        server.stop()


async def test_fsck_and_backup(s3: S3Server, tmp_path: Path) -> None:
    """fsck finds bytes that are gone and bytes that no record names; backup names the bucket."""
    more = {"S3__PREFIX": "checked/", "S3__KEY_PATTERN": "files/{owner}/{id}/{filename}"}
    server = start_server(tmp_path / "data", settings=settings(s3, **more))
    client = s3.client()
    try:
        kept = await upload(server, samples.PNG, filename="k.png", filetype="image/png")
        lost = await upload(server, samples.PNG, filename="l.png", filetype="image/png")
        for url in (kept, lost):
            await becomes("GET", url, 200)
        ids = [url.rsplit("/", 1)[1] for url in (kept, lost)]
        sound = await command(server, s3, "fsck", "--json", **more)
        assert (sound.exit_code, sound.stdout) == (0, ""), sound.output
        [key] = [each for each in keys(s3, SOURCE, "checked/files/") if ids[1] in each]
        client.delete_object(Bucket=SOURCE, Key=key)
        orphan = "0" * 32
        client.put_object(Bucket=SOURCE, Key=f"checked/files/nobody/{orphan}.{'0' * 16}/x", Body=b"1")
        client.put_object(Bucket=SOURCE, Key="checked/other/nobody/not-ours/x", Body=b"1")
        found = await command(server, s3, "fsck", "--json", "--repair", **more)
        problems = {each["upload_id"]: each["problem"] for each in map(json.loads, found.stdout.splitlines())}
        assert (found.exit_code, problems) == (2, {ids[1]: "missing", orphan: "orphaned"}), found.output
        assert sorted(keys(s3, SOURCE, "checked/")) == sorted(
            [*keys(s3, SOURCE, f"checked/files/nobody/{ids[0]}"), "checked/other/nobody/not-ours/x"]
        )
        backup = await command(server, s3, "backup", str(tmp_path / "backup"), "--bytes", "none", **more)
        assert backup.exit_code == 0, backup.output
        assert f"they are in the bucket {SOURCE}" in backup.output
    finally:
        server.stop()


async def test_erased_owner_leaves_the_bucket(s3: S3Server, tmp_path: Path) -> None:
    """Uploads of an erased account are deleted, those of others stay."""
    more = {"S3__PREFIX": "erased/", "JWT__SECRET": SECRET, "API__ENABLED": "true", "ACCOUNTS__ENABLED": "true"}
    server = start_server(tmp_path / "data", settings=settings(s3, **more))
    try:
        for owner in ("ann", "bob"):
            headers = {**TUS, **bearer(owner), "Upload-Metadata": metadata(filename=f"{owner}.png")}
            url = await create(server.url, 6 * MIB, headers)
            body = bytes(content(83, 6 * MIB))
            assert (await request("PATCH", url, {**patch_headers(0, len(body)), **bearer(owner)}, body)).status == 204
        assert len(keys(s3, SOURCE, "erased/uploads/")) == 2
        erased = await command(server, s3, "user", "erase", "ann", "--yes", **more)
        assert erased.exit_code == 0, erased.output
        assert len(keys(s3, SOURCE, "erased/uploads/")) == 1
    finally:
        server.stop()


async def test_killed_while_publishing(s3: S3Server, tmp_path: Path) -> None:
    """``kill -9`` again and again while uploads are published: each is there once, with its bytes."""
    more = {"S3__PREFIX": "killed/", "PUBLISHING__PATTERN": "killed/same.bin", "VALIDATION__ENABLED": "false"}
    more["VALIDATION__EARLY"] = "false"
    bodies = [bytes(content(84 + number, 6 * MIB)) for number in range(8)]
    server = start_server(tmp_path / "data", settings=settings(s3, **more))
    try:
        for body in bodies:
            await upload(server, body)
        for _ in range(6):
            await asyncio.sleep(0.5)
            server.kill()
            server = start_server(tmp_path / "data", settings=settings(s3, **more))
        done = "all are published, and nothing is left of it"
        await eventually(
            lambda: len(keys(s3, TARGET, "in/killed/")) >= 8 and keys(s3, SOURCE, "killed/publishing/") == [],
            done,
            _WORKER_SECONDS * 3,
        )
        found = [stored(s3, key) for key in keys(s3, TARGET, "in/killed/")]
        assert sorted(map(hash, found)) == sorted(map(hash, bodies))
        assert not s3.client().list_multipart_uploads(Bucket=TARGET).get("Uploads")
    finally:
        server.kill()
