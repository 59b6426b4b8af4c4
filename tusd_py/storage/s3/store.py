"""The S3 store. A complete upload is one object; an unfinished one is parts of a multipart upload and tails.

The record names the parts and tails that count, so nothing else has to be asked. Every node can continue an upload.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from tusd_py.contracts.object_list import ObjectKind, StoredObject
from tusd_py.contracts.store import BytesMissing, BytesMoved, OnProgress, StoreUnavailable
from tusd_py.model.upload import Upload
from tusd_py.pace import Pace
from tusd_py.storage.s3 import multipart, verification
from tusd_py.storage.s3.attributes import ObjectAttributes
from tusd_py.storage.s3.budget import MemoryBudget
from tusd_py.storage.s3.capabilities import LazyCapabilities
from tusd_py.storage.s3.client import BucketConfig, MultipartMissing, ObjectMissing, RangeMissing, S3Client
from tusd_py.storage.s3.concatenation import S3Concatenation
from tusd_py.storage.s3.layout import OBJECT_KEY, PROBE_AGE, Keys, PartLayout, is_probe_id
from tusd_py.storage.s3.resources import S3Resources
from tusd_py.storage.s3.state import KEY, S3State
from tusd_py.storage.s3.verification import RunningCrc, recorded_crc
from tusd_py.storage.s3.writer import S3Sink
from tusd_py.storage.verification import StoreVerification
from tusd_py.threads import ThreadPool

#: The operations that list keys, and the name of the list in their responses.
_LISTINGS = (("list_objects_v2", "Contents"), ("list_multipart_uploads", "Uploads"))

#: Bodies that are read from their sockets at the same time. A read takes some milliseconds, then the thread is free.
_READERS_MAX = 8


class S3Store:
    """Keeps bytes in one bucket, below ``prefix``, with at most ``memory_bytes`` of them in memory."""

    def __init__(
        self,
        bucket_config: BucketConfig,
        *,
        prefix: str = "",
        part_bytes: int = 8 * 1024**2,
        part_bytes_max: int = 64 * 1024**2,
        memory_bytes: int = 256 * 1024**2,
        parallel_parts: int = 4,
        attributes: ObjectAttributes | None = None,
        keys: Keys | None = None,
        settled: Mapping[str, bool] | None = None,
        client: S3Client | None = None,
    ) -> None:
        self._client = client or S3Client(bucket_config)
        self._client.copies_parts = (settled or {}).get("copies_parts", True)
        self._keys = keys or Keys(prefix)
        self._attributes = attributes or ObjectAttributes()
        self.capabilities = LazyCapabilities(self._client, self._keys, self._attributes, settled or {})
        self._found: dict[str, set[str]] = {}  # the keys of the ids that were listed last
        self.budget = MemoryBudget(memory_bytes)
        self._threads = ThreadPool(_READERS_MAX, "s3-read")
        layout = PartLayout(part_bytes, part_bytes_max)
        self._resources = S3Resources(
            self._client, self._keys, self.budget, layout, parallel_parts, self._attributes, self._threads
        )

    @property
    def client(self) -> S3Client:
        """The client of the bucket, for what works beside the store."""
        return self._client

    async def create(self, upload: Upload) -> Mapping[str, object]:
        """Nothing exists in S3 before the first bytes."""
        return {**_without_state(upload), **({} if OBJECT_KEY in upload.storage else self._keys.storage(upload))}

    def open(self, upload: Upload) -> S3Sink:
        return S3Sink(self._resources, upload)

    async def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        if start == stop:
            return
        state = self._resources.state(upload)
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
        state = await S3Concatenation(self._resources, upload, on_progress).run(parts)
        return state.to_storage(upload.storage)

    async def ensure_space(self, count: int) -> None:
        """Does nothing: the free space of a bucket is unknown."""

    async def delete(self, upload: Upload) -> None:
        state = self._resources.state(upload)
        if state.multipart_id:
            await multipart.abort_until_gone(self._client, state.key, state.multipart_id)
        keys = {self._keys.default(upload.id), self._keys.object_of(upload)}
        await self._purge(upload.id, keys, state.object_keys)

    async def purge(self, upload_id: str) -> None:
        await self._purge(upload_id, await self._keys_of(upload_id))
        await self._client.call("delete_object", Key=self._keys.note(upload_id))

    async def _purge(self, upload_id: str, keys: Iterable[str], named: Set[str] = frozenset()) -> None:
        """Remove all attempts to make the objects ``keys``, and the tails. ``named`` are the keys in the record."""
        for key in keys:
            root = self._keys.root(key, upload_id)
            async for page in self._client.pages("list_multipart_uploads", Prefix=root):
                for found in page.get("Uploads", ()):
                    if found["Key"] in named or self._keys.is_attempt(found["Key"], key, upload_id):
                        await multipart.abort_until_gone(self._client, found["Key"], found["UploadId"])
            async for page in self._client.pages("list_objects_v2", Prefix=root):
                for found in page.get("Contents", ()):
                    if found["Key"] in named or self._keys.is_attempt(found["Key"], key, upload_id):
                        await self._client.call("delete_object", Key=found["Key"])
        tails = self._keys.tails(upload_id)
        async for page in self._client.pages("list_objects_v2", Prefix=tails):
            for found in page.get("Contents", ()):
                if found["Key"] in named or self._keys.upload_of(found["Key"]) == upload_id:
                    await self._client.call("delete_object", Key=found["Key"])
        if is_probe_id(upload_id):
            async for page in self._client.pages("list_multipart_uploads", Prefix=tails):
                for found in page.get("Uploads", ()):
                    if self._keys.is_probe(found["Key"]):
                        await multipart.abort_until_gone(self._client, found["Key"], found["UploadId"])

    async def _keys_of(self, upload_id: str) -> Iterable[str]:
        """The keys under which an upload without a record may have an object or a multipart upload."""
        keys = {self._keys.default(upload_id)}
        if self._keys.has_default_pattern:
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
        for prefix in (*self._keys.all_objects, self._keys.all_tails, self._keys.all_notes):
            async for page in self._client.pages("list_objects_v2", Prefix=prefix):
                if ids := self._ids(self._older(page.get("Contents", ()), "LastModified", before)):
                    yield ids
        async for page in self._multipart_pages():
            if ids := self._ids(self._older(page, "Initiated", before)):
                yield ids

    async def list_objects(self, before: datetime) -> AsyncGenerator[Sequence[StoredObject], None]:
        """See ``ObjectList.list_objects``."""
        for prefix in (*self._keys.all_objects, self._keys.all_tails):
            kind = ObjectKind.TAIL if prefix == self._keys.all_tails else ObjectKind.OBJECT
            async for page in self._client.pages("list_objects_v2", Prefix=prefix):
                yield [
                    StoredObject(upload_id, kind, each["Key"], "", each["Size"], each["LastModified"])
                    for each in self._older(page.get("Contents", ()), "LastModified", before)
                    if (upload_id := self._keys.upload_of(each["Key"]))
                ]
        async for page in self._multipart_pages():
            yield [
                StoredObject(upload_id, ObjectKind.MULTIPART, each["Key"], each["UploadId"], 0, each["Initiated"])
                for each in self._older(page, "Initiated", before)
                if (upload_id := self._keys.upload_of(each["Key"]))
            ]

    async def _multipart_pages(self) -> AsyncGenerator[Sequence[Any], None]:
        """The multipart uploads of this store and of others."""
        for prefix in self._keys.all_objects:
            async for page in self._client.pages("list_multipart_uploads", Prefix=prefix):
                yield page.get("Uploads", ())
        async for page in self._client.pages("list_multipart_uploads", Prefix=self._keys.all_tails):
            yield [each for each in page.get("Uploads", ()) if self._keys.is_probe(each["Key"])]

    def _older(self, listed: Iterable[Any], name: str, before: datetime) -> list[Any]:
        """Those that were made before ``before``. What belongs to a trial has to be older."""
        earlier = before - PROBE_AGE
        return [each for each in listed if each[name] < (earlier if self._keys.is_probe(each["Key"]) else before)]

    def is_named(self, upload: Upload, stored: StoredObject) -> bool:
        """See ``ObjectList.is_named``."""
        state = self._resources.state(upload)
        if stored.multipart_id:
            return stored.multipart_id == state.multipart_id
        # Earlier versions recorded no key.
        return stored.key in (state.object_keys or {self._keys.object_of(upload)})

    async def remove_object(self, stored: StoredObject) -> None:
        """See ``ObjectList.remove_object``."""
        if stored.multipart_id:
            await multipart.abort_until_gone(self._client, stored.key, stored.multipart_id)
        else:
            await self._client.call("delete_object", Key=stored.key)

    async def size(self, upload: Upload) -> int:
        state = self._resources.state(upload)
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

    async def compare_checksums(self, upload: Upload) -> bool | None:
        """See ``ChecksumStore.compare_checksums``."""
        return await verification.compare(self._client, self._resources.state(upload))

    def running_checksum(self, upload: Upload) -> RunningCrc | None:
        """See ``ChecksumStore.running_checksum``."""
        crc = recorded_crc(self._resources.state(upload))
        return None if crc is None else RunningCrc(crc)

    def limit_requests(self, per_second: float) -> None:
        """See ``ChecksumStore.limit_requests``."""
        self._client.pace = Pace(per_second)

    def location(self, upload: Upload) -> Mapping[str, str]:
        """The key of the object; before the first bytes, when it is not known yet, the one without a nonce."""
        key = self._resources.state(upload).key or self._keys.object_of(upload)
        return {"Type": "s3store", "Bucket": self._client.bucket, "Key": key}

    async def read_mark(self) -> str:
        """See ``MarkedStore``."""
        try:
            return (await self._client.read_object(self._keys.mark, verified=False)).decode("ascii", "replace").strip()
        except ObjectMissing:
            return ""

    async def write_mark(self, mark: str) -> None:
        """See ``MarkedStore``."""
        arguments = self._attributes.of_bytes()
        await self._client.call_unverified("put_object", Key=self._keys.mark, Body=mark.encode(), **arguments)

    def guard(self, verify: Callable[[], Awaitable[str]]) -> None:
        """See ``MarkedStore``. No other request goes to the bucket before it has passed."""
        self._client.verification = StoreVerification(verify, self.read_mark)

    async def probe(self) -> None:
        if self._client.verification is not None:
            await self._client.verification.renew()
        await multipart.put_object(self._client, self._keys.probe, [b""], self._attributes.of_bytes())

    async def close(self) -> None:
        await self._client.close()
        await self._threads.close()

    def _ids(self, listed: Iterable[Any]) -> list[str]:
        """The ids in the keys. Their keys are kept until the next call: they do not follow from the ids."""
        self._found = {}
        for each in listed:
            if upload_id := self._keys.upload_of(each["Key"]):
                self._found.setdefault(upload_id, set()).add(each["Key"])
        return list(self._found)


def _without_state(upload: Upload) -> dict[str, object]:
    """The storage state of the record without the part of this store."""
    return {name: value for name, value in upload.storage.items() if name != KEY}
