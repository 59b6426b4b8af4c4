"""The file locker between real processes: takeover, SIGKILL, lost messages, forks."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.lockers import open_file_locker
from tests.support.waiting import eventually
from tusd_py.contracts.locker import LocksUnavailable, LockTimeout
from tusd_py.locking.file import FileLocker

pytestmark = pytest.mark.anyio

LONG = 30.0
_ROOT = Path(__file__).parents[3]

HOLDER = """
import asyncio, os, sys
from pathlib import Path
from tests.support.lockers import open_file_locker


def say(line):
    # One write: two processes share this pipe.
    os.write(1, line.encode() + b"\\n")

async def child(locker):
    taken = await locker.try_acquire("an-upload")
    other = await locker.try_acquire("another")
    say(f"child {taken is None} {other is not None}")
    sys.stdin.read()
    os._exit(0)

async def main(directory, act, times):
    locker = open_file_locker(Path(directory))
    for _ in range(int(times)):
        lock = await locker.acquire("an-upload", 30)
        requested = asyncio.Event()
        lock.on_release_requested(requested.set)
        if act == "fork" and os.fork() == 0:
            asyncio.run(child(locker))
        say("held")
        await requested.wait()
        say("wanted")
        if act == "stay":
            await asyncio.sleep(60)
        await lock.release()
    await locker.close()

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def holder(directory: Path, act: str, times: int = 1) -> Iterator[subprocess.Popen[str]]:
    """Another process that locks an upload and releases it on request ("yield"), or does not ("stay")."""
    command = [sys.executable, "-c", HOLDER, str(directory), act, str(times)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


async def next_line(process: subprocess.Popen[str]) -> str:
    """The next line that the process prints; the event loop runs meanwhile."""
    assert process.stdout is not None
    return (await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 20)).strip()


async def test_takeover_between_processes_within_20_ms(tmp_path: Path) -> None:
    """A holder in another process is asked at once; the median of ``acquire`` is below 20 ms."""
    locker, loop = open_file_locker(tmp_path), asyncio.get_running_loop()
    seconds = []
    with holder(tmp_path, "yield", times=25) as process:
        for _ in range(25):
            assert await next_line(process) == "held"
            start = loop.time()
            lock = await locker.acquire("an-upload", LONG)
            seconds.append(loop.time() - start)
            assert await next_line(process) == "wanted"
            await lock.release()
        assert await asyncio.to_thread(process.wait, 20) == 0
    assert statistics.median(seconds) < 0.02
    await locker.close()


async def test_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    """A holder that ignores the request keeps the lock; killed with SIGKILL it leaves none."""
    locker = open_file_locker(tmp_path)
    with holder(tmp_path, "stay") as process:
        assert await next_line(process) == "held"
        with pytest.raises(LockTimeout):
            await locker.acquire("an-upload", 0.1)
        assert await locker.try_acquire("an-upload") is None
        waiting = asyncio.create_task(locker.acquire("an-upload", LONG))
        assert await next_line(process) == "wanted"
        process.kill()
        lock = await asyncio.wait_for(waiting, 5)
    assert len(list(tmp_path.glob("*.sock"))) == 2
    other = open_file_locker(tmp_path)
    with pytest.raises(LockTimeout):
        await other.acquire("an-upload", 0)
    # The next broadcast has removed the socket of the killed process.
    assert {path.name.split("-")[0] for path in tmp_path.glob("*.sock")} == {str(os.getpid())}
    await lock.release()
    await other.close()
    await locker.close()


async def test_forked_child_starts_without_locks(tmp_path: Path) -> None:
    """A forked child has no locks of its parent, can have its own, and does not keep the parent's after its death."""
    locker = open_file_locker(tmp_path)
    with holder(tmp_path, "fork") as process:
        lines = {await next_line(process), await next_line(process)}
        assert lines == {"held", "child True True"}
        assert await locker.try_acquire("an-upload") is None
        process.kill()
        process.wait()
        assert await locker.try_acquire("another") is None  # the child lives
        lock = await locker.acquire("an-upload", 5)
        await lock.release()
    await locker.close()


async def test_lost_messages_only_delay_takeover(tmp_path: Path) -> None:
    """Without any socket, ``acquire`` still returns soon after the release, since it polls."""
    locker, other = open_file_locker(tmp_path), open_file_locker(tmp_path)
    lock = await locker.acquire("an-upload", LONG)
    waiting = asyncio.create_task(other.acquire("an-upload", LONG))
    requests: list[str] = []
    lock.on_release_requested(lambda: requests.append("wanted"))
    await eventually(lambda: bool(requests))
    for path in tmp_path.glob("*.sock"):
        path.unlink()
    await lock.release()
    await (await asyncio.wait_for(waiting, 5)).release()
    await locker.close()
    await other.close()


