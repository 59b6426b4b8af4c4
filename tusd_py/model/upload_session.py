"""A session of a client that sends a file in numbered chunks."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from tusd_py.model.frozen import frozen

#: The most chunks of one session.
CHUNKS_MAX = 10_000


class SessionStatus(StrEnum):
    """The status of a session, from which a client sees what it may do next."""

    OPEN = "open"  # chunks are missing, or it has not been finalised
    ASSEMBLING = "assembling"  # the chunks are being put together
    PROCESSING = "processing"  # validation and other steps are pending
    COMPLETED = "completed"
    FAILED = "failed"  # rejected by validation, or impossible to assemble
    ENDED = "ended"  # the file has expired or was deleted


class StoredChunk(NamedTuple):
    """A chunk whose partial upload is complete. A session may have thousands of them."""

    position: int
    upload_id: str
    length: int


@frozen(kw_only=True)
class UploadSession:
    """The file that the chunks belong to. The finished upload has the id of its session.

    ``chunk_size`` is the length of every chunk but the last; ``None`` if the client did not say.
    """

    id: str
    owner: str
    metadata_header: str | None
    length: int
    chunk_count: int
    chunk_size: int | None
    created_at: datetime
    expires_at: datetime | None
    finalized_at: datetime | None = None

    def length_of(self, index: int) -> int | None:
        """How many bytes this chunk has; ``None`` if that is not known."""
        if self.chunk_size is None:
            return self.length if self.chunk_count == 1 else None
        if index < self.chunk_count - 1:
            return self.chunk_size
        return self.length - self.chunk_size * (self.chunk_count - 1)
