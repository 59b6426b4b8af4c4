"""A place in the disk store's directory that a hook has chosen for one upload. Plain calls that block; run in threads.

A path belongs to the upload that has claimed it until the upload is erased, even if its file was moved away meanwhile:
whoever erases an upload, maybe for the second time, must never find another's bytes there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from tusd_py.contracts.store import BytesMissing, PathTaken
from tusd_py.model.ids import is_storage_path
from tusd_py.storage.disk.directory import DIRECTORY_MODE, SAFELY, Folder, open_regular, regular_bytes, unlinked

# Links named for paths, each leading to the id that has claimed it: made or refused in one step. No path begins so.
_CLAIMS = ".claims"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EISDIR})


class ChosenPath:
    """What ``Folder`` does under an id, done at a path below it; no symbolic link on the way is followed."""

    def __init__(self, folder: Folder, path: str) -> None:
        if not is_storage_path(path):
            raise ValueError("not a path within the store")
        self._folder = folder
        self._path = path
        *self._parents, self._name = path.split("/")
        self._claim = sha256(path.encode()).hexdigest()

    def reserve(self, upload_id: str) -> None:
        """Claim the path, and make an empty file there. Raises ``PathTaken``; then nothing of this is left.

        What an earlier try left is taken up: a claim, and a file whose bytes do not count.
        """
        is_new = self._claim_for(upload_id)
        try:
            with self._parent(make=True) as parent:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY
                os.close(os.open(self._name, flags, self._folder.file_mode, dir_fd=parent))
                os.fsync(parent)
        except OSError as error:
            if isinstance(error, FileExistsError) and not is_new:
                return
            if is_new:
                self._disclaim()
            if isinstance(error, FileExistsError) or error.errno in _IN_THE_WAY:
                raise PathTaken(f"something else is at {self._path}") from error
            raise

    def open_for_writing(self, upload_id: str, offset: int) -> tuple[int, int]:
        """See ``Folder.open_for_writing``."""
        try:
            with self._parent() as parent:
                return open_regular(self._name, os.O_WRONLY, parent)
        except FileNotFoundError:
            if offset:
                raise
        self.reserve(upload_id)
        return self.open_for_writing(upload_id, offset)

    def open_for_reading(self, upload_id: str) -> tuple[int, int]:
        """See ``Folder.open_for_reading``."""
        try:
            with self._parent() as parent:
                return open_regular(self._name, os.O_RDONLY, parent)
        except FileNotFoundError as error:
            raise BytesMissing("the file of this upload is gone") from error

    def open_for_joining(self, upload_id: str) -> int:
        """See ``Folder.open_for_joining``."""
        return self._folder.open_for_joining(upload_id)

    def adopt(self, upload_id: str) -> None:
        """See ``Folder.adopt``."""
        with self._parent(make=True) as parent:
            self._folder.move_joined(upload_id, self._name, parent)
            os.fsync(parent)
        self._folder.sync()

    def clear(self, upload_id: str) -> None:
        """See ``Folder.clear``. The path stays claimed."""
        self._folder.drop_joining(upload_id)
        with self._parent(make=True) as parent:
            try:
                descriptor, _ = open_regular(self._name, os.O_WRONLY | os.O_TRUNC, parent)
            except FileNotFoundError:
                return
            os.close(descriptor)

    def erase(self, upload_id: str) -> None:
        """See ``Folder.erase``. Does nothing to a path that is not, or no longer, this upload's."""
        self._folder.drop_joining(upload_id)
        if self._claimed_by() != upload_id:
            return
        try:
            with self._parent() as parent:
                if unlinked(self._name, parent):
                    # Before the claim goes: after a loss of power nobody would know any more whose file it is.
                    os.fsync(parent)
        except FileNotFoundError:
            pass  # a folder on the way is gone, and the file with it
        self._disclaim()

    def stored_size(self, upload_id: str) -> int:
        """See ``Folder.stored_size``."""
        try:
            with self._parent() as parent:
                return regular_bytes(os.stat(self._name, dir_fd=parent, follow_symlinks=False))
        except FileNotFoundError:
            return 0

    def sync(self) -> None:
        """See ``Folder.sync``."""
        with self._parent() as parent:
            os.fsync(parent)

    @contextmanager
    def _parent(self, *, make: bool = False) -> Iterator[int]:
        """The directory that the file lies in, reached step by step from the store's own."""
        here = os.dup(self._folder.descriptor)
        try:
            for name in self._parents:
                if make:
                    _make_directory(name, here)
                inner = os.open(name, _DIRECTORY, dir_fd=here)
                os.close(here)
                here = inner
            yield here
        finally:
            os.close(here)

    def _claim_for(self, upload_id: str) -> bool:
        """Claim the path; whether that is new. Raises ``PathTaken``."""
        _make_directory(_CLAIMS, self._folder.descriptor)
        with self._claims() as claims:
            try:
                os.symlink(upload_id, self._claim, dir_fd=claims)
            except FileExistsError:
                if (by := self._claimed_by()) != upload_id:
                    raise PathTaken(f"upload {by} has claimed {self._path}", by) from None
                return False
            os.fsync(claims)
            return True

    def _claimed_by(self) -> str | None:
        try:
            with self._claims() as claims:
                return os.readlink(self._claim, dir_fd=claims)
        except FileNotFoundError:
            return None

    def _disclaim(self) -> None:
        with self._claims() as claims:
            if unlinked(self._claim, claims):
                os.fsync(claims)

    @contextmanager
    def _claims(self) -> Iterator[int]:
        descriptor = os.open(_CLAIMS, _DIRECTORY, dir_fd=self._folder.descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _make_directory(name: str, parent: int) -> None:
    """Make a directory if it is missing, so that a loss of power leaves it."""
    try:
        os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)
