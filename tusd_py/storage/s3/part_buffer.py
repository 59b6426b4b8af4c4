"""The memory of one part that is filled straight from a socket, and used again for a later part."""

from __future__ import annotations

import mmap

from tusd_py.contracts.zero_copy import ByteObserver, SocketReader
from tusd_py.storage.s3 import checksums

#: One read from the socket. So few that the bytes are in the processor's caches when their CRC is computed.
_READ_BYTES = 1024 * 1024


class PartBuffer:
    """``size`` bytes, of which the first ``filled`` are those of a part; ``crc`` is theirs."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.filled = 0
        self.crc = 0
        # Takes no memory before it is written to: a request may bring less than a part.
        self._bytes = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._content: memoryview | None = None

    def add(self, piece: bytes | memoryview) -> None:
        """Copy ``piece``, for which there is room, behind the bytes there are."""
        stop = self.filled + len(piece)
        assert stop <= self.size, "there is room"
        self._bytes[self.filled : stop] = piece
        self.crc = checksums.crc_after(self.crc, piece)
        self.filled = stop

    def fill(self, reader: SocketReader, count: int, observer: ByteObserver | None) -> None:
        """Read up to ``count`` bytes, for which there is room, until the burst is over. Runs in a thread."""
        stop = self.filled + count
        observed = None
        with memoryview(self._bytes) as whole:
            try:
                while self.filled < stop:
                    piece = whole[self.filled : min(stop, self.filled + _READ_BYTES)]
                    if not (received := reader.read_into(piece)):
                        break
                    self.filled += received
                    self.crc = checksums.crc_after(self.crc, piece[:received])
                    if observer is not None:
                        if observed is not None:
                            observed.result()
                        observed = observer(piece[:received])
            finally:
                if observed is not None:
                    observed.result()

    def content(self) -> memoryview:
        """The bytes of the part, without a copy, until ``release``."""
        self._content = memoryview(self._bytes)[: self.filled]
        return self._content

    def release(self) -> bool:
        """End the use of ``content``; return false if a connection still sends from it. Then it must not change."""
        try:
            if self._content is not None:
                self._content.release()
            # Refused while anything refers to the bytes. To the same size it changes nothing.
            self._bytes.resize(self.size)
        except BufferError:
            return False
        self._content = None
        return True

    def clear(self) -> None:
        """Begin anew. Only after ``release`` has returned true."""
        self.filled = self.crc = 0
