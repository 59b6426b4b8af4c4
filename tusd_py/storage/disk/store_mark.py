"""The mark by which the records know the directory again. All calls block; run them in threads."""

from __future__ import annotations

import os
import secrets

from tusd_py.storage.disk.directory import SAFELY, UploadDirectory

# No id begins with a dot.
_NAME = ".store"
_BYTES_MAX = 256


def read_store_mark(directory: UploadDirectory) -> str:
    """The mark; empty if there is none. Raises ``OSError``."""
    try:
        descriptor = os.open(_NAME, os.O_RDONLY | SAFELY, dir_fd=directory.descriptor)
    except FileNotFoundError:
        return ""
    try:
        return os.read(descriptor, _BYTES_MAX).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)


def write_store_mark(directory: UploadDirectory, mark: str) -> None:
    """Keep ``mark`` in place of any other one, durably. Raises ``OSError``."""
    # Not by the process id: in containers all processes that share the directory may have the same one.
    temporary = f"{_NAME}-{secrets.token_hex(8)}"
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, directory.file_mode, dir_fd=directory.descriptor
    )
    try:
        os.write(descriptor, f"{mark}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, _NAME, src_dir_fd=directory.descriptor, dst_dir_fd=directory.descriptor)
    os.fsync(directory.descriptor)
