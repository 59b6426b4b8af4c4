"""Copies a complete object to another key or bucket on the side of S3, in parts, without replacing anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tusd_py.storage.s3.client import MultipartMissing, ObjectMissing, S3Client
from tusd_py.storage.s3.layout import PARTS_MAX

#: The most bytes that S3 copies in one request.
COPY_BYTES_MAX = 5 * 1024**3
#: One copy of 5 GiB, which S3 takes, may last longer than a response is waited for.
_PART_BYTES = 512 * 1024**2
_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that nothing sees before it is completed: a multipart upload with all its parts.

    A copy of no bytes has no parts, so no multipart upload either.
    """

    key: str
    multipart_id: str = ""
    etags: tuple[str, ...] = ()


async def begin(target: S3Client, key: str, attributes: Mapping[str, Any], size: int) -> Copy:
    """A copy without its parts."""
    if not size:
        return Copy(key)
    made = await target.call("create_multipart_upload", Key=key, **attributes)
    return Copy(key, made["UploadId"])


async def fill(target: S3Client, copy: Copy, source: Mapping[str, str], size: int) -> Copy:
    """``copy`` with its parts. ``source`` is a bucket and a key. Raises ``ObjectMissing`` if nothing is there."""
    part_bytes = max(_PART_BYTES, -(-size // PARTS_MAX))
    limit = asyncio.Semaphore(_PARALLEL)

    async def copy_part(number: int, start: int) -> str:
        async with limit:
            copied = await target.call(
                "upload_part_copy",
                Key=copy.key,
                UploadId=copy.multipart_id,
                PartNumber=number,
                CopySource={"Bucket": source["Bucket"], "Key": source["Key"]},
                CopySourceRange=f"bytes={start}-{min(size, start + part_bytes) - 1}",
            )
            etag: str = copied["CopyPartResult"]["ETag"]
            return etag

    try:
        async with asyncio.TaskGroup() as group:
            parts = enumerate(range(0, size, part_bytes), 1)
            tasks = [group.create_task(copy_part(number, start)) for number, start in parts]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return replace(copy, etags=tuple(task.result() for task in tasks))


async def complete(target: S3Client, copy: Copy, attributes: Mapping[str, Any], *, exclusively: bool) -> None:
    """Let ``copy`` appear. Raises ``Conflict`` if ``exclusively`` and something has its key, ``MultipartMissing``."""
    condition = {"IfNoneMatch": "*"} if exclusively else {}
    if not copy.multipart_id:
        await target.call("put_object", Key=copy.key, Body=b"", **attributes, **condition)
        return
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(copy.etags, 1)]
    await target.call(
        "complete_multipart_upload",
        Key=copy.key,
        UploadId=copy.multipart_id,
        MultipartUpload={"Parts": parts},
        **condition,
    )


async def copy_at_once(target: S3Client, copy: Copy, source: Mapping[str, str], attributes: Mapping[str, Any]) -> None:
    """Make an object of at most 5 GiB with one request, whatever has its key."""
    # Without the directives the attributes of the source are kept.
    directives = {"MetadataDirective": "REPLACE"} | ({"TaggingDirective": "REPLACE"} if "Tagging" in attributes else {})
    await target.call("copy_object", Key=copy.key, CopySource=dict(source), **directives, **attributes)


async def abort(target: S3Client, copy: Copy) -> None:
    """Remove the parts of a copy that was not completed. It is no error if it was."""
    if copy.multipart_id:
        try:
            await target.call("abort_multipart_upload", Key=copy.key, UploadId=copy.multipart_id)
        except (MultipartMissing, ObjectMissing):
            return
