"""Concatenates complete objects on the server's side; only what is smaller than a part passes through this process."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tusd_py.contracts.store import BytesMissing, OnProgress
from tusd_py.model.upload import Upload
from tusd_py.storage.s3 import checksums, multipart
from tusd_py.storage.s3.clean_up import clean_up
from tusd_py.storage.s3.client import ObjectMissing, RangeMissing, Refused
from tusd_py.storage.s3.layout import PART_BYTES_MIN, PARTS_MAX
from tusd_py.storage.s3.resources import S3Resources
from tusd_py.storage.s3.state import S3State, StoredPart

#: One UploadPartCopy takes 5 GiB, which may last longer than a response is waited for.
_COPY_BYTES_MAX = 1024**3
#: What passes through this process at once where S3 cannot copy parts. Large uploads need more for each of their parts.
_SEND_BYTES = 8 * 1024**2

log = logging.getLogger(__name__)


class S3Concatenation:
    """Makes one object of the objects of ``parts``. It has a new key, so nothing that a record names is changed."""

    def __init__(self, resources: S3Resources, upload: Upload, on_progress: OnProgress | None) -> None:
        self._resources = resources
        self._client = resources.client
        self._upload = upload
        self._attributes = resources.attributes.of_object(upload)
        self._on_progress = on_progress
        self._state = S3State(resources.layout)
        self._made: list[StoredPart] = []
        self._small: list[bytes] = []  # what is too small for a part of its own
        self._small_bytes = 0
        self._send_bytes = _SEND_BYTES
        self._done = 0

    async def run(self, parts: Sequence[Upload]) -> S3State:
        """The state of the object. Raises ``StoreError``; then nothing is left of it."""
        states = [self._resources.state(part) for part in parts]
        crc = checksums.combined((state.crc, part.offset) for state, part in zip(states, parts, strict=True))
        key = self._resources.keys.new_attempt(self._upload)
        try:
            for state, part in zip(states, parts, strict=True):
                size = await self._client.object_size(state.key) if part.offset else 0
                if size is None or size < part.offset:
                    raise BytesMissing(f"S3 has fewer bytes of the part {part.id} than were stored before")
            total = sum(part.offset for part in parts)
            self._send_bytes = max(_SEND_BYTES, -(-total // max(1, PARTS_MAX - len(parts))))
            if total >= PART_BYTES_MIN:
                self._state = await multipart.create(
                    self._client, self._state, key, self._attributes, has_checksums=False
                )
            for state, part in zip(states, parts, strict=True):
                await self._append(state.key, part.offset)
            await self._finish(key, total)
        except BaseException:
            await clean_up(self._discard(key), key)
            raise
        return S3State(self._resources.layout, key, crc=crc)

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
        if self._state.multipart_id and self._small_bytes >= PART_BYTES_MIN:
            await self._send_small()

    async def _send_small(self) -> None:
        body = self._take_small()
        await self._add(await multipart.send_part(self._client, self._state, len(self._made) + 1, [body]), len(body))

    async def _copy(self, source: str, start: int, stop: int) -> None:
        if self._client.copies_parts:
            number = len(self._made) + 1
            try:
                part = await multipart.copy_part(self._client, self._state, number, source, start, stop)
            except Refused as error:
                log.warning("S3 copies no parts, so they pass through this server", extra={"reason": str(error)})
                self._client.copies_parts = False
            else:
                await self._add(part, stop - start)
                return
        for position in range(start, stop, self._send_bytes):
            await self._load(source, position, min(stop, position + self._send_bytes))

    async def _add(self, part: StoredPart, size: int) -> None:
        self._made.append(part)
        self._done += size
        if self._on_progress is not None:
            await self._on_progress(self._done)

    async def _finish(self, key: str, total: int) -> None:
        if not self._state.multipart_id:
            await multipart.put_object(self._client, key, [self._take_small()], self._attributes)
            if self._on_progress is not None:
                await self._on_progress(total)
            return
        if self._small_bytes:
            await self._send_small()
        await multipart.complete(self._client, self._state, self._made, total, None)

    async def _discard(self, key: str) -> None:
        """Remove what was made. Raises ``StoreError``."""
        if self._state.multipart_id:
            await multipart.abort_until_gone(self._client, key, self._state.multipart_id)
        await self._client.call("delete_object", Key=key)

    def _take_small(self) -> bytes:
        body = b"".join(self._small)
        self._small.clear()
        self._small_bytes = 0
        return body
