"""``tusd-py fsck`` on S3, with a real S3 server: missing, short, long and orphaned bytes are found and repaired."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.client import create, patch_headers, request
from tests.support.command import isolate, run
from tests.support.content import MIB, content
from tests.support.s3 import EVERY_KIND, VERSITYGW, S3Server, running_s3
from tests.support.server import RunningServer, start_server
from tests.support.stacks import as_settings
from tests.support.stored import head, upload_id
from tusd_py.storage.s3.client import S3Client
from tusd_py.storage.s3.store import S3Store
from tusd_py.uploads.compare_checksums import ChecksumComparison, Verdict
from tusd_py.uploads.fsck import check
from tusd_py.wiring.clock import utc_now
from tusd_py.wiring.ports import opened_ports

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


class PagesOfOne(S3Client):
    """It asks a real service for one entry a page."""

    _limits: ClassVar = {"list_objects_v2": "MaxKeys", "list_multipart_uploads": "MaxUploads", "list_parts": "MaxParts"}

    async def call(self, operation: str, **arguments: Any) -> Any:
        limit = self._limits.get(operation)
        return await super().call(operation, **arguments, **({limit: 1} if limit else {}))


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


def flip_byte(s3: S3Server, key: str) -> None:
    """Change one byte of an object, in the directory of the service if it has a file for each object."""
    if s3.kind != VERSITYGW:
        body = bytearray(s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read())
        body[7] ^= 1
        s3.client().put_object(Bucket=BUCKET, Key=key, Body=bytes(body))
        return
    [path] = [path for path in s3.directory.rglob(key.rpartition("/")[2]) if path.is_file()]
    with path.open("r+b") as file:
        file.seek(7)
        byte = file.read(1)
        file.seek(7)
        file.write(bytes([byte[0] ^ 1]))


async def test_byte_that_flips_on_the_disk_of_the_service(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service answers with the checksum of the bytes that it received; only reading finds the change."""
    isolate(tmp_path, monkeypatch)
    server, bucket = start_server(tmp_path / "data", settings=settings(s3)), Bucket(s3.client())
    try:
        good, bad = [await uploaded(server, DATA) for _ in range(2)]
        half, bad_tail = [await uploaded(server, DATA[: 6 * MIB]) for _ in range(2)]
        small_tail = await uploaded(server, DATA[:1000])
        assert await asyncio.to_thread(findings, tmp_path, s3, "--checksums", "--requests-per-second", "100") == {}
        flip_byte(s3, bucket.keys(upload_id(bad))[0])
        flip_byte(s3, bucket.keys(upload_id(small_tail))[0])
        assert await asyncio.to_thread(findings, tmp_path, s3) == {}
        assert await asyncio.to_thread(findings, tmp_path, s3, "--checksums") == {}
        for arguments in (("--read",), ("--read", "--repair")):
            found = await asyncio.to_thread(findings, tmp_path, s3, *arguments)
            assert {name: (each["problem"], each["is_repaired"]) for name, each in found.items()} == {
                upload_id(bad): ("mismatch", False),
                upload_id(small_tail): ("mismatch", False),
            }
        assert len((await request("GET", bad, {})).body) == len(DATA)
        assert DATA == (await request("GET", good, {})).body
        # An object that another program has written has another checksum, as the service says.
        [key] = bucket.keys(upload_id(good))
        bucket.client.put_object(Bucket=BUCKET, Key=key, Body=b"X" + DATA[1:], ChecksumAlgorithm="CRC64NVME")
        found = await asyncio.to_thread(findings, tmp_path, s3, "--checksums")
        expected = {upload_id(good): "mismatch"} if s3.knows_checksums(BUCKET) else {}
        assert {name: each["problem"] for name, each in found.items()} == expected
        for url in (half, bad_tail):
            assert 204 == (await request("PATCH", url, patch_headers(6 * MIB), DATA[6 * MIB :])).status
            assert DATA == (await request("GET", url, {})).body
    finally:
        server.stop()


async def test_pages_of_one_entry(s3: S3Server, tmp_path: Path) -> None:
    """Everything is found, examined and removed through the markers of a real service."""
    server, bucket = start_server(tmp_path / "data", settings=settings(s3)), Bucket(s3.client())
    try:
        whole, half = await uploaded(server, DATA), await uploaded(server, DATA[: 11 * MIB])
        kept = {*bucket.keys(""), *bucket.multiparts("")}
        ids = [f"{number:032x}" for number in range(3)]
        for each in ids:
            key = f"uploads/{each}.{'0' * 16}"
            bucket.client.put_object(Bucket=BUCKET, Key=key, Body=b"x")
            bucket.client.put_object(Bucket=BUCKET, Key=f"tails/{each}/{0:020d}-{'0' * 16}", Body=b"x")
            for nonce in ("1" * 16, "2" * 16):
                bucket.client.create_multipart_upload(Bucket=BUCKET, Key=f"uploads/{each}.{nonce}")
        async with opened_ports(as_settings(tmp_path / "data", settings(s3))) as ports:
            client = PagesOfOne(s3.account(BUCKET))
            paged = replace(ports, store=S3Store(s3.account(BUCKET), part_bytes=5 * MIB, client=client))
            later = replace(paged, clock=lambda: utc_now() + timedelta(days=1))
            comparison = ChecksumComparison(reads_all=True)
            found = [each async for each in check(later, repair=True, comparison=comparison)]
            assert sorted(each.upload_id for each in found) == ids
            assert all(each.is_repaired for each in found)
            assert comparison.counts[Verdict.WRONG] == 0
            await paged.store.close()
        assert {*bucket.keys(""), *bucket.multiparts("")} == kept
        assert 204 == (await request("PATCH", half, patch_headers(11 * MIB), DATA[11 * MIB :])).status
        assert DATA == (await request("GET", half, {})).body == (await request("GET", whole, {})).body
    finally:
        server.stop()
