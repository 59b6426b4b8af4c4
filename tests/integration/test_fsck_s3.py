"""``tusd-py fsck`` on S3, with a real S3 server: missing, short, long and orphaned bytes are found and repaired."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import create, patch_headers, request
from tests.support.command import isolate, run
from tests.support.content import MIB, content
from tests.support.s3 import EVERY_KIND, S3Server, running_s3
from tests.support.server import RunningServer, start_server
from tests.support.stored import head, upload_id

# The S3 server takes minutes to compile.
pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300)]

BUCKET = "uploads"
ORPHAN = "0123456789abcdef0123456789abcdef"
DATA = bytes(content(3, 12 * MIB))


@pytest.fixture(params=EVERY_KIND)
def s3(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with running_s3(request.param) as running:
        running.client().create_bucket(Bucket=BUCKET)
        yield running


def settings(s3: S3Server) -> dict[str, str]:
    return s3.settings(BUCKET)


@dataclass(frozen=True)
class Bucket:
    """What is in the bucket, as an operator sees it."""

    client: Any

    def keys(self, upload: str) -> list[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [each["Key"] for each in found if upload in each["Key"]]

    def multiparts(self, upload: str) -> list[tuple[str, str]]:
        found = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [(each["Key"], each["UploadId"]) for each in found if upload in each["Key"]]


async def uploaded(server: RunningServer, sent: bytes) -> str:
    """An upload of 12 MiB with its first bytes; its URL."""
    url = await create(server.url, len(DATA))
    assert 204 == (await request("PATCH", url, patch_headers(0), sent)).status
    return url


def findings(tmp_path: Path, s3: S3Server, *arguments: str) -> dict[str, dict[str, Any]]:
    result = run("fsck", "--json", "--data-dir", str(tmp_path / "data"), *arguments, **settings(s3))
    assert result.exit_code in (0, 2), result.output
    return {found["upload_id"]: found for found in map(json.loads, result.stdout.splitlines())}


async def test_everything_that_can_be_wrong_in_a_bucket(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unfinished uploads go back to what is stored, and go on; orphans are removed; complete ones are reported."""
    isolate(tmp_path, monkeypatch)
    server, bucket = start_server(tmp_path / "data", settings=settings(s3)), Bucket(s3.client())
    try:
        good = [await uploaded(server, DATA[:size]) for size in (3, 6 * MIB, 12 * MIB)]
        short_tail, no_parts, gone, long = [
            await uploaded(server, DATA[:size]) for size in (6 * MIB, 6 * MIB, 12 * MIB, 12 * MIB)
        ]
        [tail] = [key for key in bucket.keys(upload_id(short_tail)) if "tails/" in key]
        bucket.client.delete_object(Bucket=BUCKET, Key=tail)
        for key, multipart in bucket.multiparts(upload_id(no_parts)):
            bucket.client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=multipart)
        for key in bucket.keys(upload_id(gone)):
            bucket.client.delete_object(Bucket=BUCKET, Key=key)
        for key in bucket.keys(upload_id(long)):
            bucket.client.put_object(Bucket=BUCKET, Key=key, Body=DATA + b"more")
        bucket.client.put_object(Bucket=BUCKET, Key=f"uploads/{ORPHAN}", Body=b"x")
        bucket.client.put_object(Bucket=BUCKET, Key=f"tails/{ORPHAN[::-1]}/{0:020d}-0123456789abcdef", Body=b"x")
        bucket.client.create_multipart_upload(Bucket=BUCKET, Key=f"uploads/{'ab' * 16}")
        # An object that was made just now may belong to an upload that is being created.
        await asyncio.sleep(1.1)
        expected = {
            upload_id(short_tail): ("short", 6 * MIB, 5 * MIB),
            upload_id(no_parts): ("missing", 6 * MIB, 0),
            upload_id(gone): ("missing", 12 * MIB, 0),
            upload_id(long): ("long", 12 * MIB, 12 * MIB + 4),
            ORPHAN: ("orphaned", 0, 0),
            ORPHAN[::-1]: ("orphaned", 0, 0),
            "ab" * 16: ("orphaned", 0, 0),
        }
        for arguments in ((), ("--repair",)):
            found = await asyncio.to_thread(findings, tmp_path, s3, *arguments)
            assert expected == {key: (f["problem"], f["recorded"], f["stored"]) for key, f in found.items()}
            repaired = {key for key, each in found.items() if each["is_repaired"]}
            assert repaired == (set(expected) - {upload_id(gone), upload_id(long)} if arguments else set())
        left = await asyncio.to_thread(findings, tmp_path, s3, "--repair")
        assert {upload_id(gone), upload_id(long)} == set(left)
        for url in (short_tail, no_parts, good[0], good[1]):
            offset = int(head(server, url)[1]["upload-offset"])
            assert 204 == (await request("PATCH", url, patch_headers(offset), DATA[offset:])).status
            assert DATA == (await request("GET", url, {})).body
        assert DATA == (await request("GET", good[2], {})).body
    finally:
        server.stop()
