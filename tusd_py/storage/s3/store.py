"""The S3 store. A complete upload is one object; an unfinished one is parts of a multipart upload and tails.

The record names the parts and tails that count, so nothing else has to be asked. Every node can continue an upload.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime

from tusd_py.contracts.store import BytesMissing, BytesMoved, OnProgress, StoreUnavailable
from tusd_py.model.upload import Upload
from tusd_py.storage.s3 import multipart
from tusd_py.storage.s3.access import S3Access
from tusd_py.storage.s3.budget import MemoryBudget
from tusd_py.storage.s3.client import MultipartMissing, ObjectMissing, RangeMissing, S3Account, S3Client
from tusd_py.storage.s3.concatenation import S3Concatenation
from tusd_py.storage.s3.layout import Keys, PartLayout
from tusd_py.storage.s3.state import KEY, S3State
from tusd_py.storage.s3.writer import S3Sink


class S3Store:
    """Keeps bytes in one bucket, below ``prefix``, with at most ``memory_bytes`` of them in memory."""

    def __init__(
        self,
        account: S3Account,
        *,
        prefix: str = "",
        part_bytes: int = 8 * 1024**2,
        part_bytes_max: int = 64 * 1024**2,
        memory_bytes: int = 256 * 1024**2,
        parallel_parts: int = 4,
    ) -> None:
        self._client = S3Client(account)
        self._keys = Keys(prefix)
        self.budget = MemoryBudget(memory_bytes)
        layout = PartLayout(part_bytes, part_bytes_max)
        self._access = S3Access(self._client, self._keys, self.budget, layout, parallel_parts)

    async def create(self, upload: Upload) -> Mapping[str, object]:
        """Nothing exists in S3 before the first bytes."""
        return {name: value for name, value in upload.storage.items() if name != KEY}

    def open(self, upload: Upload) -> S3Sink:
        return S3Sink(self._access, upload)

    async def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        if start == stop:
            return
        state = self._access.state(upload)
        if state.parts:
            raise StoreUnavailable("S3 does not serve the bytes of a multipart upload before it is complete")
        try:
            position = 0
            for tail in state.tails:
                first, last = max(0, start - position), min(tail.size, stop - position)
                if first < last:
                    async for piece in self._client.read(tail.key, first, last):
                        yield piece
                position += tail.size
            if not state.tails:
                async for piece in self._client.read(state.key, start, stop):
                    yield piece
            elif stop > position:
                raise BytesMissing("the tails of this upload have fewer bytes than were stored before")
        except ObjectMissing:
            raise BytesMoved("S3 has nothing of this upload at its key") from None
        except RangeMissing as error:
            raise BytesMissing(str(error)) from None

    async def concatenate(
        self, upload: Upload, parts: Sequence[Upload], on_progress: OnProgress | None = None
    ) -> Mapping[str, object]:
        state = await S3Concatenation(self._access, upload, on_progress).run(parts)
        return state.to_storage(upload.storage)

    async def ensure_space(self, count: int) -> None:
        """Does nothing: the free space of a bucket is unknown."""

    async def delete(self, upload: Upload) -> None:
        state = self._access.state(upload)
        if state.multipart_id:
            await multipart.abort_until_gone(self._client, state.key, state.multipart_id)
        await self.purge(upload.id)

    async def purge(self, upload_id: str) -> None:
        key, attempts = self._keys.object(upload_id), self._keys.attempts(upload_id)
        for prefix in (key, attempts):
            async for page in self._client.pages("list_multipart_uploads", Prefix=prefix):
                for found in page.get("Uploads", ()):
                    if found["Key"] == key or prefix == attempts:
                        await multipart.abort_until_gone(self._client, found["Key"], found["UploadId"])
        await self._client.call("delete_object", Key=key)
        for prefix in (attempts, self._keys.tails(upload_id)):
            async for page in self._client.pages("list_objects_v2", Prefix=prefix):
                for found in page.get("Contents", ()):
                    await self._client.call("delete_object", Key=found["Key"])

    async def find_old(self, before: datetime) -> AsyncGenerator[Sequence[str], None]:
        for prefix in (self._keys.all_objects, self._keys.all_tails):
            async for page in self._client.pages("list_objects_v2", Prefix=prefix):
                found = [each["Key"] for each in page.get("Contents", ()) if each["LastModified"] < before]
                if ids := self._ids(found):
                    yield ids
        async for page in self._client.pages("list_multipart_uploads", Prefix=self._keys.all_objects):
            found = [each["Key"] for each in page.get("Uploads", ()) if each["Initiated"] < before]
            if ids := self._ids(found):
                yield ids

    async def size(self, upload: Upload) -> int:
        state = self._access.state(upload)
        if state.is_empty:
            return await self._client.object_size(state.key) or 0 if state.key else 0
        try:
            return await self._stored_prefix(state)
        except MultipartMissing:
            # Completed by a request whose record was not saved.
            return await self._client.object_size(state.key) or 0

    async def _stored_prefix(self, state: S3State) -> int:
        if state.parts:
            stored = await multipart.part_etags(self._client, state.key, state.multipart_id)
            for index, part in enumerate(state.parts):
                if stored.get(index + 1) != part.etag:
                    return state.layout.start(index)
        offset = state.parts_bytes
        for tail in state.tails:
            if await self._client.object_size(tail.key) != tail.size:
                break
            offset += tail.size
        return offset

    def location(self, upload: Upload) -> Mapping[str, str]:
        key = self._access.state(upload).key or self._keys.object(upload.id)
        return {"Type": "s3store", "Bucket": self._client.bucket, "Key": key}

    async def probe(self) -> None:
        await multipart.probe(self._client, self._keys.probe)

    async def close(self) -> None:
        await self._client.close()

    def _ids(self, keys: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(filter(None, map(self._keys.upload_of, keys))))
