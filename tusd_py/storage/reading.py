"""Reads a range of one file piece by piece. Plain calls that block; run in threads."""

from __future__ import annotations

import os

from tusd_py.contracts.store import BytesMissing
from tusd_py.storage.folder import Folder

#: A download keeps about this much in memory while its client is slow.
READ_BYTES = 256 * 1024


class Reading:
    """The file of an upload being read up to ``stop``: opened by the first piece, closed by the last.

    So a small download is one hop to a thread.
    """

    def __init__(self, folder: Folder, upload_id: str, stop: int) -> None:
        self._folder = folder
        self._upload_id = upload_id
        self._stop = stop
        self._descriptor = -1

    @property
    def is_open(self) -> bool:
        return self._descriptor >= 0

    def piece(self, start: int) -> bytes:
        """The next bytes from ``start`` on, at least one. Raises ``BytesMissing`` where the file has fewer."""
        if self._descriptor < 0:
            self._descriptor, stored = self._folder.open_for_reading(self._upload_id)
            if stored < self._stop:
                raise BytesMissing(f"the file of this upload lacks {self._stop - stored} bytes that were stored")
        piece = os.pread(self._descriptor, min(READ_BYTES, self._stop - start), start)
        if not piece:
            raise BytesMissing(f"the file of this upload ends at {start}: it has been cut while it was read")
        if start + len(piece) == self._stop:
            self.close()
        return piece

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
