"""The bucket of tusd's s3store: ``<id>.info``, ``<id>.part``, and the object or the multipart upload ``<id>``.

tusd gives an upload the id ``<id>+<id of the multipart upload>``. Nothing can be read of a multipart upload before it
is completed, so an unfinished one is completed here with the parts that it has. tusd would take it for finished then:
its description gets another name first, which tusd does not find.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any
from urllib.parse import urlsplit

from tusd_py.imports.tusd_info import INFO_BYTES_MAX, InfoInvalid, TusdInfo, parse_info
from tusd_py.model.frozen import frozen
from tusd_py.storage.s3.client import MultipartMissing, ObjectMissing, PartsChanged, S3Client
from tusd_py.uploads.adopt import ContentChanged

_SUFFIX = ".info"
#: Descriptions that are read at the same time: a bucket may have millions of complete uploads.
_TOGETHER = 16
#: The description of an unfinished upload that was taken over. tusd answers 404 for it.
_TAKEN = ".info.imported"


@frozen()
class Part:
    """A part of a multipart upload."""

    number: int
    etag: str
    size: int


@frozen()
class Stored:
    """The stored bytes of one upload. ``rest`` is ``.part``: bytes behind the parts, too few for one.

    ``multipart_id`` is empty if the parts are one object already, of ``whole_bytes`` bytes.
    """

    multipart_id: str
    parts: tuple[Part, ...]
    whole_bytes: int
    rest_bytes: int
    rest_etag: str

    @property
    def total(self) -> int:
        """How many bytes can be taken over."""
        return self.whole_bytes + self.rest_bytes


@frozen()
class TusdObjects:
    """The objects of one upload. ``written_at`` is when its description was written."""

    bucket: TusdBucket
    info: TusdInfo
    info_key: str
    stored: Stored
    written_at: datetime

    @property
    def stored_bytes(self) -> int:
        """How many bytes ``read`` returns."""
        return self.stored.total

    async def read(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces. Completes the multipart upload first: tusd cannot continue the upload any more.

        Raises ``ContentChanged`` and ``StoreError``.
        """
        client, key = self.bucket.client, _content_key(self.info_key)
        if await self.bucket.stored(self.info, self.info_key) != self.stored:
            raise ContentChanged
        if self.stored.multipart_id and self.stored.parts:
            await self._complete(key)
        if self.stored.whole_bytes:
            async for piece in client.read(key, 0, self.stored.whole_bytes):
                yield piece
        if self.stored.rest_bytes:
            async for piece in client.read(_rest_key(self.info_key), 0, self.stored.rest_bytes):
                yield piece
            if await _size_and_etag(client, _rest_key(self.info_key)) != (
                self.stored.rest_bytes,
                self.stored.rest_etag,
            ):
                raise ContentChanged

    async def remove(self) -> None:
        """Delete everything of the upload. Raises ``StoreError``."""
        client, key = self.bucket.client, _content_key(self.info_key)
        if self.stored.multipart_id and not self.stored.parts:
            try:
                await client.call("abort_multipart_upload", Key=key, UploadId=self.stored.multipart_id)
            except MultipartMissing:
                pass
        for each in (key, _rest_key(self.info_key), key + _SUFFIX, key + _TAKEN):
            await client.call("delete_object", Key=each)

    async def _complete(self, key: str) -> None:
        client = self.bucket.client
        if self.info_key.endswith(_SUFFIX):
            source = {"Bucket": client.bucket, "Key": self.info_key}
            await client.call("copy_object", Key=key + _TAKEN, CopySource=source)
            await client.call("delete_object", Key=self.info_key)
        parts = [{"PartNumber": part.number, "ETag": part.etag} for part in self.stored.parts]
        try:
            await client.call(
                "complete_multipart_upload",
                Key=key,
                UploadId=self.stored.multipart_id,
                MultipartUpload={"Parts": parts},
            )
        except (MultipartMissing, PartsChanged):
            raise ContentChanged from None


