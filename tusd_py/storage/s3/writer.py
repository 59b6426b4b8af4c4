"""Writes the bytes of one request to S3: whole parts in parallel while more bytes arrive, the rest as a tail."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tusd_py.cancellation import shielded, wait_until_done
from tusd_py.contracts.store import BytesMissing, StoreError, StoreFull, StoreUnavailable
from tusd_py.contracts.zero_copy import ByteObserver, SocketReader
from tusd_py.model.upload import Upload
from tusd_py.storage.s3 import checksums, multipart
from tusd_py.storage.s3.clean_up import clean_up
from tusd_py.storage.s3.client import ObjectMissing, PartsChanged, RangeMissing
from tusd_py.storage.s3.gathered_part import GatheredPart, PartBytes
from tusd_py.storage.s3.layout import PARTS_MAX
from tusd_py.storage.s3.reopening import put_tail, reopen
from tusd_py.storage.s3.resources import S3Resources
from tusd_py.storage.s3.state import S3State, StoredPart, Tail

log = logging.getLogger(__name__)

#: Each save of a slow body adds a tail. More than this are joined into one.
TAILS_MAX = 16


class S3Sink:
    """Gathers one part at a time and sends whole ones in tasks of their own. A flush sends the rest as a tail.

    Bytes of a tail are sent again with their part, and a flush waits until all parts are sent. So while a fast body
    runs, a flush only counts the parts that have been sent.

    Bytes are persisted when S3 has answered for them and for all before them. What is in memory is counted in the
    budget. A sink that waits for memory holds none: it first sends what it has gathered as a tail.

    The body of a fast client is read from its socket into the memory of a whole part. A part that is full waits there
    for its turn.
    """

    def __init__(self, resources: S3Resources, upload: Upload) -> None:
        self._resources = resources
        self._client = resources.client
        self._upload = upload
        self._state = resources.state(upload)
        self._offset = upload.offset  # persisted
        self._is_prepared = False
        self._gathered = GatheredPart(resources.budget)
        self._jobs: deque[asyncio.Task[StoredPart]] = deque()  # the parts behind those of the state, in order
        # What only earlier states name: the keys of objects, and multipart uploads with their keys and ids.
        self._obsolete: list[tuple[str, str]] = []
        self._has_begun_part = False  # since the last flush
        self._failure: StoreError | None = None

    @property
    def persisted_offset(self) -> int:
        return self._offset

    @property
    def state(self) -> Mapping[str, object]:
        return self._state.to_storage(self._upload.storage)

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

    @property
    def can_transfer(self) -> bool:
        """See ``ZeroCopySink``. A full part that waits for its turn waits in ``write``, which needs no socket."""
        if self._is_full() and not self._has_slot():
            return False
        index, _ = self._next_part()
        stop, length = self._state.layout.start(index + 1), self._upload.length
        is_whole = index < PARTS_MAX and (length is None or stop <= length)
        return is_whole and self._gathered.can_buffer(self._state.layout.size(index))

    async def transfer(self, reader: SocketReader, observer: ByteObserver | None = None) -> None:
        try:
            await self._prepare()
            if self._is_full() and self._has_slot():
                await self._start_part()
            index, count = self._next_part()
            size = self._state.layout.size(index)
            if count == size or index >= PARTS_MAX or (buffer := self._gathered.buffer(size)) is None:
                return
            await self._resources.threads.run(buffer.fill, reader, size - count, observer)
            if self._is_full() and self._has_slot():
                await self._start_full_part()
        except StoreError as error:
            self._fail(error)
            raise

    async def flush(self, *, durable: bool = False, more_follows: bool = False) -> int:
        is_fast, self._has_begun_part = self._has_begun_part, False
        if not is_fast or self._gathered.is_awaited:
            self._gathered.drop_spare()
        try:
            self._check()
            if more_follows and is_fast:
                await self._finish_jobs(len(self._jobs))
            elif self._gathered.size or self._jobs or (durable and not await self._is_whole()):
                await self._prepare()
                if not durable and self._is_full():
                    await self._start_part()
                await self._finish_jobs(0)
                if durable:
                    await self._complete()
                elif self._gathered.size:
                    await self._put_tail()
        except StoreError as error:
            self._fail(error)
            raise
        return self._offset

    async def committed(self) -> None:
        obsolete, self._obsolete = self._obsolete, []
        if obsolete:
            await clean_up(self._remove(obsolete), obsolete[0][0])

    async def _remove(self, obsolete: Sequence[tuple[str, str]]) -> None:
        """Remove these objects and multipart uploads, each as far as S3 does it. Raises ``StoreError`` for the last."""
        failure: StoreError | None = None
        for key, multipart_id in obsolete:
            try:
                if multipart_id:
                    await multipart.abort_until_gone(self._client, key, multipart_id)
                else:
                    await self._client.call("delete_object", Key=key)
            except StoreError as error:
                failure = error
        if failure is not None:
            raise failure

    async def discard(self, offset: int) -> None:
        """Removes nothing: S3 cannot remove single parts. The next body replaces them, and the janitor takes tails."""

    async def close(self) -> None:
        # A part that arrives later would overwrite that of the next request.
        for job in self._jobs:
            await wait_until_done(job)
            if not job.cancelled():
                job.exception()
        self._jobs.clear()
        self._gathered.close()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: StoreError) -> None:
        self._failure = self._failure or error

    async def _is_whole(self) -> bool:
        """Whether all bytes are one object already."""
        state, offset = self._state, self._offset
        return state.is_empty and offset > 0 and await self._client.object_size(state.key) == offset

    async def _prepare(self) -> None:
        """Find what the record says that there is, before the first byte."""
        self._check()
        if self._is_prepared:
            return
        state = self._state
        if state.is_empty and self._offset:
            await self._reopen()
        elif state.offset != self._offset:
            # The record was cut to what a check had found.
            self._state = state = state.cut_to(self._offset)
            if state.offset != self._offset:
                self._offset = state.offset
                raise BytesMissing("S3 has fewer bytes of this upload than were stored before")
        if state.multipart_id and not await multipart.exists(self._client, state):
            if state.parts:
                await self._reopen()
            else:
                self._state = replace(state, key="", multipart_id="")
        self._is_prepared = True

    async def _reopen(self) -> None:
        state = self._state
        try:
            self._state = await reopen(self._resources, self._upload, state, self._offset)
        except BytesMissing:
            self._offset = min(self._offset, await self._client.object_size(state.key) or 0)
            raise
        self._obsolete.append((state.key, ""))
        self._discard_tails(state.tails)

    async def _take(self, piece: bytes, start: int) -> int:
        """Gather bytes of ``piece`` for the part that is next; return how many."""
        if self._is_full():
            await self._start_part()
        index, gathered = self._next_part()
        if index >= PARTS_MAX:
            raise StoreFull("the upload has more bytes than S3 takes in 10,000 parts: raise s3.part_bytes_max")
        size = self._state.layout.size(index)
        count = min(len(piece) - start, size - gathered)
        if not self._gathered.try_add(piece, start, start + count):
            await self._release_all()
            await self._resources.budget.acquire(count)
            self._gathered.add_acquired(piece[start : start + count])
        if self._is_full():
            await self._start_full_part()
        return count

    async def _release_all(self) -> None:
        """Keep no memory while this request waits for some: else all requests might wait for each other."""
        await self._finish_jobs(0)
        if self._gathered.size:
            await self._put_tail()
        self._gathered.drop_spare()

    def _is_full(self) -> bool:
        """Whether the part that is gathered can be sent."""
        index, gathered = self._next_part()
        return gathered == self._state.layout.size(index)

    def _next_part(self) -> tuple[int, int]:
        """The index of the part that is gathered, and how many bytes of it there are."""
        index = len(self._state.parts) + len(self._jobs)
        # The tails belong to the part behind those of the state: to the first job, if there is one.
        return index, self._gathered.size + (0 if self._jobs else self._state.tail_bytes)

    def _has_slot(self) -> bool:
        """Whether one more part may be sent at the same time."""
        return sum(not job.done() for job in self._jobs) < self._resources.parallel_parts

    async def _start_full_part(self) -> None:
        """Send the part that is full now, unless it seems to be the whole upload: that becomes an object by itself."""
        if self._jobs or self._state.parts or self._upload.length != self._state.layout.size(0):
            await self._start_part()

    async def _start_part(self) -> None:
        """Send the part that is gathered once fewer than all allowed are being sent."""
        await self._finish_jobs(self._resources.parallel_parts - 1)
        if not self._state.multipart_id:
            key = self._resources.keys.new_attempt(self._upload)
            attributes = self._resources.attributes.of_object(self._upload)
            self._state = await multipart.create(self._client, self._state, key, attributes)
        tails = () if self._jobs else self._state.tails
        tail_bytes = sum(tail.size for tail in tails)
        if tail_bytes and not self._resources.budget.try_acquire(tail_bytes):
            await self._put_tail()
            self._gathered.drop_spare()
            tails, tail_bytes = self._state.tails, self._state.tail_bytes
            await self._resources.budget.acquire(tail_bytes)
        index, _ = self._next_part()
        job = asyncio.get_running_loop().create_task(self._send_part(index, tails, tail_bytes, self._gathered.take()))
        self._jobs.append(job)
        self._has_begun_part = True

    async def _send_part(self, index: int, tails: Sequence[Tail], tail_bytes: int, part: PartBytes) -> StoredPart:
        is_sent = False
        try:
            earlier = await self._read_tails(tails)
            pieces, crc = [*earlier, *part.views()], part.crc_after(earlier)
            stored = await multipart.send_part(self._client, self._state, index + 1, pieces, crc)
            is_sent = True
            return stored
        finally:
            self._resources.budget.release(tail_bytes)
            self._gathered.give_back(part, is_sent=is_sent)

    async def _finish_jobs(self, left_max: int) -> None:
        """Wait until at most ``left_max`` parts are being sent, and add those to the state that follow it."""
        while len(running := [job for job in self._jobs if not job.done()]) > left_max:
            # A later part may be done first: its place is free.
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        while self._jobs and self._jobs[0].done():
            part = self._jobs[0].result()
            self._jobs.popleft()
            self._discard_tails(self._state.tails)
            self._state = self._state.with_part(part)
            self._offset = self._state.offset

    async def _put_tail(self) -> None:
        """Send what is gathered as a tail. No part is being sent."""
        if len(self._state.tails) >= TAILS_MAX:
            await self._join_tails()
        body = b"".join(self._gathered.views())
        tail = await put_tail(self._resources, self._upload, self._state.offset, body)
        self._gathered.drop()
        self._state = self._state.with_tail(tail)
        self._offset = self._state.offset

    async def _join_tails(self) -> None:
        """Replace the tails by one."""
        tails, count = self._state.tails, self._state.tail_bytes
        if not self._resources.budget.try_acquire(count):
            return
        try:
            body = b"".join(await self._read_tails(tails))
            joined = await put_tail(self._resources, self._upload, self._state.parts_bytes, body)
        finally:
            self._resources.budget.release(count)
        self._discard_tails(tails)
        self._state = replace(self._state, tails=(joined,))

    def _discard_tails(self, tails: Sequence[Tail]) -> None:
        self._obsolete += [(tail.key, "") for tail in tails]

    async def _read_tails(self, tails: Sequence[Tail]) -> list[bytes]:
        try:
            return [await self._read_tail(tail) for tail in tails]
        except (ObjectMissing, RangeMissing):
            self._state = replace(self._state, tails=())
            self._offset = self._state.offset
            raise BytesMissing("S3 has fewer bytes of this upload than were stored before") from None

    async def _read_tail(self, tail: Tail) -> bytes:
        body = await self._client.read_range(tail.key, 0, tail.size)
        if tail.crc is not None and checksums.crc_of(body) != tail.crc:
            log.error("S3 has changed bytes of an upload", extra={"upload": self._upload.id, "key": tail.key})
            raise RangeMissing("the bytes of a tail have changed")
        return body

    async def _complete(self) -> None:
        """Make the bytes one object. No part is being sent."""
        total = self._offset + self._gathered.size
        if self._state.is_empty and not self._gathered.size and self._offset:
            return
        count = self._state.tail_bytes
        if count and not self._resources.budget.try_acquire(count):
            await self._release_all()
            count = self._state.tail_bytes
            await self._resources.budget.acquire(count)
        making: asyncio.Future[None] | None = None
        try:
            rest = [*await self._read_tails(self._state.tails), *self._gathered.views()]
            # Not to be cancelled in the middle: S3 may complete it all the same, behind the next request.
            making = asyncio.ensure_future(self._make_object(rest, total))
            await shielded(making)
        except asyncio.CancelledError:
            if making is not None and making.cancelled():
                # The process stops, and does not wait for S3 once more.
                self._fail(StoreUnavailable("S3 did not answer before the end of the process"))
            raise
        finally:
            self._resources.budget.release(count)
        self._gathered.drop()
        self._offset = total
        # More bytes reopen the object.
        self._is_prepared = False

    async def _make_object(self, rest: Sequence[bytes | memoryview], total: int) -> None:
        state = self._state
        if not state.parts:
            key = self._resources.keys.new_attempt(self._upload)
            crc: int | None = await multipart.put_object(
                self._client, key, rest, self._resources.attributes.of_object(self._upload)
            )
            if state.multipart_id:
                self._obsolete.append((state.key, state.multipart_id))
        else:
            key, parts = state.key, list(state.parts)
            if rest:
                parts.append(await multipart.send_part(self._client, state, len(parts) + 1, rest))
            sizes = [*map(state.layout.size, range(len(state.parts))), total - state.parts_bytes]
            crc = checksums.combined((part.crc, size) for part, size in zip(parts, sizes, strict=False))
            try:
                await multipart.complete(self._client, state, parts, total, crc)
            except PartsChanged:
                await self._drop_changed_parts()
                raise BytesMissing("another process has changed parts of this upload") from None
        self._discard_tails(state.tails)
        self._state = S3State(state.layout, key, crc=crc)

    async def _drop_changed_parts(self) -> None:
        """Keep the parts up to the first that is not the recorded one."""
        stored = await multipart.part_etags(self._client, self._state.key, self._state.multipart_id)
        kept = 0
        for part in self._state.parts:
            if stored.get(kept + 1) != part.etag:
                break
            kept += 1
        if kept < len(self._state.parts):
            self._state = replace(self._state, parts=self._state.parts[:kept], tails=())
            self._offset = self._state.offset
