"""Finds out by trial which functions an S3-compatible service has: services differ, and few document it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from tusd_py.contracts.store import StoreUnavailable
from tusd_py.storage.s3.attributes import ObjectAttributes
from tusd_py.storage.s3.clean_up import clean_up
from tusd_py.storage.s3.client import Conflict, MultipartMissing, ObjectMissing, Refused, S3Client
from tusd_py.storage.s3.layout import Keys

log = logging.getLogger(__name__)

#: A service that works needs a second. Others wait for the result meanwhile: requests to publish, for example.
_TRIAL_SECONDS = 60.0
#: A server that stops waits for it.
_CLEAN_UP_SECONDS = 2.0
PROBE_SECONDS_MAX = _TRIAL_SECONDS + _CLEAN_UP_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The functions that a service has and lacks."""

    copies_parts: bool  # UploadPartCopy: concatenation and publishing
    is_exclusive: bool  # CompleteMultipartUpload with If-None-Match: publishing under plain names
    ignored: tuple[str, ...] = ()  # settings of attributes that have no effect

    def shortcomings(self) -> Iterator[str]:
        """One sentence for each that is missing, with its consequence."""
        if not self.copies_parts:
            yield "it cannot copy parts (UploadPartCopy): concatenations pass through the server"
        if not self.is_exclusive:
            yield "it has no conditional writes (If-None-Match): each published name gets a suffix"
        for setting in self.ignored:
            yield f"it ignores {setting}"


async def find_capabilities(client: S3Client, keys: Keys, attributes: ObjectAttributes) -> Capabilities:
    """Try everything with a small object, and remove it. Takes at most ``PROBE_SECONDS_MAX``.

    Raises ``StoreUnavailable`` if something is refused that the server needs. What is left after a crash is found by
    the janitor.
    """
    trial = _Trial(client, keys.new_probe(), attributes)
    try:
        async with asyncio.timeout(_TRIAL_SECONDS):
            found = await trial.run()
    except TimeoutError:
        await clean_up(trial.remove(), trial.key, _CLEAN_UP_SECONDS)
        raise StoreUnavailable(f"S3 did not answer all requests of a trial within {_TRIAL_SECONDS:g} seconds") from None
    except BaseException:
        await clean_up(trial.remove(), trial.key, _CLEAN_UP_SECONDS)
        raise
    try:
        async with asyncio.timeout(_CLEAN_UP_SECONDS):
            await trial.remove()
    except TimeoutError:
        raise StoreUnavailable(f"S3 did not delete an object within {_CLEAN_UP_SECONDS:g} seconds") from None
    return found


class _Trial:
    """One trial, with an object and a multipart upload of the same key."""

    def __init__(self, client: S3Client, key: str, attributes: ObjectAttributes) -> None:
        self.key = key
        self._client = client
        self._attributes = attributes
        self._multipart: dict[str, str] = {}
        self._has_begun = False

    async def run(self) -> Capabilities:
        self._has_begun = True
        attributes = self._attributes.of_sample()
        try:
            await self._client.call("put_object", Key=self.key, Body=b"probe", **attributes)
        except Refused as error:
            self._has_begun = False
            raise StoreUnavailable(f"objects with the attributes of [s3] are refused ({error})") from error
        ignored = await _ignored(self._client, self.key, self._attributes)
        made = await self._client.call("create_multipart_upload", Key=self.key, **attributes)
        self._multipart = {"Key": self.key, "UploadId": made["UploadId"]}
        etag, copies_parts = await _copy_part(self._client, self._multipart)
        is_exclusive = await _is_exclusive(self._client, self._multipart, etag)
        if not is_exclusive and not ignored:
            # Of the object that was just made of parts: Ceph ignores the tags of these.
            ignored = await _ignored(self._client, self.key, self._attributes)
        return Capabilities(copies_parts=copies_parts, is_exclusive=is_exclusive, ignored=ignored)

    async def remove(self) -> None:
        """Remove what there may be. Raises ``StoreUnavailable``."""
        if self._multipart:
            await _abort(self._client, self._multipart)
        if self._has_begun:
            await self._client.call("delete_object", Key=self.key)


@dataclass(slots=True)
class LazyCapabilities:
    """Finds out what the service can do when that is first needed, once."""

    client: S3Client
    keys: Keys
    attributes: ObjectAttributes
    settled: Mapping[str, bool] = field(default_factory=dict)  # what the operator has set, by name
    _found: Capabilities | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def find(self) -> Capabilities:
        """Raises ``StoreUnavailable``; then the next call tries again."""
        async with self._lock:
            if self._found is None:
                found = await find_capabilities(self.client, self.keys, self.attributes)
                self._found = replace(
                    found,
                    copies_parts=self.settled.get("copies_parts", found.copies_parts),
                    is_exclusive=self.settled.get("is_exclusive", found.is_exclusive),
                )
                self.client.copies_parts = self._found.copies_parts
                extra = {"copies_parts": self._found.copies_parts, "conditional_writes": self._found.is_exclusive}
                log.info("object store examined", extra=extra)
            return self._found


async def _ignored(client: S3Client, key: str, attributes: ObjectAttributes) -> tuple[str, ...]:
    found = await client.call("head_object", Key=key)
    ignored = []
    # S3 does not name the standard class.
    if attributes.storage_class not in ("", found.get("StorageClass", "STANDARD")):
        ignored.append("s3.storage_class")
    if attributes.encryption not in ("", found.get("ServerSideEncryption")):
        ignored.append("s3.encryption")
    if attributes.tags and not (await client.call("get_object_tagging", Key=key)).get("TagSet"):
        ignored.append("s3.tags")
    return tuple(ignored)


async def _copy_part(client: S3Client, multipart: dict[str, str]) -> tuple[str, bool]:
    """The ETag of a part, and whether it is a copy."""
    source = {"Bucket": client.bucket, "Key": multipart["Key"]}
    try:
        copied = await client.call("upload_part_copy", PartNumber=1, CopySource=source, **multipart)
    except Refused:
        sent = await client.call("upload_part", PartNumber=1, Body=b"probe", **multipart)
        return str(sent["ETag"]), False
    return str(copied["CopyPartResult"]["ETag"]), True


async def _is_exclusive(client: S3Client, multipart: dict[str, str], etag: str) -> bool:
    """Whether the service refuses to replace the object that has the key."""
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    try:
        await client.call("complete_multipart_upload", MultipartUpload=parts, IfNoneMatch="*", **multipart)
    except Conflict:
        return True
    except Refused:
        return False
    return False


async def _abort(client: S3Client, multipart: dict[str, str]) -> None:
    try:
        await client.call("abort_multipart_upload", **multipart)
    except (MultipartMissing, ObjectMissing):
        return
