"""Concatenates complete objects on the server's side; only what is smaller than a part passes through this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tusd_py.contracts.store import BytesMissing, OnProgress
from tusd_py.model.upload import Upload
from tusd_py.storage.s3.client import MultipartMissing, ObjectMissing, RangeMissing
from tusd_py.storage.s3.layout import PART_BYTES_MIN
from tusd_py.storage.s3.writer import S3Access

#: What one UploadPartCopy takes.
_COPY_BYTES_MAX = 5 * 1024**3


class S3Concatenation:
    """Makes one object of the objects of ``parts``."""

    def __init__(self, access: S3Access, upload: Upload, on_progress: OnProgress | None) -> None:
        self._client = access.client
        self._keys = access.keys
        self._key = access.keys.object_of(upload)
        self._attributes = access.attributes.of_object(upload)
        self._on_progress = on_progress
        self._multipart_id = ""
        self._made: list[dict[str, Any]] = []
        self._small: list[bytes] = []  # what is too small for a part of its own
        self._small_bytes = 0
        self._done = 0

    async def run(self, parts: Sequence[Upload]) -> None:
        """Raises ``StoreError``; then nothing is left of it."""
        try:
            await self._client.call("delete_object", Key=self._key)
            for part in parts:
                size = await self._client.object_size(self._keys.object_of(part)) if part.offset else 0
                if size is None or size < part.offset:
                    raise BytesMissing(f"S3 has fewer bytes of the part {part.id} than were stored before")
            total = sum(part.offset for part in parts)
            if total >= PART_BYTES_MIN:
                made = await self._client.call("create_multipart_upload", Key=self._key, **self._attributes)
                self._multipart_id = made["UploadId"]
            for part in parts:
                await self._append(self._keys.object_of(part), part.offset)
            await self._finish()
        except BaseException:
            await self._discard()
            raise

    async def _append(self, source: str, size: int) -> None:
        position = 0
        if self._small_bytes or size < PART_BYTES_MIN:
            # Enough for a part, or everything if what would be left could not be copied.
            count = min(size, max(0, PART_BYTES_MIN - self._small_bytes))
            if size - count < PART_BYTES_MIN:
                count = size
            await self._load(source, 0, count)
            position = count
        while position < size:
            count = min(size - position, _COPY_BYTES_MAX)
            if size - position - count < PART_BYTES_MIN and size - position > count:
                count -= PART_BYTES_MIN
            await self._copy(source, position, position + count)
            position += count

    async def _load(self, source: str, start: int, stop: int) -> None:
        if start == stop:
            return
        try:
            async for piece in self._client.read(source, start, stop):
                self._small.append(piece)
                self._small_bytes += len(piece)
        except (ObjectMissing, RangeMissing):
            raise BytesMissing("a part went missing while it was read") from None
        if self._multipart_id and self._small_bytes >= PART_BYTES_MIN:
            await self._send_small()

    async def _send_small(self) -> None:
        body = self._take_small()
        number = len(self._made) + 1
        sent = await self._client.call(
            "upload_part", Key=self._key, UploadId=self._multipart_id, PartNumber=number, Body=body
        )
        await self._add(sent["ETag"], len(body))

    async def _copy(self, source: str, start: int, stop: int) -> None:
        copied = await self._client.call(
            "upload_part_copy",
            Key=self._key,
            UploadId=self._multipart_id,
            PartNumber=len(self._made) + 1,
            CopySource={"Bucket": self._client.bucket, "Key": source},
            CopySourceRange=f"bytes={start}-{stop - 1}",
        )
        await self._add(copied["CopyPartResult"]["ETag"], stop - start)

    async def _add(self, etag: str, size: int) -> None:
        self._made.append({"PartNumber": len(self._made) + 1, "ETag": etag})
        self._done += size
        if self._on_progress is not None:
            await self._on_progress(self._done)

    async def _finish(self) -> None:
        if not self._multipart_id:
            body = self._take_small()
            await self._client.call("put_object", Key=self._key, Body=body, **self._attributes)
            if self._on_progress is not None:
                await self._on_progress(len(body))
            return
        if self._small_bytes:
            await self._send_small()
        await self._client.call(
            "complete_multipart_upload",
            Key=self._key,
            UploadId=self._multipart_id,
            MultipartUpload={"Parts": self._made},
        )

    async def _discard(self) -> None:
        if self._multipart_id:
            try:
                await self._client.call("abort_multipart_upload", Key=self._key, UploadId=self._multipart_id)
            except MultipartMissing:
                pass
        await self._client.call("delete_object", Key=self._key)

    def _take_small(self) -> bytes:
        body = b"".join(self._small)
        self._small.clear()
        self._small_bytes = 0
        return body
