"""Writes the bytes of one request to S3: whole parts in parallel while more bytes arrive, the rest as a tail."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tusd_py.cancellation import uninterrupted, wait_until_done
from tusd_py.contracts.store import BytesMissing, StoreError, StoreFull
from tusd_py.model.upload import Upload
from tusd_py.storage.s3.attributes import ObjectAttributes
from tusd_py.storage.s3.budget import MemoryBudget
from tusd_py.storage.s3.client import MultipartMissing, ObjectMissing, PartsChanged, RangeMissing, S3Client
from tusd_py.storage.s3.layout import PARTS_MAX, Keys, PartLayout
from tusd_py.storage.s3.state import S3State, Tail, from_storage

log = logging.getLogger(__name__)

#: Each save of a slow body adds a tail. More than this are joined into one.
TAILS_MAX = 16


@dataclass(frozen=True, slots=True)
class S3Access:
    """What all sinks of one store share."""

    client: S3Client
    keys: Keys
    budget: MemoryBudget
    layout: PartLayout  # of new uploads
    parallel_parts: int  # of one request
    attributes: ObjectAttributes


class S3Sink:
    """Gathers one part at a time and sends whole ones in tasks of their own. A flush sends the rest as a tail.

    Bytes are persisted when S3 has answered for them and for all before them. What is in memory is counted in the
    budget. A sink that waits for memory holds none: it first sends what it has gathered as a tail.
    """

    def __init__(self, access: S3Access, upload: Upload) -> None:
        self._access = access
        self._client = access.client
        self._upload = upload
        self._upload_id = upload.id
        self._key = access.keys.object_of(upload)
        self._storage = upload.storage
        self._state = from_storage(upload.storage, access.layout)
        self._offset = upload.offset  # persisted
        self._is_prepared = False
        self._fresh: list[bytes] = []  # the newest bytes of the part that is gathered
        self._fresh_bytes = 0
        self._jobs: deque[asyncio.Task[str]] = deque()  # the parts behind those of the state, in order
        self._obsolete: list[str] = []  # tails that only earlier states name
        self._failure: StoreError | None = None

    @property
    def persisted_offset(self) -> int:
        return self._offset

    @property
    def state(self) -> Mapping[str, object]:
        return self._state.to_storage(self._storage)

    async def write(self, pieces: Sequence[bytes]) -> None:
        try:
            await self._prepare()
            for piece in pieces:
                start = 0
                while start < len(piece):
                    start += await self._take(piece, start)
        except StoreError as error:
            self._fail(error)
            raise

    async def flush(self, *, durable: bool = False) -> int:
        try:
            self._check()
            if self._fresh or self._jobs or durable:
                await self._prepare()
                await self._finish_jobs(0)
                if durable:
                    await self._complete()
                elif self._fresh:
                    await self._put_tail()
        except StoreError as error:
            self._fail(error)
            raise
        return self._offset

    async def committed(self) -> None:
        obsolete, self._obsolete = self._obsolete, []
        for key in obsolete:
            try:
                await self._client.call("delete_object", Key=key)
            except StoreError as error:
                log.info("a tail was left for the janitor", extra={"key": key, "reason": str(error)})

    async def discard(self, offset: int) -> None:
        """Removes nothing: S3 cannot remove single parts. The next body replaces them, and the janitor takes tails."""

    async def close(self) -> None:
        # A part that arrives later would overwrite that of the next request.
        for job in self._jobs:
            await wait_until_done(job)
            if not job.cancelled():
                job.exception()
        self._jobs.clear()
        self._drop_fresh()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: StoreError) -> None:
        self._failure = self._failure or error

    async def _prepare(self) -> None:
        """Find what the record says that there is, before the first byte."""
        self._check()
        if self._is_prepared:
            return
        if self._state.is_empty and self._offset:
            await self._reopen()
        elif self._state.offset != self._offset:
            # The record was cut to what a check had found.
            self._state = self._state.cut_to(self._offset)
            if self._state.offset != self._offset:
                self._offset = self._state.offset
                raise BytesMissing("S3 has fewer bytes of this upload than were stored before")
        if self._state.multipart_id and not await self._has_multipart():
            await self._reopen()
        self._is_prepared = True

    async def _has_multipart(self) -> bool:
        try:
            await self._client.call("list_parts", Key=self._key, UploadId=self._state.multipart_id, MaxParts=1)
        except MultipartMissing:
            return False
        return True

    async def _reopen(self) -> None:
        """Continue a complete object: copy its parts on the server's side, and its rest to a tail.

        An earlier request has completed it, but its record does not say so: the process may have been killed between
        the two, or the request turned out to be wrong at its end.
        """
        size = await self._client.object_size(self._key) or 0
        if size < self._offset:
            self._offset = size
            raise BytesMissing("the object of this upload has fewer bytes than were stored before")
        state = S3State(self._access.layout)
        whole = state.layout.index_at(self._offset)
        if whole:
            state = replace(state, multipart_id=await self._create_multipart())
        for index in range(whole):
            start = state.layout.start(index)
            copied = await self._client.call(
                "upload_part_copy",
                Key=self._key,
                UploadId=state.multipart_id,
                PartNumber=index + 1,
                CopySource={"Bucket": self._client.bucket, "Key": self._key},
                CopySourceRange=f"bytes={start}-{start + state.layout.size(index) - 1}",
            )
            state = state.with_part(copied["CopyPartResult"]["ETag"])
        rest = self._offset - state.offset
        if rest:
            await self._access.budget.acquire(rest)
            try:
                start = state.offset
                body = b"".join([piece async for piece in self._client.read(self._key, start, start + rest)])
                state = state.with_tail(await self._put_new_tail(start, body))
            finally:
                self._access.budget.release(rest)
        self._state = state

    async def _take(self, piece: bytes, start: int) -> int:
        """Gather bytes of ``piece`` for the part that is next; return how many."""
        index, gathered = self._next_part()
        if index >= PARTS_MAX:
            raise StoreFull("the upload has more bytes than S3 takes in 10,000 parts: raise s3.part_bytes_max")
        size = self._state.layout.size(index)
        count = min(len(piece) - start, size - gathered)
        if not self._access.budget.try_acquire(count):
            # A waiting request holds no memory: else all requests might wait for each other.
            await self._finish_jobs(0)
            if self._fresh:
                await self._put_tail()
            await self._access.budget.acquire(count)
            index, gathered = self._next_part()
        self._fresh.append(piece[start : start + count] if count < len(piece) else piece)
        self._fresh_bytes += count
        if gathered + count == size:
            await self._start_part(index)
        return count

    def _next_part(self) -> tuple[int, int]:
        """The index of the part that is gathered, and how many bytes of it there are."""
        index = len(self._state.parts) + len(self._jobs)
        # The tails belong to the part behind those of the state: to the first job, if there is one.
        return index, self._fresh_bytes + (0 if self._jobs else self._state.tail_bytes)

    async def _start_part(self, index: int) -> None:
        if not self._state.multipart_id:
            self._state = replace(self._state, multipart_id=await self._create_multipart())
        tails = () if self._jobs else self._state.tails
        tail_bytes = sum(tail.size for tail in tails)
        if tail_bytes and not self._access.budget.try_acquire(tail_bytes):
            await self._put_tail()
            tails, tail_bytes = self._state.tails, self._state.tail_bytes
            await self._access.budget.acquire(tail_bytes)
        fresh, count = self._take_fresh()
        job = asyncio.get_running_loop().create_task(self._send_part(index, tails, fresh, tail_bytes + count))
        self._jobs.append(job)
        await self._finish_jobs(self._access.parallel_parts - 1)

    async def _send_part(self, index: int, tails: Sequence[Tail], fresh: list[bytes], acquired: int) -> str:
        try:
            earlier = await self._read_tails(tails)
            body = b"".join([*earlier, *fresh])
            fresh.clear()
            sent = await self._client.call(
                "upload_part", Key=self._key, UploadId=self._state.multipart_id, PartNumber=index + 1, Body=body
            )
            etag: str = sent["ETag"]
            return etag
        finally:
            self._access.budget.release(acquired)

    async def _finish_jobs(self, left_max: int) -> None:
        """Wait until at most ``left_max`` parts are being sent, and add those that were to the state."""
        while self._jobs and (len(self._jobs) > left_max or self._jobs[0].done()):
            job = self._jobs[0]
            etag = await asyncio.shield(job)
            self._jobs.popleft()
            self._obsolete += [tail.key for tail in self._state.tails]
            self._state = self._state.with_part(etag)
            self._offset = self._state.offset

    async def _put_tail(self) -> None:
        """Send what is gathered as a tail. No part is being sent."""
        if len(self._state.tails) >= TAILS_MAX:
            await self._join_tails()
        body = b"".join(self._fresh)
        tail = await self._put_new_tail(self._state.offset, body)
        self._drop_fresh()
        self._state = self._state.with_tail(tail)
        self._offset = self._state.offset

    async def _join_tails(self) -> None:
        """Replace the tails by one."""
        tails, count = self._state.tails, self._state.tail_bytes
        if not self._access.budget.try_acquire(count):
            return
        try:
            body = b"".join(await self._read_tails(tails))
            joined = await self._put_new_tail(self._state.parts_bytes, body)
        finally:
            self._access.budget.release(count)
        self._obsolete += [tail.key for tail in tails]
        self._state = replace(self._state, tails=(joined,))

    async def _put_new_tail(self, offset: int, body: bytes) -> Tail:
        key = f"{self._access.keys.tails(self._upload_id)}{offset:020d}-{secrets.token_hex(8)}"
        await self._client.call("put_object", Key=key, Body=body, **self._access.attributes.of_bytes())
        return Tail(key, len(body))

    async def _read_tails(self, tails: Sequence[Tail]) -> list[bytes]:
        try:
            return [await self._client.read_all(tail.key, tail.size) for tail in tails]
        except (ObjectMissing, RangeMissing):
            self._state = replace(self._state, tails=())
            self._offset = self._state.offset
            raise BytesMissing("S3 has fewer bytes of this upload than were stored before") from None

    async def _complete(self) -> None:
        """Make the bytes one object. No part is being sent."""
        total = self._offset + self._fresh_bytes
        if self._state.is_empty and not self._fresh and self._offset:
            return
        count = self._state.tail_bytes
        if count and not self._access.budget.try_acquire(count):
            if self._fresh:
                await self._put_tail()
                count = self._state.tail_bytes
            await self._access.budget.acquire(count)
        try:
            rest = b"".join([*await self._read_tails(self._state.tails), *self._fresh])
            # Not to be cancelled in the middle: S3 may complete it all the same, behind the next request.
            await uninterrupted(asyncio.ensure_future(self._make_object(rest, total)))
        finally:
            self._access.budget.release(count)
        self._drop_fresh()
        self._obsolete += [tail.key for tail in self._state.tails]
        self._state, self._offset = S3State(self._access.layout), total
        # More bytes reopen the object.
        self._is_prepared = False

    async def _make_object(self, rest: bytes, total: int) -> None:
        state, key = self._state, self._key
        if not state.parts:
            attributes = self._access.attributes.of_object(self._upload)
            await self._client.call("put_object", Key=key, Body=rest, **attributes)
            if state.multipart_id:
                await self._abort(state.multipart_id)
            return
        parts = list(state.parts)
        try:
            if rest:
                sent = await self._client.call(
                    "upload_part", Key=key, UploadId=state.multipart_id, PartNumber=len(parts) + 1, Body=rest
                )
                parts.append(sent["ETag"])
            await self._client.call(
                "complete_multipart_upload",
                Key=key,
                UploadId=state.multipart_id,
                MultipartUpload={"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(parts, 1)]},
            )
        except MultipartMissing:
            # An answer that was lost, or the request of another process.
            if await self._client.object_size(key) != total:
                raise
        except PartsChanged:
            await self._drop_changed_parts()
            raise BytesMissing("another process has changed parts of this upload") from None

    async def _drop_changed_parts(self) -> None:
        """Keep the parts up to the first that is not the recorded one."""
        stored = await part_etags(self._client, self._key, self._state.multipart_id)
        kept = 0
        for etag in self._state.parts:
            if stored.get(kept + 1) != etag:
                break
            kept += 1
        if kept < len(self._state.parts):
            self._state = replace(self._state, parts=self._state.parts[:kept], tails=())
            self._offset = self._state.offset

    async def _create_multipart(self) -> str:
        attributes = self._access.attributes.of_object(self._upload)
        made = await self._client.call("create_multipart_upload", Key=self._key, **attributes)
        multipart_id: str = made["UploadId"]
        return multipart_id

    async def _abort(self, multipart_id: str) -> None:
        try:
            await self._client.call("abort_multipart_upload", Key=self._key, UploadId=multipart_id)
        except MultipartMissing:
            return

    def _take_fresh(self) -> tuple[list[bytes], int]:
        """The gathered bytes; their share of the budget goes to the caller."""
        fresh, count = self._fresh, self._fresh_bytes
        self._fresh, self._fresh_bytes = [], 0
        return fresh, count

    def _drop_fresh(self) -> None:
        _, count = self._take_fresh()
        self._access.budget.release(count)


async def part_etags(client: S3Client, key: str, multipart_id: str) -> dict[int, str]:
    """The ETags of the parts that S3 has, by number. Raises ``MultipartMissing``."""
    found: dict[int, str] = {}
    async for page in client.pages("list_parts", Key=key, UploadId=multipart_id):
        found |= {part["PartNumber"]: part["ETag"] for part in page.get("Parts", ())}
    return found
