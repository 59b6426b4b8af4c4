"""``tusd-py serve`` while S3 fails: a few requests, so that clients see nothing, and all of them for a while."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import PatientUpload, create, patch_headers, request
from tests.support.command import run
from tests.support.content import MIB, content
from tests.support.s3 import EVERY_KIND, S3Server, running_s3
from tests.support.s3_proxy import Break, S3Proxy, s3_proxy
from tests.support.server import RunningServer, start_server
from tests.support.stored import upload_id

pytestmark = [pytest.mark.long, pytest.mark.timeout(300), pytest.mark.anyio]

BUCKET = "uploads"
LENGTH = 12 * MIB + 5
#: The operations of an upload with two requests, and of its download.
OPERATIONS = ("PutObject", "CreateMultipartUpload", "UploadPart", "ListParts", "GetObject", "CompleteMultipartUpload")


@pytest.fixture(scope="module", params=EVERY_KIND)
def s3(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with running_s3(request.param) as running:
        running.client().create_bucket(Bucket=BUCKET)
        yield running


@dataclass
class Faulty:
    """A server that reaches S3 through a proxy."""

    server: RunningServer
    proxy: S3Proxy
    client: Any

    def left(self, url: str) -> list[str]:
        """The objects and multipart uploads of an upload."""
        listed = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())
        listed += tuple(self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()))
        return [each["Key"] for each in listed if upload_id(url) in each["Key"]]


@asynccontextmanager
async def faulty(s3: S3Server, directory: Path, **more: str) -> AsyncIterator[Faulty]:
    async with s3_proxy(s3.port) as proxy:
        more = {"S3__ENDPOINT_URL": proxy.url, "S3__TIMEOUT_SECONDS": "3", **more}
        settings = s3.settings(BUCKET, **more)
        server = await asyncio.to_thread(start_server, directory / "data", settings=settings)
        try:
            yield Faulty(server, proxy, s3.client())
        finally:
            server.kill()


async def in_two_requests(faulty: Faulty, body: memoryview) -> str:
    """An upload whose first request ends within a part. No client sees a failure."""
    url = await create(faulty.server.url, len(body))
    for start, stop in ((0, 6 * MIB), (6 * MIB, len(body))):
        answer = await request("PATCH", url, patch_headers(start), body[start:stop])
        assert (answer.status, answer.offset) == (204, stop)
    return url


BREAKS = (
    Break.UNAVAILABLE,
    Break.INTERNAL,
    Break.RESET,
    Break.LOST,
    Break.SILENT,
    Break.HALF,
    Break.SLOW,
)


@pytest.mark.parametrize("how", BREAKS)
async def test_one_failure_of_each_operation(s3: S3Server, tmp_path: Path, how: Break) -> None:
    """Each is repeated with delays: clients are not answered an error, and nothing is lost or left behind."""
    body = content(1, LENGTH)
    async with faulty(s3, tmp_path) as one:
        for operation in OPERATIONS:
            one.proxy.breaks(operation, how)
        url = await in_two_requests(one, body)
        assert (await request("GET", url)).body == bytes(body)
        assert set(OPERATIONS) == set(one.proxy.broken)
        # A multipart upload whose id is lost is left for the janitor; DELETE removes it too.
        assert len(one.left(url)) == 1 + (how in (Break.LOST, Break.SILENT, Break.HALF))
        for operation in ("ListObjects", "ListMultipartUploads", "DeleteObject"):
            one.proxy.breaks(operation, how)
        assert (await request("DELETE", url, {"Tus-Resumable": "1.0.0"})).status == 204
        assert one.left(url) == []


async def test_completion_with_an_error_in_its_body(s3: S3Server, tmp_path: Path) -> None:
    """200 with an error, though S3 has completed: the repetition finds the object."""
    body = content(2, LENGTH)
    async with faulty(s3, tmp_path) as one:
        one.proxy.breaks("CompleteMultipartUpload", Break.ERROR_200)
        url = await in_two_requests(one, body)
        assert one.proxy.broken == ["CompleteMultipartUpload"]
        assert (await request("GET", url)).body == bytes(body)
        assert len(one.left(url)) == 1


@pytest.mark.parametrize("operation", ["UploadPart", "PutObject"])
async def test_byte_that_changes_on_its_way(s3: S3Server, tmp_path: Path, operation: str) -> None:
    """S3 refuses it because of the checksum, and it is sent again."""
    if not s3.knows_checksums(BUCKET):
        pytest.skip("it knows no checksums")
    body = content(3, LENGTH)
    async with faulty(s3, tmp_path) as one:
        one.proxy.breaks(operation, Break.CHANGED)
        url = await in_two_requests(one, body)
        assert one.proxy.broken == [operation]
        assert (await request("GET", url)).body == bytes(body)


async def test_byte_that_changes_on_its_way_to_a_service_without_checksums(s3: S3Server, tmp_path: Path) -> None:
    """That of a tail is found when the part is made, and the client sends it again; that of a part by reading only."""
    if s3.knows_checksums(BUCKET):
        pytest.skip("it refuses the byte")
    body = content(3, LENGTH)
    async with faulty(s3, tmp_path) as one:
        one.proxy.breaks("PutObject", Break.CHANGED)
        url = await create(one.server.url, LENGTH)
        assert (await request("PATCH", url, patch_headers(0), body[: 6 * MIB])).status == 204
        assert one.proxy.broken == ["PutObject"]
        answer = await request("PATCH", url, patch_headers(6 * MIB), body[6 * MIB :])
        assert (answer.status, b"ERR_BYTES_MISSING" in answer.body) == (500, True)
        await PatientUpload(one.server.url, body, url=url, sent=LENGTH).run()
        assert (await request("GET", url)).body == bytes(body)
        one.proxy.breaks("UploadPart", Break.CHANGED)
        wrong = await in_two_requests(one, body)
        assert one.proxy.broken == ["PutObject", "UploadPart"]
        assert (await request("GET", wrong)).body != bytes(body)
        arguments = ("fsck", "--json", "--read", "--data-dir", str(one.server.data_dir))
        found = await asyncio.to_thread(run, *arguments, **s3.settings(BUCKET))
        problems = {each["upload_id"]: each["problem"] for each in map(json.loads, found.stdout.splitlines())}
        assert problems == {upload_id(wrong): "mismatch"}, found.output


@pytest.mark.parametrize(
    ("operation", "how"),
    [
        ("*", Break.UNAVAILABLE),
        ("*", Break.RESET),
        ("CompleteMultipartUpload", Break.SILENT),
        ("CompleteMultipartUpload", Break.LOST),
        ("CompleteMultipartUpload", Break.ERROR_200),
        ("UploadPart", Break.LOST),
    ],
)
async def test_outage_503_loses_no_acknowledged_byte(s3: S3Server, tmp_path: Path, operation: str, how: Break) -> None:
    """Clients are answered 503 with Retry-After, and continue afterwards; every acknowledged byte is there."""
    body = content(4, LENGTH)
    async with faulty(s3, tmp_path) as one:
        url = await create(one.server.url, LENGTH)
        answer = await request("PATCH", url, patch_headers(0), body[: 6 * MIB])
        assert answer.offset == 6 * MIB
        one.proxy.breaks(operation, how, 1000)
        answer = await request("PATCH", url, patch_headers(6 * MIB), body[6 * MIB :])
        assert answer.status == 503, answer
        assert int(answer.headers["retry-after"]) > 0
        answer = await request("HEAD", url)
        assert answer.offset is not None and answer.offset >= 6 * MIB
        one.proxy.mend()
        one.proxy.release()
        upload = PatientUpload(one.server.url, body, url=url, sent=LENGTH)
        await upload.run()
        assert (await request("GET", url)).body == bytes(body)
        assert (await request("DELETE", url, {"Tus-Resumable": "1.0.0"})).status == 204
        assert one.left(url) == []
