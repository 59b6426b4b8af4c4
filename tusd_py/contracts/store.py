"""The contract of a store: it keeps the bytes of uploads, and knows nothing of requests, records or locks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import Content

#: Key in ``Upload.storage``: where a hook wants the bytes, relative to the store's own location. Disk stores obey it.
PATH = "path"

#: Called from time to time with the number of bytes that are done; an exception that it raises ends the work.
OnProgress = Callable[[int], Awaitable[None]]


class StoreError(Exception):
    """The medium did not do what was asked. Bytes that were persisted before are not lost."""


class StoreFull(StoreError):
    """The medium has no space left. Bytes up to the sink's ``persisted_offset`` stay; resume once there is space."""


class StoreUnavailable(StoreError):
    """The medium failed or cannot be reached. Trying again later may help."""


class BytesMissing(StoreError):
    """The medium holds fewer bytes than the record says: something other than this server removed them."""


class BytesMoved(BytesMissing):
    """The medium holds nothing for the upload any more: another program, such as a hook, has moved or removed it."""


class PathTaken(StoreError):
    """Something else is at the path that a hook chose for a new upload. It was not touched.

    ``owner_id`` is the id of the upload that has the path; None if what is there belongs to no upload.
    """

    def __init__(self, message: str, owner_id: str | None = None) -> None:
        super().__init__(message)
        self.owner_id = owner_id


class Sink(Protocol):
    """Takes the bytes of one request, in order, starting at the upload's offset. One task at a time uses it."""

    @property
    def persisted_offset(self) -> int:
        """The absolute offset up to which bytes survive the death of this process (``kill -9``)."""
        ...

    @property
    def state(self) -> Mapping[str, object]:
        """The store's own state for ``Upload.storage`` that belongs to ``persisted_offset``."""
        ...

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Take ``pieces``. They may stay in (bounded) memory until ``flush``, and be written while more arrive.

        Raises ``StoreFull`` or ``StoreUnavailable``, possibly about earlier pieces, or ``BytesMissing`` if the medium
        has fewer bytes than the upload's offset. ``persisted_offset`` is correct after each of them.
        """
        ...

    async def flush(self, *, durable: bool = False, more_follows: bool = False) -> int:
        """Persist every piece taken so far and return the new ``persisted_offset``.

        With ``more_follows`` a store to which the newest bytes would have to be sent twice may leave them to the next
        flush, if many bytes were written since the last one.

        With ``durable`` the bytes, and the name they are found by, also survive a loss of power; an upload of no bytes
        then exists on the medium too. Raises like ``write``; ``persisted_offset`` then covers the stored prefix.
        """
        ...

    async def committed(self) -> None:
        """Note that the record now names the current ``state``: what only earlier states need may be deleted.

        Call it after each save of the record, before more is written. Never raises: what cannot be deleted now is left
        on the medium, where no record names it.
        """
        ...

    async def discard(self, offset: int) -> None:
        """Remove what is stored after ``offset``; only ``close`` may follow.

        For bytes that no record will name: a refused body must not occupy the medium, as far as the medium can remove
        the end of an upload. Raises ``StoreUnavailable``, and returns only when nothing is being removed any more, even
        if cancelled.
        """
        ...

    async def close(self) -> None:
        """Release what is used for writing. Never raises for bytes; bytes that were not flushed may be lost.

        Returns only when nothing of this sink can be written any more, even if cancelled: the next sink may write then.
        """
        ...


class Store(Protocol):
    """Keeps bytes. Every write is at an explicit offset: bytes an earlier crash left after it are overwritten."""

    async def create(self, upload: Upload) -> Mapping[str, object]:
        """Prepare for ``upload`` and return the state to keep in its record. May do nothing until bytes arrive.

        Raises ``PathTaken``, ``StoreFull`` or ``StoreUnavailable``; nothing of ``upload`` is left then. Repeating the
        call for the same upload, after a crash, is not an error.
        """
        ...

    def open(self, upload: Upload) -> Sink:
        """Return a sink at ``upload.offset``. Does no I/O before the first write or flush."""
        ...

    def read(self, upload: Upload, start: int, stop: int) -> Content:
        """Return the bytes from ``start`` up to, not including, ``stop``; ``stop`` is at most ``upload.offset``.

        Iterating raises ``BytesMissing`` where the medium has fewer, ``BytesMoved`` if nothing is there. Memory is
        bounded whatever the range. A caller that does not read it to its end must close it (``aclosing``).
        """
        ...

    async def concatenate(
        self, upload: Upload, parts: Sequence[Upload], on_progress: OnProgress | None = None
    ) -> Mapping[str, object]:
        """Make the bytes of ``upload`` the bytes of ``parts`` in order, durably, and return its new state.

        Replaces what an earlier attempt left; the parts are unchanged. Raises ``StoreFull``, ``StoreUnavailable`` or
        ``BytesMissing``, and what ``on_progress`` raises; ``upload`` then has no bytes.
        """
        ...

    async def ensure_space(self, count: int) -> None:
        """Check that ``count`` more bytes fit beside running concatenations. Raises ``StoreFull`` if they do not.

        ``concatenate`` checks the same before it writes. A store whose free space is unknown accepts any number.
        """
        ...

    async def delete(self, upload: Upload) -> None:
        """Remove the bytes of ``upload``. It is no error if there are none."""
        ...

    def find_old(self, before: datetime) -> AsyncIterator[Sequence[str]]:
        """The ids, in batches, under which something is stored that did not change since ``before``.

        Only what this store certainly has made itself is found: other programs may keep files beside it. Raises
        ``StoreUnavailable``.
        """
        ...

    async def purge(self, upload_id: str) -> None:
        """Remove everything stored under ``upload_id``, which no record has. The caller holds its lock.

        Raises ``StoreUnavailable``.
        """
        ...

    async def size(self, upload: Upload) -> int:
        """Return how many bytes the medium holds for ``upload``, counted from its start; 0 if it has none."""
        ...

    def location(self, upload: Upload) -> Mapping[str, str]:
        """Return where the bytes of ``upload`` are, in tusd's names (``Storage`` in its hooks), for other programs.

        Does no I/O: the bytes may be missing there.
        """
        ...

    async def probe(self) -> None:
        """Check that the store can take bytes now. Raises ``StoreError`` with the reason if it cannot."""
        ...

    async def close(self) -> None:
        """Release all resources. The bytes stay."""
        ...
