"""Publishes uploads as objects under readable keys: copies within S3, each exactly once, none over another object."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tusd_py.contracts.locker import Locker, LocksUnavailable, LockTimeout
from tusd_py.contracts.publisher import PublishFailed
from tusd_py.contracts.store import BytesMoved, Store
from tusd_py.model.upload import Upload
from tusd_py.storage.s3.attributes import ObjectAttributes
from tusd_py.storage.s3.capabilities import Capabilities
from tusd_py.storage.s3.clean_up import clean_up
from tusd_py.storage.s3.client import Conflict, MultipartMissing, ObjectMissing, S3Client
from tusd_py.storage.s3.copying import COPY_BYTES_MAX, Copy, abort, begin, complete, copy_at_once, fill
from tusd_py.storage.s3.layout import Keys

#: The metadata of a published object that says of which upload it is a copy. It does not reveal the id.
_MARK = "tusd-py-upload"
_MARK_CHARACTERS = 32
#: A lock is held for two requests.
_LOCK_SECONDS = 60.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: So often other uploads may take the chosen name during one attempt; then the job is tried again later.
_CONFLICTS_MAX = 5


@dataclass(frozen=True, slots=True)
class _Note:
    """A begun copy, as noted for the time after a crash: its key, its source, and whether it has all its bytes."""

    copy: Copy
    is_whole: bool
    source: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPublisher:
    """Publishes below ``prefix`` in the bucket of ``target``, which has the credentials of ``source``.

    An upload is copied into a multipart upload, and appears when that is completed, on the condition that nothing has
    its key. What was begun is noted in the bucket of uploads before, so that an attempt after a crash knows the key;
    a mark in the object's metadata shows whether it was completed.
    ``capabilities`` finds out what the service can do. Where it does not know the condition, each key has a suffix of
    the upload's own, which ``suffixed`` makes; where it cannot copy parts, the object is copied at once at the end.
    """

    source: S3Client
    target: S3Client
    keys: Keys
    attributes: ObjectAttributes
    prefix: str
    name: Callable[[Upload], str]
    candidates: Callable[[str, str], Iterator[str]]
    suffixed: Callable[[str, str, int], str]
    locker: Locker
    capabilities: Callable[[], Awaitable[Capabilities]]

    async def prepare(self, upload: Upload, store: Store) -> None:
        """See ``Publisher.prepare``."""
        note = await self._read_note(upload)
        if note is not None:
            if await self._is_published(upload, note.copy.key) or await self._is_whole(note):
                return
            await abort(self.target, note.copy)
        await self._copy(upload, store.location(upload))

    async def place(self, upload: Upload) -> str:
        """See ``Publisher.place``."""
        for _ in range(_CONFLICTS_MAX):
            note = await self._read_note(upload)
            if note is None:
                raise PublishFailed("the copy to publish is gone: it is made again")
            if await self._place(upload, note):
                return note.copy.key.removeprefix(self.prefix)
            await abort(self.target, note.copy)
            await self._copy(upload, note.source)
        raise PublishFailed(f"other uploads took the names in the bucket {self.target.bucket}")

    async def withdraw(self, upload: Upload, path: str) -> None:
        """See ``Publisher.withdraw``."""
        if await self._is_published(upload, self.prefix + path):
            await self.target.call("delete_object", Key=self.prefix + path)

    async def cleanup(self, upload: Upload) -> None:
        """See ``Publisher.cleanup``."""
        note = await self._read_note(upload)
        if note is not None:
            await abort(self.target, note.copy)
            await self.source.call("delete_object", Key=self.keys.note(upload.id))

    async def close(self) -> None:
        """See ``Publisher.close``. The client of ``source`` belongs to the store."""
        await self.target.close()

    async def _copy(self, upload: Upload, source: Mapping[str, str]) -> None:
        """Make a copy that nothing sees yet, for the first key that nothing has."""
        key = await self._free_key(upload)
        copies_parts = (await self.capabilities()).copies_parts
        if not copies_parts and upload.offset > COPY_BYTES_MAX:
            raise PublishFailed("the service copies no parts (UploadPartCopy), and nothing of more than 5 GiB at once")
        size = upload.offset if copies_parts else 0
        copy = await begin(self.target, key, self._attributes(upload), size)
        try:
            await self._write_note(upload, _Note(copy, False, source))
        except BaseException:
            await clean_up(abort(self.target, copy), key)
            raise
        if copy.multipart_id:
            try:
                copy = await fill(self.target, copy, source, upload.offset)
            except ObjectMissing:
                raise BytesMoved("S3 has nothing of this upload at its key") from None
        await self._write_note(upload, _Note(copy, True, source))

    async def _place(self, upload: Upload, note: _Note) -> bool:
        """Let the copy appear; return whether it is there now. It is not if another object has its key.

        Some services look whether the key is free and write later, so two workers must not complete at once.
        """
        key = note.copy.key
        try:
            lock = await self.locker.acquire(_lock_name(self.target.bucket, key), _LOCK_SECONDS)
        except (LockTimeout, LocksUnavailable) as error:
            raise PublishFailed(f"the name {key} cannot be locked: {error}") from error
        try:
            mark = await self._mark_at(key)
            if mark is not None:
                return mark == _mark(upload)
            return await self._complete(upload, note)
        finally:
            await lock.release()

    async def _complete(self, upload: Upload, note: _Note) -> bool:
        try:
            attributes = self._attributes(upload)
            if upload.offset and not note.copy.multipart_id:
                await copy_at_once(self.target, note.copy, note.source, attributes)
            else:
                await complete(self.target, note.copy, attributes, exclusively=await self._is_exclusive())
        except (Conflict, MultipartMissing, ObjectMissing):
            # Also if an earlier attempt has completed it.
            return await self._is_published(upload, note.copy.key)
        return True

    async def _free_key(self, upload: Upload) -> str:
        """The first key that nothing has, or that has this upload already."""
        name = self.name(upload)
        if await self._is_exclusive():
            names = self.candidates(name, upload.id)
        else:
            names = (self.suffixed(name, upload.id, attempt) for attempt in itertools.count())
        for each in names:
            mark = await self._mark_at(self.prefix + each)
            if mark is None or mark == _mark(upload):
                return self.prefix + each
        raise AssertionError("names never end")

    async def _is_exclusive(self) -> bool:
        found = await self.capabilities()
        return found.is_exclusive and found.copies_parts

    async def _is_whole(self, note: _Note) -> bool:
        if not note.is_whole or not note.copy.multipart_id:
            return note.is_whole
        try:
            multipart = {"Key": note.copy.key, "UploadId": note.copy.multipart_id}
            await self.target.call("list_parts", MaxParts=1, **multipart)
        except (MultipartMissing, ObjectMissing):
            return False
        return True

    async def _is_published(self, upload: Upload, key: str) -> bool:
        return await self._mark_at(key) == _mark(upload)

    async def _mark_at(self, key: str) -> str | None:
        """The mark of the object; empty if it has none, ``None`` if there is no object."""
        try:
            found = await self.target.call("head_object", Key=key)
        except ObjectMissing:
            return None
        return str(found.get("Metadata", {}).get(_MARK, ""))

    def _attributes(self, upload: Upload) -> dict[str, Any]:
        return {**self.attributes.of_object(upload), "Metadata": {_MARK: _mark(upload)}}

    async def _read_note(self, upload: Upload) -> _Note | None:
        try:
            body = await self.source.read_object(self.keys.note(upload.id))
        except ObjectMissing:
            return None
        value = json.loads(body)
        copy = Copy(value["key"], value["multipart"], tuple(value["parts"]))
        return _Note(copy, value["whole"], value["source"])

    async def _write_note(self, upload: Upload, note: _Note) -> None:
        value = {
            "key": note.copy.key,
            "multipart": note.copy.multipart_id,
            "parts": note.copy.etags,
            "whole": note.is_whole,
            "source": {name: note.source[name] for name in ("Bucket", "Key")},
        }
        body = json.dumps(value).encode()
        await self.source.call("put_object", Key=self.keys.note(upload.id), Body=body, **self.attributes.of_bytes())


def _lock_name(bucket: str, key: str) -> str:
    return "publishing-" + hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()[:32]


def _mark(upload: Upload) -> str:
    """The same for each attempt, and that of no other upload, also not of one that gets the id later."""
    created = (upload.created_at - _EPOCH) // timedelta(microseconds=1)
    return hashlib.sha256(f"{upload.id} {created}".encode()).hexdigest()[:_MARK_CHARACTERS]
