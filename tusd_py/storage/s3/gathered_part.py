"""The bytes of the part that an upload gathers, in memory that the budget counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tusd_py.storage.s3 import checksums
from tusd_py.storage.s3.budget import MemoryBudget
from tusd_py.storage.s3.part_buffer import PartBuffer


@dataclass(frozen=True, slots=True)
class PartBytes:
    """The bytes of one part: ``pieces``, and behind them those in ``buffer``, if there is one."""

    pieces: Sequence[bytes]
    buffer: PartBuffer | None
    acquired: int  # from the budget, for the pieces

    def views(self) -> list[bytes | memoryview]:
        """The bytes without a copy, until they are given back."""
        return [*self.pieces, *([] if self.buffer is None else [self.buffer.content()])]

    def crc_after(self, before: Sequence[bytes]) -> int:
        """The CRC of the bytes ``before`` and these."""
        pieces = [*before, *self.pieces]
        crc = checksums.crc_of_pieces(pieces)
        if self.buffer is None:
            return crc
        found = checksums.combined([(crc, sum(map(len, pieces))), (self.buffer.crc, self.buffer.filled)])
        assert found is not None, "both are known"
        return found


class GatheredPart:
    """The newest bytes of an upload: pieces as they have arrived, or the memory of a whole part for a fast client.

    The memory of parts that were sent is kept for the next ones while nothing else waits for memory: it is mapped
    already.
    """

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        #: Half of the memory is for clients whose parts are gathered piece by piece.
        self._reserve = budget.bytes_max // 2
        self._pieces: list[bytes] = []
        self._piece_bytes = 0
        self._buffer: PartBuffer | None = None  # of the bytes behind the pieces
        self._spare: list[PartBuffer] = []
        self._is_closed = False

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._piece_bytes + (0 if self._buffer is None else self._buffer.filled)

    def try_add(self, piece: bytes, start: int, stop: int) -> bool:
        """Add a range of ``piece``; return false if there is no memory for it."""
        if self._buffer is not None:
            with memoryview(piece) as view, view[start:stop] as added:
                self._buffer.add(added)
            return True
        if not self._budget.try_acquire(stop - start):
            return False
        self.add_acquired(piece[start:stop])
        return True

    def add_acquired(self, piece: bytes) -> None:
        """Add ``piece``, which the caller has acquired from the budget."""
        self._pieces.append(piece)
        self._piece_bytes += len(piece)

    def can_buffer(self, size: int) -> bool:
        """Whether ``buffer`` would find memory for a part of ``size`` bytes."""
        return self._buffer is not None or bool(self._spare) or self._budget.has_free(size, reserve=self._reserve)

    def buffer(self, size: int) -> PartBuffer | None:
        """The memory behind the pieces for a part of ``size`` bytes; ``None`` if too little is free, or others wait."""
        if self._buffer is None:
            if self._spare and self._spare[-1].size != size:
                self.drop_spare()
            if self._spare:
                self._buffer = self._spare.pop()
            elif self._budget.try_acquire(size, reserve=self._reserve):
                self._buffer = PartBuffer(size)
        return self._buffer

    def take(self) -> PartBytes:
        """Remove and return all bytes. The caller gives them back with ``give_back``."""
        taken = PartBytes(self._pieces, self._buffer, self._piece_bytes)
        self._pieces, self._piece_bytes, self._buffer = [], 0, None
        return taken

    def give_back(self, part: PartBytes, *, is_sent: bool) -> None:
        """Release the memory of ``part``, or keep it for the next one if S3 has confirmed the bytes."""
        self._budget.release(part.acquired)
        if part.buffer is None:
            return
        is_free = part.buffer.release()
        if is_free and is_sent and not self._is_closed and not self._budget.has_waiters:
            part.buffer.clear()
            self._spare.append(part.buffer)
        else:
            self._budget.release(part.buffer.size)

    def views(self) -> list[bytes | memoryview]:
        """All bytes without a copy, until ``drop``."""
        return PartBytes(self._pieces, self._buffer, 0).views()

    def drop(self) -> None:
        """Release all bytes."""
        self.give_back(self.take(), is_sent=False)

    def drop_spare(self) -> None:
        """Release what is kept for the next parts."""
        spare, self._spare = self._spare, []
        for buffer in spare:
            self._budget.release(buffer.size)

    @property
    def is_awaited(self) -> bool:
        """Whether another request waits for memory."""
        return self._budget.has_waiters

    def close(self) -> None:
        """Release everything, and keep nothing from now on."""
        self._is_closed = True
        self.drop()
        self.drop_spare()
