"""Compares the stored bytes of one upload with its recorded checksums."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tusd_py.contracts.checksum_store import ChecksumStore, RunningChecksum
from tusd_py.model.steps import VALIDATION
from tusd_py.model.upload import Upload
from tusd_py.pace import Pace
from tusd_py.threads import cpu_threads, in_executor
from tusd_py.uploads.ports import Ports

#: The digests in the details of a validation, by their names in ``hashlib``; the first one found is computed.
_ALGORITHMS = ("sha256", "sha512", "sha1", "md5")
#: Uploads that are read at the same time; of each about a megabyte is in memory.
_READERS = 4


class Verdict(StrEnum):
    """The result of a comparison."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # there is no checksum to compare with, or it was not to be read


@dataclass(slots=True, kw_only=True)
class ChecksumComparison:
    """How uploads are compared, and what has been done so far.

    With ``reads_all`` the bytes are read also where the service that keeps them has checksums of its own: these are
    from the time when it received the bytes. ``pace`` limits the bytes that are read in a second.
    """

    reads_all: bool = False
    pace: Pace | None = None
    counts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    bytes_read: int = 0
    _readers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_READERS))

    async def compare(self, ports: Ports, upload: Upload) -> Verdict:
        """Compare the bytes of ``upload``, which has as many as recorded. Raises ``StoreError``."""
        store = ports.store
        if not upload.offset:
            return Verdict.RIGHT
        running: RunningChecksum | None = _recorded_digest(upload)
        if isinstance(store, ChecksumStore):
            compared = await store.compare_checksums(upload)
            if compared is False or (compared and not self.reads_all):
                return Verdict.RIGHT if compared else Verdict.WRONG
            if not self.reads_all:
                return Verdict.UNKNOWN
            running = store.running_checksum(upload) or running
            if running is None:
                # Parts of an unfinished upload cannot be read, and the service may have checksums of them.
                return Verdict.RIGHT if compared else Verdict.UNKNOWN
        if running is None:
            return Verdict.UNKNOWN
        return Verdict.RIGHT if await self._is_right(ports, upload, running) else Verdict.WRONG

    async def _is_right(self, ports: Ports, upload: Upload, running: RunningChecksum) -> bool:
        async with self._readers, aclosing(ports.store.read(upload, 0, upload.offset)) as content:
            async for piece in content:
                if self.pace is not None:
                    await self.pace.take(len(piece))
                await in_executor(cpu_threads, running.update, piece)
                self.bytes_read += len(piece)
        return running.is_right()


@dataclass(slots=True)
class _RunningDigest:
    """A digest that validation has recorded."""

    recorded: str
    digest: Any

    def update(self, piece: bytes) -> None:
        self.digest.update(piece)

    def is_right(self) -> bool:
        return bool(self.digest.hexdigest() == self.recorded)


def _recorded_digest(upload: Upload) -> _RunningDigest | None:
    details: Mapping[str, str] = {}
    if upload.is_complete:
        for entry in upload.history:
            if entry.name == VALIDATION.name:
                details = entry.details
    for name in _ALGORITHMS:
        if recorded := details.get(name):
            return _RunningDigest(recorded.lower(), hashlib.new(name, usedforsecurity=False))
    return None
