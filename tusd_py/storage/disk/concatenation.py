"""Makes one file of several, inside the kernel where it copies by itself. Plain calls that block; run in threads."""

from __future__ import annotations

import errno
import os
import sys

from tusd_py.contracts.store import BytesMissing
from tusd_py.storage.disk.custom_path import ChosenPath
from tusd_py.storage.disk.directory import Folder

_COPY_BYTES = 1024 * 1024

# The file system or the kernel does not copy between these files: FUSE, old NFS, a container's filter of calls.
_CANNOT = frozenset({errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM})


class Joining:
    """A file that grows by copies of others under a name of its own, and bears the upload's id only once it is whole.

    So a crash in the middle leaves nothing that could be taken for the upload.
    """

    def __init__(self, folder: Folder | ChosenPath, upload_id: str) -> None:
        self._folder = folder
        self._upload_id = upload_id
        self._descriptor = -1
        self._offset = 0

    def begin(self) -> None:
        self._descriptor = self._folder.open_for_joining(self._upload_id)

    def append(self, folder: Folder | ChosenPath, part_id: str, start: int, count: int) -> None:
        """Add ``count`` bytes of a part, which lies in ``folder``. Raises ``BytesMissing`` where it has fewer."""
        source, _ = folder.open_for_reading(part_id)
        try:
            copy_range(source, start, self._descriptor, self._offset, count)
        finally:
            os.close(source)
        self._offset += count

    def finish(self) -> None:
        """Make the bytes durable, then the name."""
        os.fsync(self._descriptor)
        self._close()
        self._folder.adopt(self._upload_id)

    def abandon(self) -> None:
        """Leave nothing of the upload."""
        self._close()
        self._folder.clear(self._upload_id)

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
    """How many bytes the kernel copied: fewer than asked where it will not, or where the source ends."""
    copied = 0
    if sys.platform == "linux":
        while copied < count:
            try:
                done = os.copy_file_range(source, target, count - copied, start + copied, offset + copied)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                break
            if done == 0:
                break
            copied += done
    return copied
