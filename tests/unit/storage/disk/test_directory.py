"""The directory of the disk store: names, modes, what else may lie under an id."""

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
    """What is no id never reaches the file system, whoever let it through."""
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


def test_modes(tmp_path: Path) -> None:
    """Others can look neither into the directory nor into a file, and the umask takes more away."""
    umask = os.umask(0o022)
    try:
        directory = UploadDirectory(tmp_path / "uploads", 0o664)
        os.close(directory.open_for_writing("an-upload", 0)[0])
    finally:
        os.umask(umask)
    assert directory.path.stat().st_mode & 0o777 == 0o750
    assert (directory.path / "an-upload").stat().st_mode & 0o777 == 0o644
    directory.close()


def test_new_file_only_at_the_start(directory: UploadDirectory) -> None:
    """A file is made at offset 0 alone: further on, one that is gone is not replaced by a hole."""
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
def test_nothing_but_plain_files(directory: UploadDirectory, tmp_path: Path, planted: str) -> None:
    """A link, a pipe or a directory under an id is refused, to read and to write, and what it leads to is untouched."""
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
    with pytest.raises(OSError, match="no regular file"):
        directory.size("planted")
    assert elsewhere.read_bytes() == b"not ours"
    assert not (tmp_path / "to-be-made").exists()


def test_reading_what_is_gone(directory: UploadDirectory) -> None:
    """A file that is not there is missing bytes, not a failure of the disk."""
    with pytest.raises(BytesMissing):
        directory.open_for_reading("gone")


def test_erase_takes_the_unfinished_join_too(directory: UploadDirectory) -> None:
    """An upload's file and what a crash left of joining it both go."""
    os.close(directory.open_concatenation("final"))
    os.close(directory.open_for_writing("final", 0)[0])
    assert len(list(directory.path.iterdir())) == 2
    directory.delete("final")
    assert list(directory.path.iterdir()) == []


def test_probe_leaves_nothing(directory: UploadDirectory) -> None:
    """A probe writes a byte and takes it away."""
    directory.probe()
    assert list(directory.path.iterdir()) == []


def test_probe_notices_another_directory(directory: UploadDirectory) -> None:
    """A directory that was replaced beneath the server is told of: the server still has the old one."""
    directory.path.rename(directory.path.with_name("moved"))
    with pytest.raises(FileNotFoundError):
        directory.probe()
    directory.path.mkdir()
    with pytest.raises(StoreUnavailable, match="restart"):
        directory.probe()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_told_apart(number: int) -> None:
    """No room, no quota and too large a file are all a full store; any other error is a failing one."""
    assert isinstance(store_error(OSError(number, "x")), StoreFull)
    assert isinstance(store_error(OSError(errno.EIO, "Input/output error")), StoreUnavailable)
    assert "Input/output error" in str(store_error(OSError(errno.EIO, "Input/output error")))
