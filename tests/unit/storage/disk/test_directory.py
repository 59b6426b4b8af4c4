"""The directory of the disk store: names, modes, and things that are no upload's file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tusd_py.contracts.store import BytesMissing, StoreError, StoreFull, StoreUnavailable
from tusd_py.storage.disk.directory import UploadDirectory, store_error


@pytest.fixture
def directory(tmp_path: Path) -> UploadDirectory:
    return UploadDirectory(tmp_path / "a" / "uploads", 0o640)


@pytest.mark.parametrize("upload_id", ["", ".", "..", "../x", "a/b", "a.b", "-a", "a" * 129, "a\n", "ä", "a\0b"])
def test_only_ids_become_names(directory: UploadDirectory, upload_id: str) -> None:
    """A name that is no id never reaches the file system."""
    for act in (
        directory.size,
        directory.delete,
        directory.open_for_reading,
        directory.open_concatenation,
        directory.commit_concatenation,
    ):
        with pytest.raises(ValueError, match="id"):
            act(upload_id)
    with pytest.raises(ValueError, match="id"):
        directory.open_for_writing(upload_id, 0)


def test_other_users_can_look_into_neither_directory_nor_file(tmp_path: Path) -> None:
    """Other users can look into neither the directory nor a file; the umask applies as well."""
    umask = os.umask(0o022)
    try:
        directory = UploadDirectory(tmp_path / "uploads", 0o664)
        os.close(directory.open_for_writing("an-upload", 0)[0])
    finally:
        os.umask(umask)
    assert directory.path.stat().st_mode & 0o777 == 0o750
    assert (directory.path / "an-upload").stat().st_mode & 0o777 == 0o644
    directory.close()


def test_file_is_created_only_at_offset_0(directory: UploadDirectory) -> None:
    """At a later offset a missing file is an error: a new one would begin with a hole."""
    with pytest.raises(FileNotFoundError):
        directory.open_for_writing("an-upload", 1)
    assert directory.size("an-upload") == 0
    descriptor, stored = directory.open_for_writing("an-upload", 0)
    os.write(descriptor, b"bytes")
    os.close(descriptor)
    for offset in (0, 3):
        descriptor, stored = directory.open_for_writing("an-upload", offset)
        os.close(descriptor)
        assert stored == 5
    assert (directory.path / "an-upload").read_bytes() == b"bytes"


@pytest.mark.parametrize("planted", ["link", "dangling", "pipe", "directory"])
def test_only_regular_files_are_opened(directory: UploadDirectory, tmp_path: Path, planted: str) -> None:
    """A link, a pipe or a directory under an id is refused, and what it leads to is unchanged."""
    path, elsewhere = directory.path / "planted", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"not ours")
    if planted == "link":
        path.symlink_to(elsewhere)
    elif planted == "dangling":
        path.symlink_to(tmp_path / "to-be-made")
    elif planted == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    for offset in (0, 1):
        with pytest.raises((OSError, StoreError)) as refusal:
            directory.open_for_writing("planted", offset)
        assert isinstance(refusal.value, OSError)
        assert isinstance(store_error(refusal.value), StoreUnavailable)
    with pytest.raises((OSError, BytesMissing)) as refusal:
        directory.open_for_reading("planted")
    assert isinstance(refusal.value, OSError)
    if planted == "directory":
        assert directory.size("planted") == 0, "it has no bytes of an upload"
    else:
        with pytest.raises(OSError, match="no regular file"):
            directory.size("planted")
    assert elsewhere.read_bytes() == b"not ours"
    assert not (tmp_path / "to-be-made").exists()


def test_reading_a_missing_file(directory: UploadDirectory) -> None:
    """A missing file is ``BytesMissing``, not a failure of the disk."""
    with pytest.raises(BytesMissing):
        directory.open_for_reading("gone")


def test_delete_removes_the_temporary_file(directory: UploadDirectory) -> None:
    """An upload's file and the rest of an unfinished concatenation are both removed."""
    os.close(directory.open_concatenation("final"))
    os.close(directory.open_for_writing("final", 0)[0])
    assert len(list(directory.path.iterdir())) == 2
    directory.delete("final")
    assert list(directory.path.iterdir()) == []


def test_probe_leaves_nothing(directory: UploadDirectory) -> None:
    """A probe writes a byte and removes it."""
    directory.probe()
    assert list(directory.path.iterdir()) == []


def test_probe_notices_a_replaced_directory(directory: UploadDirectory) -> None:
    """If the directory was replaced, the server still has the old one open, and the probe fails."""
    directory.path.rename(directory.path.with_name("moved"))
    with pytest.raises(FileNotFoundError):
        directory.probe()
    directory.path.mkdir()
    with pytest.raises(StoreUnavailable, match="restart"):
        directory.probe()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_errors(number: int) -> None:
    """No space, no quota and too large a file are ``StoreFull``; any other error is ``StoreUnavailable``."""
    assert isinstance(store_error(OSError(number, "x")), StoreFull)
    assert isinstance(store_error(OSError(errno.EIO, "Input/output error")), StoreUnavailable)
    assert "Input/output error" in str(store_error(OSError(errno.EIO, "Input/output error")))
