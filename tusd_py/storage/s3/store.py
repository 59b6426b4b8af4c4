"""The S3 store. A complete upload is one object; an unfinished one is parts of a multipart upload and tails.

The record names the parts and tails that count, so nothing else has to be asked. Every node can continue an upload.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime

from tusd_py.contracts.store import BytesMissing, BytesMoved, OnProgress, StoreUnavailable
from tusd_py.model.upload import Upload
from tusd_py.storage.s3.attributes import ObjectAttributes
from tusd_py.storage.s3.budget import MemoryBudget
from tusd_py.storage.s3.client import MultipartMissing, ObjectMissing, RangeMissing, S3Account, S3Client
from tusd_py.storage.s3.concatenation import S3Concatenation
from tusd_py.storage.s3.layout import DEFAULT_PATTERN, OBJECT_KEY, Keys, PartLayout
from tusd_py.storage.s3.state import KEY, S3State, from_storage
from tusd_py.storage.s3.writer import S3Access, S3Sink, part_etags

#: The operations that list keys, and the name of the list in their responses.
_LISTINGS = (("list_objects_v2", "Contents"), ("list_multipart_uploads", "Uploads"))

#: Some stores keep parts that were being sent while the upload was aborted: it is repeated until none is left.
_ABORTS_MAX = 5


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
        attributes: ObjectAttributes | None = None,
        keys: Keys | None = None,
    ) -> None:
        self._client = S3Client(account)
        self._keys = keys or Keys(prefix)
        self._attributes = attributes or ObjectAttributes()
        self._found: dict[str, set[str]] = {}  # the keys of the ids that were listed last
        self._layout = PartLayout(part_bytes, part_bytes_max)
        self.budget = MemoryBudget(memory_bytes)
        self._access = S3Access(self._client, self._keys, self.budget, self._layout, parallel_parts, self._attributes)

    async def create(self, upload: Upload) -> Mapping[str, object]:
        """Nothing exists in S3 before the first bytes."""
        return {**_without_state(upload), **({} if OBJECT_KEY in upload.storage else self._keys.storage(upload))}

    def open(self, upload: Upload) -> S3Sink:
        return S3Sink(self._access, upload)

    async def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        if start == stop:
            return
        state = self._state(upload)
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
                async for piece in self._client.read(self._keys.object_of(upload), start, stop):
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
        await S3Concatenation(self._access, upload, on_progress).run(parts)
        return _without_state(upload)

    async def ensure_space(self, count: int) -> None:
        """Does nothing: the free space of a bucket is unknown."""

    async def delete(self, upload: Upload) -> None:
        state, key = self._state(upload), self._keys.object_of(upload)
        if state.multipart_id:
            await self._abort(key, state.multipart_id)
        await self._purge(upload.id, [key])

    async def purge(self, upload_id: str) -> None:
        await self._purge(upload_id, await self._keys_of(upload_id))

    async def _purge(self, upload_id: str, keys: Iterable[str]) -> None:
        for key in keys:
            await self._client.call("delete_object", Key=key)
            async for page in self._client.pages("list_multipart_uploads", Prefix=key):
                for found in page.get("Uploads", ()):
                    if found["Key"] == key:
                        await self._abort(key, found["UploadId"])
        async for page in self._client.pages("list_objects_v2", Prefix=self._keys.tails(upload_id)):
            for found in page.get("Contents", ()):
                await self._client.call("delete_object", Key=found["Key"])

    async def _keys_of(self, upload_id: str) -> Iterable[str]:
        """The keys under which an upload without a record may have an object or a multipart upload."""
        keys = {self._keys.default(upload_id)}
        if self._keys.pattern == DEFAULT_PATTERN:
            return keys
        if upload_id in self._found:
            return keys | self._found[upload_id]
        for prefix in self._keys.all_objects:
            for operation, name in _LISTINGS:
                async for page in self._client.pages(operation, Prefix=prefix):
                    keys |= {
                        each["Key"] for each in page.get(name, ()) if self._keys.upload_of(each["Key"]) == upload_id
                    }
        return keys

    async def find_old(self, before: datetime) -> AsyncGenerator[Sequence[str], None]:
        for prefix in (*self._keys.all_objects, self._keys.all_tails):
            async for page in self._client.pages("list_objects_v2", Prefix=prefix):
                found = [each["Key"] for each in page.get("Contents", ()) if each["LastModified"] < before]
                if ids := self._ids(found):
                    yield ids
        for prefix in self._keys.all_objects:
            async for page in self._client.pages("list_multipart_uploads", Prefix=prefix):
                found = [each["Key"] for each in page.get("Uploads", ()) if each["Initiated"] < before]
                if ids := self._ids(found):
                    yield ids

    async def size(self, upload: Upload) -> int:
        state, key = self._state(upload), self._keys.object_of(upload)
        if state.is_empty:
            return await self._client.object_size(key) or 0
        try:
            return await self._stored_prefix(state, key)
        except MultipartMissing:
            # Completed by a request whose record was not saved.
            return await self._client.object_size(key) or 0

    async def _stored_prefix(self, state: S3State, key: str) -> int:
        if state.parts:
            stored = await part_etags(self._client, key, state.multipart_id)
            for index, etag in enumerate(state.parts):
                if stored.get(index + 1) != etag:
                    return state.layout.start(index)
        offset = state.parts_bytes
        for tail in state.tails:
            if await self._client.object_size(tail.key) != tail.size:
                break
            offset += tail.size
        return offset

    def location(self, upload: Upload) -> Mapping[str, str]:
        return {"Type": "s3store", "Bucket": self._client.bucket, "Key": self._keys.object_of(upload)}

    async def probe(self) -> None:
        await self._client.call("put_object", Key=self._keys.probe, Body=b"", **self._attributes.of_bytes())

    async def close(self) -> None:
        await self._client.close()

    def _state(self, upload: Upload) -> S3State:
        return from_storage(upload.storage, self._layout)

    def _ids(self, keys: Sequence[str]) -> list[str]:
        """The ids in these keys. Their keys are kept until the next call: they do not follow from the ids."""
        self._found = {}
        for key in keys:
            if upload_id := self._keys.upload_of(key):
                self._found.setdefault(upload_id, set()).add(key)
        return list(self._found)

    async def _abort(self, key: str, multipart_id: str) -> None:
        for _ in range(_ABORTS_MAX):
            try:
                await self._client.call("abort_multipart_upload", Key=key, UploadId=multipart_id)
                if not await part_etags(self._client, key, multipart_id):
                    return
            except (MultipartMissing, ObjectMissing):
                return


def _without_state(upload: Upload) -> dict[str, object]:
    """What else the record keeps."""
    return {name: value for name, value in upload.storage.items() if name != KEY}
