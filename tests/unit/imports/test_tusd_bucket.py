"""The objects of tusd's s3store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tests.unit.imports.test_tusd_info import INFO
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.imports.tusd_bucket import TusdBucket, TusdObjects, bucket_and_prefix
from tusd_py.imports.tusd_info import InfoInvalid
from tusd_py.storage.s3.client import MultipartMissing, ObjectMissing, S3Client
from tusd_py.uploads.adopt import ContentChanged

pytestmark = pytest.mark.anyio

AWS_ID = "VXBs.b2Fk_IElEI-" * 12
AT = datetime(2026, 1, 2, tzinfo=UTC)


class Bucket:
    """Stands for a bucket and its client; each operation is noted."""

    bucket = "old"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.parts: dict[tuple[str, str], dict[int, bytes]] = {}
        self.changes: list[str] = []

    async def call(self, operation: str, **arguments: Any) -> Any:
        key = arguments["Key"]
        if operation == "head_object":
            if key not in self.objects:
                raise ObjectMissing(key)
            content = self.objects[key]
            return {"ContentLength": len(content), "ETag": f"{hash(content):x}", "LastModified": AT}
        self.changes.append(f"{operation} {key}")
        if operation == "delete_object":
            self.objects.pop(key, None)
        elif operation == "copy_object":
            self.objects[key] = self.objects[arguments["CopySource"]["Key"]]
        else:
            parts = self.parts.pop((key, arguments["UploadId"]))
            if operation == "complete_multipart_upload":
                self.objects[key] = b"".join(parts[p["PartNumber"]] for p in arguments["MultipartUpload"]["Parts"])
        return None

    async def pages(self, operation: str, **arguments: Any) -> AsyncIterator[Any]:
        if operation == "list_objects_v2":
            yield {"Contents": [{"Key": key} for key in sorted(self.objects) if key.startswith(arguments["Prefix"])]}
            return
        parts = self.parts.get((arguments["Key"], arguments["UploadId"]))
        if parts is None:
            raise MultipartMissing(arguments["UploadId"])
        yield {"Parts": [{"PartNumber": n, "ETag": f"{n}-{p!r}", "Size": len(p)} for n, p in parts.items()]}

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        yield self.objects[key][start:stop]

    async def read_range(self, key: str, start: int, stop: int) -> bytes:
        return self.objects[key][start:stop]

    def add(self, name: str, rest: bytes = b"", parts: dict[int, bytes] | None = None, **changes: object) -> None:
        info = {**INFO, "ID": f"{name.rpartition('/')[2]}+{AWS_ID}", "Size": 10, **changes}
        self.objects[f"{name}.info"] = json.dumps(info).encode()
        if parts is not None:
            self.parts[name, AWS_ID] = parts
        if rest:
            self.objects[f"{name}.part"] = rest


async def found_in(bucket: Bucket, prefix: str = "") -> list[TusdObjects | InfoInvalid]:
    return [found async for _, found in TusdBucket(cast("S3Client", bucket), prefix).uploads()]


async def only_one(bucket: Bucket) -> TusdObjects:
    [found] = await found_in(bucket)
    assert isinstance(found, TusdObjects)
    return found


async def read(found: TusdObjects) -> bytes:
    return b"".join([piece async for piece in found.read()])


async def test_unfinished_upload_is_its_parts_and_the_rest() -> None:
    """Looking changes nothing. Reading completes the multipart upload, behind which tusd finds no description."""
    bucket = Bucket()
    bucket.add("p/a", b"56", {1: b"01", 2: b"234"})
    found = await only_one(bucket)
    assert (7, AT, []) == (found.stored_bytes, found.written_at, bucket.changes)
    assert b"0123456" == await read(found)
    assert {"p/a", "p/a.part", "p/a.info.imported"} == set(bucket.objects)


async def test_interrupted_import_is_repeated() -> None:
    """The multipart upload is complete already, and its description has the other name."""
    bucket = Bucket()
    bucket.add("a", b"56", {1: b"01234"})
    await read(await only_one(bucket))
    again = await only_one(bucket)
    assert b"0123456" == await read(again)
    await again.remove()
    assert not bucket.objects


async def test_rest_alone_and_nothing_at_all() -> None:
    """Without parts nothing is completed; removing aborts the multipart upload."""
    bucket = Bucket()
    bucket.add("a", b"abc", {})
    found = await only_one(bucket)
    assert b"abc" == await read(found)
    assert not bucket.changes
    await found.remove()
    assert not bucket.objects and not bucket.parts
    bucket.add("b", parts={})
    assert 0 == (await only_one(bucket)).stored_bytes


async def test_bytes_behind_a_lost_part_do_not_count() -> None:
    """tusd sends parts in parallel: killed, it may lack one in the middle, and counts those behind it all the same."""
    bucket = Bucket()
    bucket.add("a", b"89", {1: b"012", 3: b"567"})
    found = await only_one(bucket)
    assert 3 == found.stored_bytes
    assert b"012" == await read(found)


async def test_complete_upload_is_its_object() -> None:
    """Whatever is left beside it."""
    bucket = Bucket()
    bucket.add("a", b"old")
    bucket.objects["a"] = b"0123456789"
    found = await only_one(bucket)
    assert (10, b"0123456789") == (found.stored_bytes, await read(found))
    assert not bucket.changes


async def test_changes_by_a_running_tusd_are_noticed() -> None:
    """Nothing is completed then: tusd goes on."""
    bucket = Bucket()
    bucket.add("a", b"5", {1: b"01234"})
    found = await only_one(bucket)
    bucket.parts["a", AWS_ID][2] = b"56789"
    with pytest.raises(ContentChanged):
        await read(found)
    assert not bucket.changes


async def test_upload_without_bytes_and_huge_descriptions_are_left_out() -> None:
    """The operator is told why; the others are taken over. Descriptions of other prefixes are not looked at."""
    bucket = Bucket()
    bucket.add("p/gone")
    bucket.add("p/good", b"x", {})
    bucket.objects["p/huge.info"] = b" " * (4 * 1024 * 1024 + 1)
    bucket.objects["other.info"] = b"{"
    gone, good, huge = await found_in(bucket, "p/")
    assert "neither its object nor its multipart upload is there" == str(gone)
    assert isinstance(good, TusdObjects)
    assert "too large" in str(huge)


async def test_id_that_is_not_valid_here_stands_for_a_valid_one() -> None:
    """Ids of AWS are long and have dots; the URL stays as it was."""
    bucket = Bucket()
    bucket.add("a", b"x", {})
    info = (await only_one(bucket)).info
    assert f"a+{AWS_ID}" == info.tusd_id
    assert info.id.startswith("tusd-") and len(info.id) == 45


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://b", ("b", "")),
        ("s3://b/", ("b", "")),
        ("s3://b/x/y", ("b", "x/y/")),
        ("s3://b/x/", ("b", "x/")),
        ("s3:///x", None),
        ("https://b/x", None),
        ("s3://key:secret@b/x", None),
    ],
)
def test_bucket_and_prefix(url: str, expected: tuple[str, str] | None) -> None:
    """tusd puts a slash behind the prefix."""
    assert expected == bucket_and_prefix(url)


async def test_failure_ends_the_other_requests() -> None:
    """What is examined beside it is cancelled and has ended: the caller closes the client."""
    bucket = Bucket()
    bucket.add("a")
    bucket.add("b")
    is_waiting, ended = asyncio.Event(), []

    async def call(operation: str, **arguments: Any) -> Any:
        if arguments["Key"] == "a.info":
            await is_waiting.wait()
            raise StoreUnavailable("S3 is away")
        is_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(arguments["Key"])

    bucket.call = call  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="S3 is away"):
        await found_in(bucket)
    assert ["b.info"] == ended
