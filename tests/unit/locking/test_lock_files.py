"""Locks on bytes: of the open file on Linux, of the process elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tusd_py.contracts.locker import LocksUnavailable
from tusd_py.locking.lock_files import LockFiles

KEYS = [f"{number:014x}" for number in (0, 1, 2**52, 2**56 - 1, 2**56 - 2)]

TRY = """
import sys
from pathlib import Path
from tusd_py.locking.lock_files import LockFiles
files = LockFiles(Path(sys.argv[1]))
print(*(files.try_lock(key) for key in sys.argv[2:]))
"""


def made(directory: Path) -> LockFiles:
    directory.mkdir()
    return LockFiles(directory)


def test_each_byte_is_a_lock(tmp_path: Path) -> None:
    """Two open lock files exclude each other byte by byte, up to the last position."""
    first, second = LockFiles(tmp_path), LockFiles(tmp_path)
    assert [first.try_lock(key) for key in KEYS[::2]] == [True] * 3
    assert [second.try_lock(key) for key in KEYS] == [False, True, False, True, False]
    first.unlock(KEYS[2])
    assert second.try_lock(KEYS[2])
    assert not first.try_lock(KEYS[2])
    first.close()
    assert second.try_lock(KEYS[0])
    second.close()


def test_process_locks_exclude_other_processes(tmp_path: Path) -> None:
    """Without open-file locks, the locks of the process exclude other processes as well."""
    files = LockFiles(tmp_path, ofd_command=None)
    assert [files.try_lock(key) for key in KEYS[::2]] == [True] * 3
    files.unlock(KEYS[2])
    command = [sys.executable, "-c", TRY, str(tmp_path), *KEYS]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert printed == ["False", "True", "True", "True", "False"]
    files.close()


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    """A symbolic link at the path of a lock file is not followed."""
    (tmp_path / "uploads-7.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        LockFiles(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("replace", ["removed", "recreated"])
def test_replaced_files_are_noticed(tmp_path: Path, replace: str) -> None:
    """A lock on a file without a name excludes no other process, so none is given; an unlock still works."""
    files = made(tmp_path / "locks")
    assert files.try_lock(KEYS[0])
    (tmp_path / "locks").rename(tmp_path / "old")
    if replace == "recreated":
        assert made(tmp_path / "locks").try_lock(KEYS[0])
    for key in KEYS:
        with pytest.raises(LocksUnavailable, match="restart the server"):
            files.try_lock(key)
    files.unlock(KEYS[0])
    files.close()
