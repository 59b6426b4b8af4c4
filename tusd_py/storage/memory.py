"""The store in memory, for tests and demonstrations: its bytes end with the process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime

from tusd_py.contracts.store import BytesMissing, BytesMoved, OnProgress, StoreError, StoreFull
from tusd_py.model.upload import NO_STATE, Upload

_READ_BYTES = 256 * 1024


class MemorySink:
    """Writes one request's bytes into a ``bytearray``. Each byte is stored when ``write`` returns."""

    def __init__(self, store: MemoryStore, upload: Upload) -> None:
        self._store = store
        self._upload_id = upload.id
        self._offset = upload.offset
        self._failure: StoreError | None = None

    @property
    def persisted_offset(self) -> int:
        return self._offset

    @property
    def state(self) -> Mapping[str, object]:
        return NO_STATE

    async def write(self, pieces: Sequence[bytes]) -> None:
        try:
            for piece in pieces:
                self._put(piece)
        except StoreError as error:
            self._failure = error
            raise

    async def flush(self, *, durable: bool = False, more_follows: bool = False) -> int:
        self._check()
        if durable:
            # As on disk: bytes that an earlier crash left after the offset must not trail a complete upload.
            del self._store.stored(self._upload_id, at_least=self._offset)[self._offset :]
        return self._offset

    async def committed(self) -> None:
        """Does nothing: later bytes are added to earlier ones, and no state becomes obsolete."""

    async def discard(self, offset: int) -> None:
        del self._store.uploads.get(self._upload_id, bytearray())[offset:]

    async def close(self) -> None:
        pass

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _put(self, piece: bytes) -> None:
        self._check()
        if not piece:
            return
        try:
            stored = self._store.stored(self._upload_id, at_least=self._offset)
        except BytesMissing:
            self._offset = len(self._store.uploads.get(self._upload_id, b""))
            raise
        available = self._store.bytes_available() + len(stored) - self._offset
        taken = piece[:available] if len(piece) > available else piece
        stored[self._offset : self._offset + len(taken)] = taken
        self._offset += len(taken)
        if len(taken) < len(piece):
            raise StoreFull("the memory for uploads is used up")


class MemoryStore:
    """Keeps bytes in this process, at most ``bytes_max`` of all uploads together."""

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.uploads: dict[str, bytearray] = {}

    async def create(self, upload: Upload) -> Mapping[str, object]:
        return NO_STATE

    def open(self, upload: Upload) -> MemorySink:
        return MemorySink(self, upload)

    async def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        while start < stop:
            stored = self.stored(upload.id, at_least=stop)
            piece = bytes(stored[start : min(start + _READ_BYTES, stop)])
            yield piece
            start += len(piece)

    async def concatenate(
        self, upload: Upload, parts: Sequence[Upload], on_progress: OnProgress | None = None
    ) -> Mapping[str, object]:
        self.uploads.pop(upload.id, None)
        await self.ensure_space(sum(part.offset for part in parts))
        concatenated = bytearray()
        for part in parts:
            concatenated += self.stored(part.id, at_least=part.offset)[: part.offset]
        if on_progress is not None:
            await on_progress(len(concatenated))
        self.uploads[upload.id] = concatenated
        return NO_STATE

    async def ensure_space(self, count: int) -> None:
        if count > self.bytes_available():
            raise StoreFull("the memory for uploads is used up")

    async def delete(self, upload: Upload) -> None:
        self.uploads.pop(upload.id, None)

    async def find_old(self, before: datetime) -> AsyncGenerator[Sequence[str], None]:
        """Nothing: no bytes outlive the process that has lost their record."""
        return
        yield

    async def purge(self, upload_id: str) -> None:
        self.uploads.pop(upload_id, None)

    async def size(self, upload: Upload) -> int:
        return len(self.uploads.get(upload.id, b""))

    def location(self, upload: Upload) -> Mapping[str, str]:
        return {"Type": "memorystore", "Key": upload.id}

    async def probe(self) -> None:
        if self.bytes_available() <= 0:
            raise StoreFull("the memory for uploads is used up")

    async def close(self) -> None:
        pass

    def stored(self, upload_id: str, *, at_least: int) -> bytearray:
        """Return the stored bytes themselves, not a copy. Raises ``BytesMissing`` if there are fewer than asked."""
        stored = self.uploads.get(upload_id)
        if stored is None and at_least == 0:
            stored = self.uploads[upload_id] = bytearray()
        if stored is None:
            raise BytesMoved("the memory holds nothing of this upload")
        if len(stored) < at_least:
            raise BytesMissing("the memory holds fewer bytes of this upload than were stored")
        return stored

    def bytes_available(self) -> int:
        """How many more bytes can be kept."""
        return self._bytes_max - sum(map(len, self.uploads.values()))
