"""Places a file into a directory atomically, never replacing another. All calls block; run them in threads."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from tusd_py.publishing.renaming import can_rename_exclusively, rename_exclusively

_DIRECTORY_MODE = 0o755
# The file system cannot link this file; it is copied, or renamed, instead.
CANNOT_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
# The file system has no modes, or only some (exFAT, network shares).
_CANNOT_CHANGE_MODE = frozenset({errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})
# The file system cannot sync a directory.
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


class Placement:
    """The steps of publishing one upload into ``directory`` under ``name``, or a name beside it.

    The file first gets a hidden name in the folder of ``name``, by a copy or a link; never in ``directory`` itself,
    since the folder may be a mount or a symbolic link. Where the file system has hard links, the public name is another
    link, and the hidden one stays until ``cleanup``: after a crash, a public name that is the same file is recognised
    as this upload's own. Elsewhere the hidden name is renamed to the public one, which is written down before: if the
    hidden name is gone, the upload is published under the name written down. Each method raises ``OSError``.
    """

    def __init__(self, directory: Path, upload_id: str, name: str, *, file_mode: int = 0o640) -> None:
        self.name = name
        self._directory = directory
        self._folder = (directory / name).parent
        self._file_mode = file_mode
        self._copy = self._folder / f".{upload_id}.published"
        self._target_note = self._folder / f".{upload_id}.target"
        # A directory of its own: what interrupted attempts have left is found without listing the whole folder.
        self._partials = self._folder / f".{upload_id}.partial"
        # One for each attempt: two workers may copy at once, if the first has lost its lease and not noticed yet.
        self._partial = self._partials / secrets.token_hex(4)
        self._descriptor = -1

    def prepare(self) -> bool:
        """Create the folder if needed. Return whether an earlier attempt has left a complete copy or link."""
        _make_folder(self._folder)
        return self._copy.exists() or self._noted_target() is not None

    def open_copy(self) -> None:
        """Create an empty file to copy into."""
        self._descriptor = self._open_partial(self._file_mode)

    def write_copy(self, chunk: bytes) -> None:
        """Append ``chunk`` to the copy."""
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def finish_copy(self) -> None:
        """Make the complete copy durable and give it the hidden name, unless another worker's copy has it already."""
        _set_mode(self._descriptor, self._file_mode)
        os.fsync(self._descriptor)
        try:
            # Unlike a rename, a link never replaces the other copy, which may be published by now.
            os.link(self._partial, self._copy, follow_symlinks=False)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            if self._noted_target() is None:
                rename_exclusively(self._partial, self._copy)

    def close_copy(self) -> None:
        """Close the copy and remove its temporary name."""
        if self._descriptor != -1:
            os.close(self._descriptor)
            self._descriptor = -1
            self._partial.unlink(missing_ok=True)
            self._remove_partials_directory()

    def link(self, source: Path) -> bool:
        """Link ``source`` under the hidden name. Return ``False`` if the file system cannot."""
        try:
            os.link(source, self._copy, follow_symlinks=False)
        except FileExistsError:
            return True
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            return False
        descriptor = os.open(self._copy, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _set_mode(descriptor, self._file_mode)
        finally:
            os.close(descriptor)
        return True

    def publish(self, names: Iterator[str]) -> str:
        """Publish under the first of ``names`` that is unused or already this upload's own; return it."""
        published = self._noted_target()
        if published is not None and not self._copy.exists():
            return published
        for name in names:
            if self._place(name):
                for folder in (self._folder, *self._folder.parents):
                    _sync(folder)
                    if folder == self._directory:
                        break
                return name
        raise AssertionError("names never end")

    def withdraw(self, name: str) -> None:
        """Remove the public name if it is this upload's own."""
        target = self._directory / name
        if self._copy.exists():
            is_own = target.exists() and _is_same(self._copy, target)
        else:
            is_own = self._noted_target() == name
        if is_own:
            target.unlink(missing_ok=True)
            _sync(self._folder)

    def cleanup(self) -> None:
        """Remove the hidden names and copies of interrupted attempts."""
        self._copy.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._partials):
                (self._partials / name).unlink(missing_ok=True)
        self._remove_partials_directory()
        self._target_note.unlink(missing_ok=True)

    def _place(self, name: str) -> bool:
        """Give the file the public name ``name``; return whether it has that name now."""
        target = self._directory / name
        try:
            # Unlike a rename, a link never replaces an existing file.
            os.link(self._copy, target, follow_symlinks=False)
        except FileExistsError:
            return _is_same(self._copy, target)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            if os.path.lexists(target):
                return False
            self._note_target(name)
            return rename_exclusively(self._copy, target)
        return True

    def _open_partial(self, mode: int) -> int:
        self._partials.mkdir(mode=0o700, exist_ok=True)
        return os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)

    def _remove_partials_directory(self) -> None:
        # Another worker may still copy into it, or have removed it.
        with contextlib.suppress(OSError):
            self._partials.rmdir()

    def _noted_target(self) -> str | None:
        """The public name that the hidden one was to be renamed to, if that was ever tried."""
        try:
            return self._target_note.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def _note_target(self, name: str) -> None:
        """Write down the public name, such that a loss of power leaves the whole name or none."""
        descriptor = self._open_partial(0o600)
        try:
            os.write(descriptor, name.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(self._partial, self._target_note)
        self._remove_partials_directory()
        _sync(self._folder)


def try_out(directory: Path) -> str:
    """Place a file in ``directory`` as publishing would, and remove it. Return how it was done, for the operator."""
    source, target = (directory / f".check-{os.getpid()}.{name}" for name in ("source", "target"))
    try:
        os.close(os.open(source, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
        else:
            return "files are published by hard links"
        if can_rename_exclusively(source, target):
            return "there are no hard links here, so files are copied and renamed"
        rename_exclusively(source, target)
        return "files are copied and renamed; for an instant an empty file may have the name of a published one"
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Create a directory and its parents if they are missing, such that a loss of power does not undo it."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        _sync(folder.parent)


def _set_mode(descriptor: int, mode: int) -> None:
    """Give a file exactly this mode, whatever the umask, where the file system has modes."""
    try:
        if os.fstat(descriptor).st_mode & 0o7777 != mode:
            os.fchmod(descriptor, mode)
    except OSError as error:
        if error.errno not in _CANNOT_CHANGE_MODE:
            raise


def _is_same(one: Path, other: Path) -> bool:
    a, b = os.lstat(one), os.lstat(other)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)
