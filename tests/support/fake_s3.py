"""S3 in memory, for quick tests of the store: what its requests do, without a server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tusd_py.contracts.store import StoreError
from tusd_py.storage.s3 import checksums
from tusd_py.storage.s3.client import BucketConfig, Conflict, MultipartMissing, ObjectMissing, PartsChanged, S3Client
from tusd_py.storage.s3.store import S3Store

MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)


class FakeS3(S3Client):
    """Objects and multipart uploads in dictionaries. ``failures`` are raised by the next calls of an operation."""

    def __init__(self) -> None:
        super().__init__(BucketConfig(bucket="bucket"))
        self.objects: dict[str, bytes] = {}
        self.multiparts: dict[str, tuple[str, dict[int, bytes]]] = {}  # by id: the key, and the parts by number
        self.metadata: dict[str, Mapping[str, str]] = {}  # of objects
        self.arguments: dict[str, Mapping[str, Any]] = {}  # of multipart uploads
        self.failures: dict[str, list[StoreError]] = {}
        self.is_done_first = False  # whether a call that fails is done all the same
        self.calls: list[str] = []
        self.page_size = 0  # of listings; 0 is no limit
        self.refused: dict[str, StoreError] = {}  # by key
        self.crcs: dict[str, int] = {}  # of objects, as S3 keeps them from the time when it received the bytes

    async def call(self, operation: str, **arguments: Any) -> Any:
        self.calls.append(operation)
        if (refusal := self.refused.get(arguments.get("Key", ""))) is not None:
            raise refusal
        failure = failures.pop(0) if (failures := self.failures.get(operation)) else None
        if failure is not None and not self.is_done_first:
            raise failure
        answer = getattr(self, f"_{operation}")(**arguments)
        if failure is not None:
            raise failure
        return answer

    async def send_part(
        self,
        key: str,
        multipart_id: str,
        number: int,
        pieces: Sequence[bytes | memoryview],
        checksum: Mapping[str, str],
    ) -> str:
        part = {"Key": key, "UploadId": multipart_id, "PartNumber": number, "Body": b"".join(pieces)}
        sent = await self.call("upload_part", **part, **checksum)
        return str(sent["ETag"])

    async def send_object(self, key: str, pieces: Sequence[bytes | memoryview], **arguments: Any) -> None:
        await self.call("put_object", Key=key, Body=b"".join(pieces), **arguments)

    async def read(self, key: str, start: int, stop: int) -> Any:
        if key not in self.objects:
            raise ObjectMissing("there is no such object")
        yield self.objects[key][start:stop]

    async def call_unverified(self, operation: str, **arguments: Any) -> Any:
        return await self.call(operation, **arguments)

    async def read_object(self, key: str, *, verified: bool = True) -> bytes:
        found: bytes = await self.call("get_object", Key=key)
        return found

    def parts_of(self, multipart_id: str, key: str) -> dict[int, bytes]:
        if multipart_id not in self.multiparts or self.multiparts[multipart_id][0] != key:
            raise MultipartMissing("the multipart upload has ended")
        return self.multiparts[multipart_id][1]

    def _get_object(self, Key: str) -> bytes:
        if Key not in self.objects:
            raise ObjectMissing("there is no such object")
        return self.objects[Key]

    def _make(self, key: str, body: bytes, arguments: Mapping[str, Any]) -> None:
        if "IfNoneMatch" in arguments and key in self.objects:
            raise Conflict("an object has this key already")
        self.objects[key] = body
        self.crcs[key] = checksums.crc_of(body)
        self.metadata[key] = arguments.get("Metadata", {})

    def _put_object(self, Key: str, Body: bytes, **more: Any) -> Any:
        self._make(Key, Body, more)
        return {name: more[name] for name in (checksums.FIELD,) if name in more}

    def _head_object(self, Key: str, **_: Any) -> Any:
        if Key not in self.objects:
            raise ObjectMissing("there is no such object")
        checksum = {checksums.FIELD: checksums.to_field(self.crcs[Key])} if Key in self.crcs else {}
        size = len(self.objects[Key])
        return {"ContentLength": size, "ETag": '"x"', "Metadata": self.metadata.get(Key, {}), **checksum}

    def _delete_object(self, Key: str) -> None:
        self.objects.pop(Key, None)

    def _copy_object(self, Key: str, CopySource: Mapping[str, str], **more: Any) -> None:
        self._make(Key, self._get_object(CopySource["Key"]), more)

    def _create_multipart_upload(self, Key: str, **more: Any) -> Any:
        multipart_id = f"m{len(self.calls)}"
        self.arguments[multipart_id] = more
        self.multiparts[multipart_id] = (Key, {})
        return {"UploadId": multipart_id}

    def _upload_part(self, Key: str, UploadId: str, PartNumber: int, Body: bytes, **_: Any) -> Any:
        self.parts_of(UploadId, Key)[PartNumber] = Body
        return {"ETag": _etag(Body)}

    def _upload_part_copy(
        self, Key: str, UploadId: str, PartNumber: int, CopySource: Mapping[str, str], CopySourceRange: str = ""
    ) -> Any:
        body = self._get_object(CopySource["Key"])
        if CopySourceRange:
            first, last = map(int, CopySourceRange.removeprefix("bytes=").split("-"))
            body = body[first : last + 1]
        return {"CopyPartResult": self._upload_part(Key, UploadId, PartNumber, body)}

    def _list_parts(self, Key: str, UploadId: str, **_: Any) -> Any:
        parts = self.parts_of(UploadId, Key)
        return {"Parts": [{"PartNumber": number, "ETag": _etag(body)} for number, body in parts.items()]}

    def _complete_multipart_upload(self, Key: str, UploadId: str, MultipartUpload: Any, **more: Any) -> None:
        parts = self.parts_of(UploadId, Key)
        named = MultipartUpload["Parts"]
        if any(_etag(parts.get(each["PartNumber"], b"")) != each["ETag"] for each in named):
            raise PartsChanged("S3 has not the part that was recorded")
        body = b"".join(parts[each["PartNumber"]] for each in named)
        self._make(Key, body, {**self.arguments[UploadId], **more})
        del self.multiparts[UploadId]

    def _abort_multipart_upload(self, Key: str, UploadId: str) -> None:
        self.parts_of(UploadId, Key)
        del self.multiparts[UploadId]

    def _list_objects_v2(self, Prefix: str, ContinuationToken: str = "") -> Any:
        found = sorted(key for key in self.objects if key.startswith(Prefix) and key > ContinuationToken)
        listed = found[: self.page_size or None]
        contents = [{"Key": key, "LastModified": MADE_AT, "Size": len(self.objects[key])} for key in listed]
        more = {"IsTruncated": True, "NextContinuationToken": listed[-1]} if len(listed) < len(found) else {}
        return {"Contents": contents, **more}

    def _list_multipart_uploads(self, Prefix: str, KeyMarker: str = "", UploadIdMarker: str = "") -> Any:
        every = sorted((key, name) for name, (key, _) in self.multiparts.items() if key.startswith(Prefix))
        found = [each for each in every if each > (KeyMarker, UploadIdMarker)]
        listed = found[: self.page_size or None]
        uploads = [{"Key": key, "UploadId": name, "Initiated": MADE_AT} for key, name in listed]
        if len(listed) == len(found):
            return {"Uploads": uploads}
        key, name = listed[-1]
        return {"Uploads": uploads, "IsTruncated": True, "NextKeyMarker": key, "NextUploadIdMarker": name}


class FakeS3Store(S3Store):
    """The store over a ``FakeS3``."""

    def __init__(self, fake: FakeS3, *, part_bytes: int = 100, memory_bytes: int = 10_000, parallel_parts: int = 2):
        super().__init__(BucketConfig(bucket="bucket"), client=fake, part_bytes=part_bytes, part_bytes_max=part_bytes,
                         memory_bytes=memory_bytes, parallel_parts=parallel_parts)  # fmt: skip


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'
