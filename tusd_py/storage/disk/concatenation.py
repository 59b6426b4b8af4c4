"""Concatenates files into one, inside the kernel where it can copy by itself. All calls block; run them in threads."""

from __future__ import annotations

import errno
import os
import sys

from tusd_py.contracts.store import BytesMissing
from tusd_py.storage.disk.directory import FileLocation

_COPY_BYTES = 1024 * 1024

# The file system or the kernel cannot copy between these files: FUSE, old NFS, a container's filter of system calls.
_UNSUPPORTED = frozenset({errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM})


class Concatenation:
    """Copies files into a temporary file that gets the upload's name only when it is complete.

    So a crash halfway leaves nothing that could be mistaken for the upload.
    """

    def __init__(self, location: FileLocation, upload_id: str) -> None:
        self._location = location
        self._upload_id = upload_id
        self._descriptor = -1
        self._offset = 0

    def begin(self) -> None:
        self._descriptor = self._location.open_concatenation(self._upload_id)

    def append(self, location: FileLocation, part_id: str, start: int, count: int) -> None:
        """Add ``count`` bytes of the part at ``location``, from ``start``. Raises ``BytesMissing`` if it has fewer."""
        source, _ = location.open_for_reading(part_id)
        try:
            copy_range(source, start, self._descriptor, self._offset, count)
        finally:
            os.close(source)
        self._offset += count

    def commit(self) -> None:
        """Make the bytes durable, then the name."""
        os.fsync(self._descriptor)
        self._close()
        self._location.commit_concatenation(self._upload_id)

    def discard(self) -> None:
        """Leave no bytes of the upload."""
        self._close()
        self._location.discard_concatenation(self._upload_id)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def copy_range(source: int, start: int, target: int, offset: int, count: int) -> None:
    """Copy ``count`` bytes from ``start`` in one open file to ``offset`` in another.

    Costs next to nothing where the file system shares blocks between files.
    """
    copied = _copy_in_kernel(source, start, target, offset, count)
    while copied < count:
        piece = os.pread(source, min(_COPY_BYTES, count - copied), start + copied)
        if not piece:
            raise BytesMissing("a part of this upload is shorter than it was")
        while piece:
            written = os.pwrite(target, piece, offset + copied)
            copied += written
            piece = piece[written:]


def _copy_in_kernel(source: int, start: int, target: int, offset: int, count: int) -> int:
    """Return how many bytes the kernel copied: fewer than ``count`` if it cannot, or if the source ends."""
    copied = 0
    if sys.platform == "linux":
        while copied < count:
            try:
                done = os.copy_file_range(source, target, count - copied, start + copied, offset + copied)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                break
            if done == 0:
                break
            copied += done
    return copied
