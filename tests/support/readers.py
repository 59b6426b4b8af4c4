"""A socket that yields given bytes, for tests of what reads from it."""

from __future__ import annotations

from collections.abc import Sequence


class BytesReader:
    """A ``SocketReader`` of ``body``. One read yields at most ``piece_bytes``, one burst ``burst_bytes``."""

    pieces: Sequence[bytes] = ()
    bytes_max = 2**30
    can_splice = False

    def __init__(self, body: bytes, *, piece_bytes: int = 2**30, burst_bytes: int = 2**30) -> None:
        self._body = body
        self._piece_bytes = piece_bytes
        self._burst_bytes = burst_bytes
        self._burst_left = burst_bytes
        self.bytes_read = 0

    @property
    def left(self) -> int:
        return len(self._body) - self.bytes_read

    def begin_burst(self) -> None:
        self._burst_left = self._burst_bytes

    def splice(self, descriptor: int, offset: int) -> int:
        raise AssertionError("there is no file")

    def read_into(self, buffer: memoryview) -> int:
        count = min(len(buffer), self._piece_bytes, self._burst_left, self.left)
        buffer[:count] = self._body[self.bytes_read : self.bytes_read + count]
        self.bytes_read += count
        self._burst_left -= count
        return count

    def close(self) -> None:
        """Nothing is held."""
