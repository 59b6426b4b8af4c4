"""Verifies the checksum of a body while it arrives. The hashing runs in threads, beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future

from tusd_py.contracts.zero_copy import ByteObserver
from tusd_py.protocol.checksum import ALGORITHMS, new_digest, trailing_checksum
from tusd_py.protocol.errors import ChecksumMismatch
from tusd_py.protocol.requests import BodyInfo
from tusd_py.threads import cpu_threads

#: Below this hashing takes less time than the hop to a thread and back (sha1: about 1.7 GB/s, a hop 50 microseconds).
_INLINE_BYTES_MAX = 32 * 1024
#: The batch of a slow body: large enough to be worth the hop, small enough to keep in memory.
_BATCH_BYTES_MIN = 64 * 1024
#: The batch of a fast body, beside which the hop no longer counts.
BATCH_BYTES_MAX = 1024 * 1024
#: Bounds the overhead of many tiny pieces.
_PIECES_MAX = 1024


class ChecksumVerifier:
    """Hashes the pieces of one body in order. At most two batches are kept: one is hashed in a thread, one gathered."""

    def __init__(self, info: BodyInfo) -> None:
        self._expected = info.checksum
        # A checksum in a trailer names its algorithm only after the bytes have passed: compute all of them.
        algorithms = ALGORITHMS if info.checksum is None else (info.checksum.algorithm,)
        self._digests = {algorithm: new_digest(algorithm) for algorithm in algorithms}
        self._pieces: list[bytes] = []
        self._gathered = 0  # bytes in _pieces
        self._submitted = 0  # bytes handed to _hash
        self._job: asyncio.Future[None] | None = None

    async def update(self, pieces: Sequence[bytes]) -> None:
        """Take the next pieces. They are hashed while more arrive; waits if they arrive faster than that."""
        self._pieces += pieces
        self._gathered += sum(map(len, pieces))
        is_idle = self._job is None or self._job.done()
        if is_idle and self._gathered * len(self._digests) <= _INLINE_BYTES_MAX:
            self._hash(self._next_batch())
            return
        # The faster the bytes arrive, the larger the batches.
        enough = min(max(self._submitted, _BATCH_BYTES_MIN), BATCH_BYTES_MAX) if is_idle else BATCH_BYTES_MAX
        if self._gathered >= enough or len(self._pieces) >= _PIECES_MAX:
            await self._start_job()

    async def observer(self) -> ByteObserver:
        """Finish hashing the pieces and return a function that hashes what follows them, for a zero-copy transfer.

        Call ``update`` or ``verify`` only when the transfer is over.
        """
        await self._finish_jobs()
        return self._observe

    async def verify(self, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        """Raise ``ChecksumMismatch`` unless the bytes are those that the client meant to send.

        Raises ``InvalidChecksum`` or ``UnsupportedAlgorithm`` if the checksum was to come in a trailer and did not.
        """
        expected = self._expected or trailing_checksum(trailers)
        await self._finish_jobs()
        if self._digests[expected.algorithm].digest() != expected.digest:
            raise ChecksumMismatch

    def _observe(self, piece: memoryview) -> Future[None]:
        return cpu_threads.submit(self._hash, [piece])

    async def _finish_jobs(self) -> None:
        """Return once every piece is hashed."""
        if self._pieces:
            await self._start_job()
        if self._job is not None:
            await self._job

    async def _start_job(self) -> None:
        """Hand the gathered pieces to a thread, once the job before is done."""
        if self._job is not None:
            await self._job
        self._job = asyncio.get_running_loop().run_in_executor(cpu_threads, self._hash, self._next_batch())

    def _next_batch(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        self._submitted += self._gathered
        self._gathered = 0
        return pieces

    def _hash(self, pieces: Sequence[bytes | memoryview]) -> None:
        for digest in self._digests.values():
            for piece in pieces:
                digest.update(piece)
