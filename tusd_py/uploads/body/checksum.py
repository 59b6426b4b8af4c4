"""A running digest of a body whose request carries a checksum, computed beside the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tusd_py.protocol.checksum import ALGORITHMS, new_digest, trailing_checksum
from tusd_py.protocol.errors import ChecksumMismatch
from tusd_py.protocol.requests import BodyInfo

#: Below this a digest takes less time than the hop to a thread and back (sha1: about 1.7 GB/s, a hop 50 microseconds).
_INLINE_BYTES_MAX = 32 * 1024
#: What a slow body may keep waiting for a hop that is worth it,
_BATCH_BYTES_MIN = 64 * 1024
#: and a fast one: then the hop no longer counts.
BATCH_BYTES_MAX = 1024 * 1024
#: What many tiny pieces cost beyond their bytes is bounded too.
_PIECES_MAX = 1024

# Nothing here blocks: more threads than processors would only share them.
_threads = ThreadPoolExecutor(os.cpu_count() or 1, "digest")


class ChecksumVerifier:
    """Hashes the pieces of one body in order. Two batches at most: one is hashed in a thread, one is gathered."""

    def __init__(self, body: BodyInfo) -> None:
        self._expected = body.checksum
        # Which one a trailer will give is known when the bytes have gone by: then it is every one.
        algorithms = ALGORITHMS if body.checksum is None else (body.checksum.algorithm,)
        self._digests = {algorithm: new_digest(algorithm) for algorithm in algorithms}
        self._pieces: list[bytes] = []
        self._gathered = 0  # bytes in _pieces
        self._hashed = 0  # bytes handed on
        self._job: asyncio.Future[None] | None = None
        self._seen: Future[None] | None = None

    async def update(self, pieces: Sequence[bytes]) -> None:
        """Take in the next pieces. They are hashed while more arrive; who brings them faster than that waits here."""
        self._pieces += pieces
        self._gathered += sum(map(len, pieces))
        is_idle = self._job is None or self._job.done()
        if is_idle and self._gathered * len(self._digests) <= _INLINE_BYTES_MAX:
            self._feed(self._take_out())
            return
        # The faster the bytes come, the larger the batches.
        enough = min(max(self._hashed, _BATCH_BYTES_MIN), BATCH_BYTES_MAX) if is_idle else BATCH_BYTES_MAX
        if self._gathered >= enough or len(self._pieces) >= _PIECES_MAX:
            await self._start()

    async def verify(self, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        """Raise ``ChecksumMismatch`` unless the bytes were those that the client meant to send.

        Raises ``InvalidChecksum`` or ``UnsupportedAlgorithm`` where a trailer was to tell that, and does not.
        """
        expected = self._expected or trailing_checksum(trailers)
        await self.settle()
        if self._digests[expected.algorithm].digest() != expected.digest:
            raise ChecksumMismatch

    async def settle(self) -> None:
        """Return once every piece is hashed; only then may ``see`` be called."""
        if self._pieces:
            await self._start()
        if self._job is not None:
            await self._job

    def see(self, piece: memoryview) -> None:
        """See ``Watcher.see``."""
        self.done()
        self._seen = _threads.submit(self._feed, [piece])

    def done(self) -> None:
        """See ``Watcher.done``."""
        if self._seen is not None:
            self._seen.result()

    async def _start(self) -> None:
        """Hand what is gathered to a thread, once it is done with what it has."""
        if self._job is not None:
            await self._job
        self._job = asyncio.get_running_loop().run_in_executor(_threads, self._feed, self._take_out())

    def _take_out(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        self._hashed += self._gathered
        self._gathered = 0
        return pieces

    def _feed(self, pieces: Sequence[bytes | memoryview]) -> None:
        for digest in self._digests.values():
            for piece in pieces:
                digest.update(piece)
