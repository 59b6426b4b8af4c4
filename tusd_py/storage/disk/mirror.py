"""Copies of the disk store's directory for backups. All calls block."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from tusd_py.storage.disk.directory import DIRECTORY_MODE

#: The ioctl of Linux that makes a file share the blocks of another one (Btrfs, XFS, ZFS); writes separate them again.
_FICLONE = 0x40049409


def mirror(source: Path, target: Path, may_link: Callable[[Path], bool]) -> tuple[int, int]:
    """Copy the files of uploads into the new directory ``target``; return how many, and how many share their bytes.

    A file is a clone that shares its blocks where the file system can do that; else a hard link if ``may_link`` allows
    that for its path; else a copy. Files that vanish meanwhile are left out. Raises ``OSError``.
    """
    target.mkdir(mode=DIRECTORY_MODE)
    count = shared = 0
    for directory, names in _walk(source):
        folder = target / directory.relative_to(source)
        folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        for name in names:
            try:
                shares = _copy(directory / name, folder / name, link=may_link(directory / name))
            except FileNotFoundError:
                continue
            count += 1
            shared += shares
        _sync(folder)
    return count, shared


def _walk(source: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each directory with its regular files, without temporary files."""
    for directory, _, names in os.walk(source):
        path = Path(directory)
        yield path, [name for name in names if not _is_temporary(name) and _is_regular(path / name)]


def _is_temporary(name: str) -> bool:
    return name.startswith(".probe-") or (name.startswith(".") and name.endswith(".joining"))


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _copy(source: Path, target: Path, *, link: bool) -> bool:
    """Copy one file. Return whether the copy shares the bytes of its source."""
    with source.open("rb") as reading:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as writing:
            if _cloned(reading.fileno(), descriptor):
                _finish(reading.fileno(), descriptor)
                return True
            if not link:
                shutil.copyfileobj(reading, writing, 1024 * 1024)
                writing.flush()
                _finish(reading.fileno(), descriptor)
                return False
    target.unlink()
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:
        return _copy(source, target, link=False)  # another file system, or one without hard links
    return True


def _cloned(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _finish(source: int, target: int) -> None:
    """Give the copy mode and time of its source, and make it survive a loss of power."""
    status = os.fstat(source)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.fsync(target)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