async def test_waiter_of_other_process_does_not_starve(tmp_path: Path) -> None:
    """With 20 waiters in the holder's own process, a waiter of another process gets the lock among the first ten."""
    locker, other = open_file_locker(tmp_path), open_file_locker(tmp_path)
    served: list[str] = []

    async def request(which: FileLocker, name: str) -> None:
        lock = await which.acquire("an-upload", LONG)
        served.append(name)
        await asyncio.sleep(0.01)
        await lock.release()

    first = await locker.acquire("an-upload", LONG)
    requests: list[str] = []
    first.on_release_requested(lambda: requests.append("wanted"))
    waiter = asyncio.create_task(request(other, "other"))
    await eventually(lambda: bool(requests))
    crowd = [asyncio.create_task(request(locker, "crowd")) for _ in range(20)]
    await asyncio.sleep(0)
    await first.release()
    await asyncio.gather(waiter, *crowd)
    assert served.index("other") < 10
    await locker.close()
    await other.close()


async def test_forged_messages_are_ignored(tmp_path: Path) -> None:
    """Junk messages are ignored: none names a socket outside the directory or releases a lock."""
    locker = open_file_locker(tmp_path)
    lock = await locker.acquire("an-upload", LONG)
    requests: list[str] = []
    lock.on_release_requested(lambda: requests.append("wanted"))
    (socket_path,) = tmp_path.glob("*.sock")
    key = lock.key.encode()
    junk = [
        b"",
        b"want",
        b"want " + key,
        b"want " + key + b" ../../etc/x.sock",
        b"free " + key,
        b"x" * 5000,
        b"\xff" * 9,
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for message in junk:
            sender.sendto(message, str(socket_path))
        sender.sendto(b"want " + key + b" 1-0123456789abcdef.sock", str(socket_path))
    await eventually(lambda: requests == ["wanted"])
    assert list(lock.waiters) == ["1-0123456789abcdef.sock"]
    assert await locker.try_acquire("an-upload") is None
    await lock.release()  # to a waiter that is gone
    await locker.close()


async def test_directory_is_private_and_close_removes_socket(tmp_path: Path) -> None:
    """The directory has mode 0700, and a closed locker leaves no socket."""
    directory = tmp_path / "locks"
    locker = open_file_locker(directory)
    await (await locker.acquire("an-upload", LONG)).release()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert len(list(directory.glob("*.sock"))) == 1
    await locker.close()
    assert list(directory.glob("*.sock")) == []
    await locker.close()


class FailingFcntl:
    """``fcntl`` in a kernel that has no more locks, for as long as ``fails``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = True
        self._real = fcntl.fcntl
        monkeypatch.setattr(fcntl, "fcntl", self)

    def __call__(self, *arguments: Any) -> Any:
        if self.fails:
            raise OSError(errno.ENOLCK, "No locks available")
        return self._real(*arguments)


async def test_no_locks_available_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that could not be locked once is not locked for the life of the process."""
    locker = open_file_locker(tmp_path / "locks")
    await (await locker.acquire("other", LONG)).release()
    kernel = FailingFcntl(monkeypatch)
    with pytest.raises(LocksUnavailable, match="No locks available"):
        await locker.try_acquire("an-upload")
    with pytest.raises(LocksUnavailable, match="No locks available"):
        await locker.acquire("an-upload", LONG)
    kernel.fails = False
    lock = await locker.try_acquire("an-upload")
    assert lock is not None
    await lock.release()
    await locker.close()


async def test_unlock_that_fails_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next waiter of this process has the lock at once; other processes as soon as the kernel has unlocked it."""
    monkeypatch.setattr("tusd_py.locking.file.UNLOCK_AGAIN_SECONDS", 0.02)
    locker, other = open_file_locker(tmp_path / "locks"), open_file_locker(tmp_path / "locks")
    lock = await locker.acquire("an-upload", LONG)
    kernel = FailingFcntl(monkeypatch)
    await lock.release()
    kernel.fails = False
    again = await locker.try_acquire("an-upload")
    assert again is not None
    await asyncio.sleep(0.1)
    assert await other.try_acquire("an-upload") is None, "it is locked again: the repetition must not unlock it"
    kernel.fails = True
    await again.release()
    kernel.fails = False
    await (await other.acquire("an-upload", LONG)).release()
    await other.close()
    await locker.close()


async def test_removed_directory_stops_running_requests(tmp_path: Path) -> None:
    """New callers are refused and holders are asked to release: another process may lock in a new directory."""
    locker = open_file_locker(tmp_path / "locks")
    lock = await locker.acquire("an-upload", LONG)
    requested: list[str] = []
    lock.on_release_requested(lambda: requested.append("an-upload"))
    shutil.rmtree(tmp_path / "locks")
    for _ in range(2):
        with pytest.raises(LocksUnavailable, match="restart the server"):
            await locker.acquire("another", LONG)
        with pytest.raises(LocksUnavailable, match="restart the server"):
            await locker.try_acquire("another")
    assert ["an-upload"] == requested
    await lock.release()
    await locker.close()
    fresh = open_file_locker(tmp_path / "locks")
    await (await fresh.acquire("another", LONG)).release()
    await fresh.close()