@frozen()
class TusdBucket:
    """The bucket of ``client``, below ``prefix``, which is empty or ends in a slash."""

    client: S3Client
    prefix: str

    async def uploads(self) -> AsyncIterator[tuple[str, TusdObjects | InfoInvalid]]:
        """Each upload with its key, or why it cannot be taken over. Raises ``StoreError``."""
        async for page in self.client.pages("list_objects_v2", Prefix=self.prefix):
            keys = [each["Key"] for each in page.get("Contents", ()) if each["Key"].endswith((_SUFFIX, _TAKEN))]
            for start in range(0, len(keys), _TOGETHER):
                some = keys[start : start + _TOGETHER]
                for info_key, found in zip(some, await self._open_together(some), strict=True):
                    yield _content_key(info_key), found

    async def _open_together(self, info_keys: Sequence[str]) -> list[TusdObjects | InfoInvalid]:
        # After the first failure nothing may go on with a client that the caller closes.
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._open_or_reason(info_key)) for info_key in info_keys]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _open_or_reason(self, info_key: str) -> TusdObjects | InfoInvalid:
        try:
            return await self.open(info_key)
        except InfoInvalid as invalid:
            return invalid

    async def close(self) -> None:
        """Close the client."""
        await self.client.close()

    async def open(self, info_key: str) -> TusdObjects:
        """The upload that ``info_key`` describes. Raises ``InfoInvalid``, also if nothing of it is there."""
        try:
            found = await self.client.call("head_object", Key=info_key)
            size = found["ContentLength"]
            if size > INFO_BYTES_MAX:
                raise InfoInvalid(f"{info_key} is too large for an .info object")
            text = await self.client.read_range(info_key, 0, size) if size else b""
        except ObjectMissing:
            raise InfoInvalid("it was deleted meanwhile") from None
        info = parse_info(text)
        return TusdObjects(self, info, info_key, await self.stored(info, info_key), found["LastModified"])

    async def stored(self, info: TusdInfo, info_key: str) -> Stored:
        """The stored bytes of the upload. Raises ``InfoInvalid`` without an object and a multipart upload."""
        key = _content_key(info_key)
        whole_bytes, etag = await _size_and_etag(self.client, key)
        if etag and whole_bytes == info.length:
            return Stored("", (), whole_bytes, 0, "")
        rest_bytes, rest_etag = await _size_and_etag(self.client, _rest_key(info_key))
        multipart_id = info.tusd_id.rpartition("+")[2]
        try:
            found = await self._parts(key, multipart_id)
        except (MultipartMissing, ObjectMissing):
            if etag:
                # Completed by an import that was interrupted.
                return Stored("", (), whole_bytes, rest_bytes, rest_etag)
            raise InfoInvalid("neither its object nor its multipart upload is there") from None
        parts = tuple(part for index, part in takewhile(lambda each: each[0] == each[1].number, enumerate(found, 1)))
        if len(parts) < len(found):
            # A part in the middle was lost when tusd was killed: what is behind the gap does not belong there.
            rest_bytes, rest_etag = 0, ""
        return Stored(multipart_id, parts, sum(part.size for part in parts), rest_bytes, rest_etag)

    async def _parts(self, key: str, multipart_id: str) -> list[Part]:
        found = []
        async for page in self.client.pages("list_parts", Key=key, UploadId=multipart_id):
            found += [Part(each["PartNumber"], each["ETag"], each["Size"]) for each in page.get("Parts", ())]
        return sorted(found, key=lambda part: part.number)


def bucket_and_prefix(url: str) -> tuple[str, str] | None:
    """The bucket and the prefix, with the slash that tusd adds, of ``s3://bucket/prefix``; ``None`` for other texts."""
    split = urlsplit(url)
    if split.scheme != "s3" or not split.netloc or split.query or split.fragment or "@" in split.netloc:
        return None
    prefix = split.path.removeprefix("/")
    return split.netloc, prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


async def _size_and_etag(client: S3Client, key: str) -> tuple[int, str]:
    """The size and the ETag of an object; 0 and empty if there is none."""
    try:
        found: Any = await client.call("head_object", Key=key)
    except ObjectMissing:
        return 0, ""
    return found["ContentLength"], found["ETag"]


def _content_key(info_key: str) -> str:
    return info_key.removesuffix(_TAKEN).removesuffix(_SUFFIX)


def _rest_key(info_key: str) -> str:
    return f"{_content_key(info_key)}.part"
