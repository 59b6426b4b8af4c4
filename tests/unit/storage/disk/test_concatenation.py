"""Copying between files, with and without the kernel's help; the temporary file of a concatenation."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.content import content
from tests.support.file_steps import record_steps
from tusd_py.contracts.store import BytesMissing
from tusd_py.storage.disk.concatenation import Concatenation, copy_range
from tusd_py.storage.disk.custom_path import CustomPath
from tusd_py.storage.disk.directory import UploadDirectory

LENGTH = 2 * 1024 * 1024 + 77


class Files:
    def __init__(self, stack: ExitStack, source: Path, target: Path) -> None:
        self.source = os.open(source, os.O_RDONLY)
        self.target = os.open(target, os.O_RDWR | os.O_CREAT, 0o600)
        stack.callback(os.close, self.source)
        stack.callback(os.close, self.target)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def source_of(directory: Path) -> Path:
    path = directory / "source"
    path.write_bytes(content(21, LENGTH))
    return path


def other_file_system(directory: Path) -> Path:
    """A directory on another device than ``directory``."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == directory.stat().st_dev:
        pytest.skip("there is no second file system here")
    return shared


@pytest.mark.parametrize(("start", "offset", "count"), [(0, 0, LENGTH), (5, 3, 1), (1000, 0, LENGTH - 1000), (0, 9, 0)])
def test_copy_range(tmp_path: Path, stack: ExitStack, start: int, offset: int, count: int) -> None:
    """Exactly the given range is at exactly the given offset."""
    files = Files(stack, source_of(tmp_path), tmp_path / "target")
    copy_range(files.source, start, files.target, offset, count)
    expected = bytes(offset) + bytes(content(21, LENGTH)[start : start + count]) if count else b""
    assert (tmp_path / "target").read_bytes() == expected


def test_copy_range_without_kernel_support(tmp_path: Path, stack: ExitStack) -> None:
    """Files that the kernel cannot copy, such as those of proc, are read and written."""
    source = Path("/proc/self/status")
    if not source.exists():
        pytest.skip("there is no proc file system here")
    files = Files(stack, source, tmp_path / "target")
    copy_range(files.source, 0, files.target, 0, 5)
    assert (tmp_path / "target").read_bytes() == b"Name:"


def test_copy_range_between_file_systems(tmp_path: Path, stack: ExitStack) -> None:
    """Between devices the bytes arrive as well, whatever this kernel supports."""
    target = other_file_system(tmp_path) / f"concatenation-{os.getpid()}"
    stack.callback(target.unlink)
    files = Files(stack, source_of(tmp_path), target)
    copy_range(files.source, 0, files.target, 0, LENGTH)
    assert target.read_bytes() == bytes(content(21, LENGTH))


def test_copy_range_of_short_source(tmp_path: Path, stack: ExitStack) -> None:
    """A source shorter than asked raises ``BytesMissing``."""
    files = Files(stack, source_of(tmp_path), tmp_path / "target")
    with pytest.raises(BytesMissing):
        copy_range(files.source, 10, files.target, 0, LENGTH)


def test_name_appears_only_on_commit(tmp_path: Path) -> None:
    """Before the commit no file has the upload's name; a discarded concatenation leaves nothing."""
    directory = UploadDirectory(tmp_path, 0o640)
    (tmp_path / "part").write_bytes(b"part")
    concatenation = Concatenation(directory, "final")
    concatenation.begin()
    concatenation.append(directory, "part", 0, 4)
    concatenation.append(directory, "part", 2, 2)
    assert not (tmp_path / "final").exists()
    concatenation.commit()
    assert (tmp_path / "final").read_bytes() == b"partrt"
    assert stat.S_IMODE((tmp_path / "final").stat().st_mode) & 0o007 == 0
    again = Concatenation(directory, "final")
    again.begin()
    again.append(directory, "part", 0, 1)
    again.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
    directory.close()


@pytest.mark.parametrize(("path", "synced"), [("", ["uploads"]), ("p/final", ["p", "uploads"])])
def test_bytes_are_durable_before_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, synced: list[str]
) -> None:
    """The temporary file is synced, then renamed, then the directories: a loss of power leaves all bytes or none."""
    directory = UploadDirectory(tmp_path / "uploads", 0o640)
    location = CustomPath(directory, path) if path else directory
    if isinstance(location, CustomPath):
        location.reserve("final")
    concatenation = Concatenation(location, "final")
    concatenation.begin()
    steps = record_steps(monkeypatch)
    concatenation.commit()
    first, *others = steps
    assert first.startswith("fsync ") and first != "fsync uploads"
    assert others == ["rename final", *(f"fsync {name}" for name in synced)]
    directory.close()
