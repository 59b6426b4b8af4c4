"""The file locker between real processes: taking over, sudden death, lost messages, forks."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.loops import eventually, on_loop
from tusd_py.contracts.locker import LockTimeout
from tusd_py.locking.file import FileLocker

LONG = 30.0

HOLDER = """
import asyncio, os, sys
from pathlib import Path
from tusd_py.locking.file import FileLocker

def say(line):
    # In one piece: two processes write to this pipe.
    os.write(1, line.encode() + b"\\n")

async def child(locker):
    taken = await locker.try_acquire("an-upload")
    other = await locker.try_acquire("another")
    say(f"child {taken is None} {other is not None}")
    sys.stdin.read()
    os._exit(0)

async def main(directory, act, times):
    locker = FileLocker(Path(directory))
    for _ in range(int(times)):
        hold = await locker.acquire("an-upload", 30)
        wanted = asyncio.Event()
        hold.on_release_requested(wanted.set)
        if act == "fork" and os.fork() == 0:
            asyncio.run(child(locker))
        say("held")
        await wanted.wait()
        say("wanted")
        if act == "stay":
            await asyncio.sleep(60)
        await hold.release()
    await locker.close()

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def holder(directory: Path, act: str, times: int = 1) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds an upload and lets go when asked ("yield"), or does not ("stay")."""
    command = [sys.executable, "-c", HOLDER, str(directory), act, str(times)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def said(process: subprocess.Popen[str]) -> str:
    """The next line it prints, without keeping the event loop from its work."""
    assert process.stdout is not None
    return (await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 20)).strip()


@on_loop
async def test_takes_over_from_another_process_quickly(tmp_path: Path) -> None:
    """A holder in another process hears at once, and the newcomer has the upload within 20 ms at the median."""
    locker, loop = FileLocker(tmp_path), asyncio.get_running_loop()
    seconds = []
    with holder(tmp_path, "yield", times=25) as process:
        for _ in range(25):
            assert await said(process) == "held"
            start = loop.time()
            lock = await locker.acquire("an-upload", LONG)
            seconds.append(loop.time() - start)
            assert await said(process) == "wanted"
            await lock.release()
        assert await asyncio.to_thread(process.wait, 20) == 0
    assert statistics.median(seconds) < 0.02
    await locker.close()


@on_loop
async def test_killed_holder_leaves_nothing(tmp_path: Path) -> None:
    """A holder that ignores the asking keeps the upload; killed with -9 it leaves no lock."""
    locker = FileLocker(tmp_path)
    with holder(tmp_path, "stay") as process:
        assert await said(process) == "held"
        with pytest.raises(LockTimeout):
            await locker.acquire("an-upload", 0.1)
        assert await locker.try_acquire("an-upload") is None
        waiting = asyncio.create_task(locker.acquire("an-upload", LONG))
        assert await said(process) == "wanted"
        process.kill()
        lock = await asyncio.wait_for(waiting, 5)
    assert len(list(tmp_path.glob("*.sock"))) == 2
    other = FileLocker(tmp_path)
    with pytest.raises(LockTimeout):
        await other.acquire("an-upload", 0)
    # Whoever asked next has removed the mailbox of the dead.
    assert {path.name.split("-")[0] for path in tmp_path.glob("*.sock")} == {str(os.getpid())}
    await lock.release()
    await other.close()
    await locker.close()


@on_loop
async def test_forked_child_has_nothing_of_its_parent(tmp_path: Path) -> None:
    """A forked child does not hold its parent's uploads, can hold its own, and does not outlive the parent's locks."""
    locker = FileLocker(tmp_path)
    with holder(tmp_path, "fork") as process:
        lines = {await said(process), await said(process)}
        assert lines == {"held", "child True True"}
        assert await locker.try_acquire("an-upload") is None
        process.kill()
        process.wait()
        assert await locker.try_acquire("another") is None  # the child lives
        lock = await locker.acquire("an-upload", 5)
        await lock.release()
    await locker.close()


@on_loop
async def test_lost_messages_only_cost_time(tmp_path: Path) -> None:
    """Without any mailbox the newcomer still gets the upload soon after it is free: it looks again by itself."""
    locker, other = FileLocker(tmp_path), FileLocker(tmp_path)
    lock = await locker.acquire("an-upload", LONG)
    waiting = asyncio.create_task(other.acquire("an-upload", LONG))
    told: list[str] = []
    lock.on_release_requested(lambda: told.append("wanted"))
    await eventually(lambda: bool(told))
    for path in tmp_path.glob("*.sock"):
        path.unlink()
    await lock.release()
    await (await asyncio.wait_for(waiting, 5)).release()
    await locker.close()
    await other.close()


@on_loop
async def test_no_process_starves(tmp_path: Path) -> None:
    """With a crowd waiting in the holder's own process, one that waits in another still gets its turn among them."""
    locker, other = FileLocker(tmp_path), FileLocker(tmp_path)
    served: list[str] = []

    async def request(which: FileLocker, name: str) -> None:
        lock = await which.acquire("an-upload", LONG)
        served.append(name)
        await asyncio.sleep(0.01)
        await lock.release()

    first = await locker.acquire("an-upload", LONG)
    told: list[str] = []
    first.on_release_requested(lambda: told.append("wanted"))
    stranger = asyncio.create_task(request(other, "stranger"))
    await eventually(lambda: bool(told))
    crowd = [asyncio.create_task(request(locker, "crowd")) for _ in range(20)]
    await asyncio.sleep(0)
    await first.release()
    await asyncio.gather(stranger, *crowd)
    assert served.index("stranger") < 10
    await locker.close()
    await other.close()


@on_loop
async def test_forged_messages_change_nothing(tmp_path: Path) -> None:
    """Junk in the mailbox is ignored: no message names a file outside the directory or frees what is held."""
    locker = FileLocker(tmp_path)
    lock = await locker.acquire("an-upload", LONG)
    told: list[str] = []
    lock.on_release_requested(lambda: told.append("wanted"))
    (box,) = tmp_path.glob("*.sock")
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
            sender.sendto(message, str(box))
        sender.sendto(b"want " + key + b" 1-0123456789abcdef.sock", str(box))
    await eventually(lambda: told == ["wanted"])
    assert list(lock.askers) == ["1-0123456789abcdef.sock"]
    assert await locker.try_acquire("an-upload") is None
    await lock.release()  # to an asker that is gone
    await locker.close()


@on_loop
async def test_files_are_private_and_sockets_removed(tmp_path: Path) -> None:
    """Only the server's user may look into the directory, and a closed locker leaves no socket."""
    directory = tmp_path / "locks"
    locker = FileLocker(directory)
    await (await locker.acquire("an-upload", LONG)).release()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert len(list(directory.glob("*.sock"))) == 1
    await locker.close()
    assert list(directory.glob("*.sock")) == []
    await locker.close()
