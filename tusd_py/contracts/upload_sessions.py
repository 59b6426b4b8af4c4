"""The contract of sessions: which uploads are the chunks of a file that a client sends in numbered chunks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from tusd_py.model.upload_session import StoredChunk, UploadSession


class UploadSessions(Protocol):
    """Keeps sessions. When a call returns, its change is durable and visible to every process."""

    async def insert(self, session: UploadSession) -> None:
        """Record a new session, whose id is random."""
        ...

    async def find(self, session_id: str) -> UploadSession | None:
        """The session with this id; ``None`` if there is none."""
        ...

    async def find_empty(self, session_ids: Collection[str]) -> set[str]:
        """Those of these sessions that have no chunk and are not finalised."""
        ...

    async def chunk(self, session_id: str, index: int) -> str | None:
        """The id of the partial upload of this chunk; ``None`` if there is none."""
        ...

    async def chunks(self, session_id: str) -> Mapping[int, str]:
        """The id of the partial upload of each chunk that has one."""
        ...

    async def stored_chunks(self, session_id: str) -> list[StoredChunk]:
        """The chunks whose upload is complete and has not ended, in their order."""
        ...

    async def put_chunk(self, session_id: str, index: int, upload_id: str) -> bool:
        """Make ``upload_id`` the upload of this chunk; False, and no change, if the session is finalised or unknown."""
        ...

    async def finalize(self, session_id: str, now: datetime) -> None:
        """From now on the chunks of the session do not change."""
        ...

    async def reopen(self, session_id: str) -> None:
        """Let the chunks of the session change again, unless an upload with its id is recorded."""
        ...

    async def extend(self, session_id: str, expires_at: datetime | None) -> None:
        """Set when the session expires."""
        ...

    async def page(self, *, owner: str | None, after: tuple[int, str] | None, limit: int) -> list[UploadSession]:
        """Sessions, newest first, of ``owner`` or of all owners (``None``), that follow the key ``after``.

        A key is the creation in microseconds since 1970 and the id.
        """
        ...

    async def delete(self, session_id: str) -> None:
        """Delete the session and what it says of its chunks, but not their uploads."""
        ...

    async def expired(self, now: datetime, limit: int) -> list[UploadSession]:
        """Sessions that have expired by ``now``."""
        ...
