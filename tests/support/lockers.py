"""The file locker as the wiring opens it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tusd_py.locking.file import FileLocker
from tusd_py.notify.datagrams import DatagramEndpoint


def open_file_locker(directory: Path) -> FileLocker:
    return FileLocker(directory, partial(DatagramEndpoint, directory))
