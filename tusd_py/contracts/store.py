"""The contract of a store: it keeps the bytes of uploads, and knows nothing of requests, records or locks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import Content

#: In ``Upload.storage``: where a hook wants the bytes, relative to where the store keeps them. Disks obey it.
PATH = "path"

#: Is told how many bytes are done.
OnProgress = Callable[[int], Awaitable[None]]


class StoreError(Exception):
    """The medium would not do what was asked; nothing that was safe before is lost."""


class StoreFull(StoreError):
    """The medium has no room left. What the sink calls safe stays; the upload can go on once there is room."""


class StoreUnavailable(StoreError):
    """The medium failed or cannot be reached; trying again later may help."""


class BytesMissing(StoreError):
    """The medium holds fewer bytes than the record says: somebody took them away beneath the server."""


class PathTaken(StoreError):
    """Something else lies where a hook wants the bytes of a new upload; it was not touched.

    ``by`` is the id of the upload that has the path; None where what lies there is no upload's.
    """

    def __init__(self, message: str, by: str | None = None) -> None:
        super().__init__(message)
        self.owner_id = by


class Sink(Protocol):
    """Takes the bytes of one request, in order, starting at the upload's offset. Used by one task at a time."""

    @property
    def persisted_offset(self) -> int:
        """The absolute offset up to which bytes survive the death of this process (``kill -9``)."""
        ...

    @property
    def state(self) -> Mapping[str, object]:
        """The store's own state for ``Upload.storage`` that belongs to ``persisted_offset``."""
        ...

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Take ``pieces``; they may be kept in (bounded) memory until ``flush``, and written while more arrive.

        Raises ``StoreFull`` or ``StoreUnavailable``, possibly about earlier pieces; ``persisted_offset`` stays true.
        Raises
        ``BytesMissing`` where the medium has fewer bytes than the upload's offset; ``persisted_offset`` then tells how
        many.
        """
        ...

    async def flush(self, *, durable: bool = False) -> int:
        """Make every piece taken so far safe and return the new ``persisted_offset``.

        With ``durable`` the bytes, and the name they are found by, also survive the loss of power; an upload of no
        bytes then exists on the medium too. Raises like ``write``; ``persisted_offset`` then covers the prefix stored.
        """
        ...

    async def close(self) -> None:
        """Let go of what was held for writing. Never raises for bytes; what was not flushed may be gone.

        Returns only once nothing of this sink can be written any more, even if cancelled: another may write now.
        """
        ...


class Store(Protocol):
    """Keeps bytes. Every write is at an explicit offset: bytes an earlier crash left beyond it are overwritten."""

    async def create(self, upload: Upload) -> Mapping[str, object]:
        """Prepare for ``upload`` and return the state to keep in its record. May do nothing until bytes come.

        Raises ``PathTaken``, ``StoreFull`` or ``StoreUnavailable``; nothing is left of ``upload`` then. Asked again for
        the same upload, after a crash, it is no error.
        """
        ...

    def open(self, upload: Upload) -> Sink:
        """A sink at ``upload.offset``. Does no I/O before the first write or flush."""
        ...

    def read(self, upload: Upload, start: int, stop: int) -> Content:
        """The bytes from ``start`` up to, not including, ``stop``; ``stop`` is at most ``upload.offset``.

        Raises ``BytesMissing`` where the medium has fewer. Memory is bounded whatever the range. Who does not read it
        to its end closes it (``aclosing``).
        """
        ...

    async def concatenate(
        self, upload: Upload, parts: Sequence[Upload], tell: OnProgress | None = None
    ) -> Mapping[str, object]:
        """Make the bytes of ``upload`` the bytes of ``parts`` in order, durably, and return its new state.

        ``tell`` is told now and then how many bytes are joined; what it raises ends the joining like an error.
        Starts over whatever an earlier try left. The parts are unchanged. Raises ``StoreFull``, ``StoreUnavailable``
        or ``BytesMissing``; ``upload`` then has no bytes.
        """
        ...

    async def delete(self, upload: Upload) -> None:
        """Remove the bytes of ``upload`` for good. Asking again, or for one that has none, is no error."""
        ...

    async def size(self, upload: Upload) -> int:
        """How many bytes the medium holds for ``upload``, from its start on; 0 where it knows nothing of it."""
        ...

    def location(self, upload: Upload) -> Mapping[str, str]:
        """Where the bytes of ``upload`` lie, in tusd's names (``Storage`` in its hooks), for whoever works with them.

        Does no I/O: whether they are there is another question.
        """
        ...

    async def probe(self) -> None:
        """Return if the store could take bytes now; raises ``StoreError`` with a sentence otherwise."""
        ...

    async def close(self) -> None:
        """Let go of everything held. The bytes stay."""
        ...
