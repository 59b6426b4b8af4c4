"""Locks on bytes: of the open file on Linux, of the process elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tusd_py.contracts.locker import LocksUnavailable
from tusd_py.locking.lock_files import LockFiles

KEYS = [f"{number:014x}" for number in (0, 1, 2**52, 2**56 - 1, 2**56 - 2)]

TRY = """
import sys
from concurrent.futures import ThreadPoolExecutor
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


START = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tusd_py.contracts.locker import LocksUnavailable
from tusd_py.locking.lock_files import LockFiles
directory = Path(sys.argv[1])
directory.mkdir(exist_ok=True)
try:
    files = LockFiles(directory, directory.parent)
except LocksUnavailable as error:
    print(error)
else:
    print(files.try_lock("00000000000000"))
"""


def started(directory: Path) -> str:
    """What a process says that starts now."""
    command = [sys.executable, "-c", START, str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("removed", ["directory", "one file"])
def test_files_removed_while_in_use_are_not_made_anew(tmp_path: Path, removed: str) -> None:
    """A process that starts is refused, since the running one still holds locks on the removed files."""
    directory = tmp_path / "locks"
    directory.mkdir()
    running = LockFiles(directory, tmp_path)
    assert "True" == started(directory)
    assert running.try_lock(KEYS[0])
    assert "False" == started(directory)
    if removed == "directory":
        shutil.rmtree(directory)
    else:
        (directory / "uploads-0.lock").unlink()
    for _ in range(2):
        assert "stop all its processes" in started(directory)
    running.close()
    assert "True" == started(directory)


def test_files_are_made_once_by_processes_that_start_together(tmp_path: Path) -> None:
    """None of them is refused, and they exclude each other."""
    directory = tmp_path / "locks"
    directory.mkdir()
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(lambda _: LockFiles(directory, tmp_path, wait_seconds=10), range(8)))
    assert [files.try_lock(KEYS[0]) for files in opened] == [True] + [False] * 7
    for files in opened:
        files.close()
