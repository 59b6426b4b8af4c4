"""The owner of files in the data directory: commands that root runs keep it, and ``check`` tries to write."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tusd_py.settings import Settings

#: The directories in the data directory.
_DIRECTORIES = ("uploads", "locks", "wake", "metrics", "servers")


def unwritable(data_dir: Path) -> Iterator[str]:
    """One sentence for each directory and lock file that exists and cannot be written to. Leaves no file."""
    for directory in (data_dir, *(data_dir / name for name in _DIRECTORIES)):
        if not directory.exists():
            continue
        try:
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            yield f"{directory} cannot be written to: {error.strerror}"
    with suppress(OSError):
        for path in sorted((data_dir / "locks").glob("*.lock")):
            try:
                os.close(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC))
            except OSError as error:
                yield f"{path} cannot be written to: {error.strerror}"
                return


def of_other_owners(settings: Settings) -> Iterator[str]:
    """For root, which may write everywhere: a sentence if a path has another owner than the data directory."""
    data_dir = Path(settings.storage.data_dir)
    if os.geteuid() != 0 or not data_dir.is_dir():
        return
    owner = data_dir.stat().st_uid
    for path in existing_paths(settings):
        with suppress(OSError):
            if path.stat().st_uid != owner:
                yield f"{path} has another owner than {data_dir}: a server that runs as that user cannot write to it"
                return


@contextmanager
def keeping_owner(settings: Settings) -> Iterator[None]:
    """Give what the block creates in the data directory to the owner of the directory, if this process is root.

    Otherwise a server that runs as another user could not write to it.
    """
    data_dir = Path(settings.storage.data_dir)
    if os.geteuid() != 0 or not data_dir.is_dir():
        yield
        return
    before = set(existing_paths(settings))
    try:
        yield
    finally:
        owner = data_dir.stat()
        for path in set(existing_paths(settings)) - before:
            _give_to(path, owner.st_uid, owner.st_gid)


def existing_paths(settings: Settings) -> list[Path]:
    """What commands may have created: the database with its files, and the directories with their lock files."""
    data_dir = Path(settings.storage.data_dir)
    paths = [data_dir / name for name in _DIRECTORIES]
    if settings.database_path is not None:
        paths += [Path(settings.database_path + suffix) for suffix in ("", "-wal", "-shm", "-journal")]
    paths.append(data_dir / "uploads" / ".store")
    return [*(path for path in paths if os.path.lexists(path)), *(data_dir / "locks").glob("*.lock")]


def _give_to(path: Path, uid: int, gid: int) -> None:
    # The owner of the directory could put another file or a link at this path meanwhile: only the opened one counts.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(OSError):
        descriptor = os.open(path, flags)
        try:
            status = os.fstat(descriptor)
            is_single = stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1)
            if is_single and status.st_uid == 0:
                os.fchown(descriptor, uid, gid)
        finally:
            os.close(descriptor)
