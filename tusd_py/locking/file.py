"""The locker of the processes of one host: the kernel keeps the locks, and the processes wake each other."""

from __future__ import annotations

import asyncio
import os
import re
import weakref
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from tusd_py.contracts.locker import LockTimeout
from tusd_py.locking.lock_files import LockFiles
from tusd_py.locking.memory import MemoryLock, MemoryLocker
from tusd_py.notify.datagrams import Mailbox, is_mailbox_name

#: Who waits for another process looks again, and asks again, this often: messages may be lost, holders may be killed.
POLL_SECONDS = 0.025

#: How long this process leaves an upload to another one that asked for it before its own next in line takes it.
STAND_BACK_SECONDS = 0.005

_MESSAGE = re.compile(rb"(want|free) ([0-9a-f]{14})(?: (\S{1,40}))?")


class FileLock:
    """A hold in a ``FileLocker``: the turn among the coroutines of this process, and its byte in the lock files."""

    __slots__ = ("_locker", "askers", "key", "local")

    def __init__(self, locker: FileLocker, key: str, local: MemoryLock) -> None:
        self._locker = locker
        self.key = key
        self.local = local
        self.askers: dict[str, None] = {}  # mailboxes of other processes that want it, in the order they asked

    def on_release_requested(self, tell: Callable[[], None]) -> None:
        self.local.on_release_requested(tell)

    async def release(self) -> None:
        self._locker.let_go(self)


class FileLocker:
    """Holds among all processes of this host that name the same directory; it must lie on a local file system.

    Makes the directory if it is missing (mode 0700) and raises ``OSError`` if it cannot. Opens its files at first
    use, for the running event loop. A forked child begins anew, without the holds of its parent.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._local = MemoryLocker()
        self._medium: tuple[LockFiles, Mailbox] | None = None
        self._held: dict[str, FileLock] = {}
        self._turns: dict[str, asyncio.Future[None]] = {}  # who waits here for another process
        _LOCKERS.add(self)

    async def acquire(self, upload_id: str, timeout_seconds: float) -> FileLock:
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        key = _key(upload_id)
        local = await self._local.acquire(key, timeout_seconds)
        try:
            lock_files, mailbox = self._medium or self._open()
            if not lock_files.try_lock(key):
                await self._contend(lock_files, mailbox, key, deadline)
        except BaseException:
            local.pass_on()
            raise
        return self._hold(key, local)

    async def try_acquire(self, upload_id: str) -> FileLock | None:
        key = _key(upload_id)
        local = await self._local.try_acquire(key)
        if local is None:
            return None
        lock_files, _ = self._medium or self._open()
        if lock_files.try_lock(key):
            return self._hold(key, local)
        local.pass_on()
        return None

    async def close(self) -> None:
        await self._local.close()
        self._held.clear()
        medium, self._medium = self._medium, None
        if medium is not None:
            lock_files, mailbox = medium
            lock_files.close()
            mailbox.close()

    def let_go(self, lock: FileLock) -> None:
        """Give up ``lock``, waking whoever waits for it; nothing if it was given up before."""
        if self._medium is None or self._held.get(lock.key) is not lock:
            return
        del self._held[lock.key]
        lock_files, mailbox = self._medium
        lock_files.unlock(lock.key)
        if not lock.askers:
            lock.local.pass_on()
            return
        for name in lock.askers:
            mailbox.tell(name, b"free " + lock.key.encode())
        # Otherwise those who wait in this process would be faster each time, and the others would starve.
        asyncio.get_running_loop().call_later(STAND_BACK_SECONDS, lock.local.pass_on)

    def forget(self) -> None:
        """Begin anew in a forked child: the locks and the socket belong to the parent."""
        medium, self._medium = self._medium, None
        self._local = MemoryLocker()
        self._held, self._turns = {}, {}
        if medium is not None:
            lock_files, mailbox = medium
            lock_files.close()
            mailbox.abandon()

    def _open(self) -> tuple[LockFiles, Mailbox]:
        lock_files = LockFiles(self._directory)
        try:
            self._medium = lock_files, Mailbox(self._directory, self._hear)
        except BaseException:
            lock_files.close()
            raise
        return self._medium

    def _hold(self, key: str, local: MemoryLock) -> FileLock:
        self._held[key] = lock = FileLock(self, key, local)
        return lock

    async def _contend(self, lock_files: LockFiles, mailbox: Mailbox, key: str, deadline: float) -> None:
        """Wait until the byte is ours; its holder is another process."""
        loop = asyncio.get_running_loop()
        want = f"want {key} {mailbox.name}".encode()
        try:
            while True:
                self._turns[key] = turn = loop.create_future()
                # Asked again each time, since the holder may be another one by now.
                mailbox.tell_all(want)
                if lock_files.try_lock(key):  # it was let go of before the holder could hear
                    return
                left = deadline - loop.time()
                if left <= 0:
                    raise LockTimeout("this upload is busy in another process")
                timer = loop.call_later(min(left, POLL_SECONDS), _wake, turn)
                try:
                    await turn
                finally:
                    timer.cancel()
                if lock_files.try_lock(key):
                    return
        finally:
            del self._turns[key]

    def _hear(self, message: bytes) -> None:
        found = _MESSAGE.fullmatch(message)
        if found is None:
            return
        verb, key, sender = found[1], found[2].decode(), (found[3] or b"").decode()
        if verb == b"free":
            _wake(self._turns.get(key))
        elif (lock := self._held.get(key)) is not None and is_mailbox_name(sender):
            lock.askers[sender] = None
            lock.local.want()


def _key(upload_id: str) -> str:
    """The place of this upload in the lock files, in hexadecimal.

    Should two uploads ever share one, they wait for each other, and that is all.
    """
    return blake2b(upload_id.encode(), digest_size=7).hexdigest()


def _wake(turn: asyncio.Future[None] | None) -> None:
    if turn is not None and not turn.done():
        turn.set_result(None)


def _forget_all() -> None:
    for locker in _LOCKERS:
        locker.forget()


# A child made by fork shares the open lock files: the kernel would keep the locks of a dead parent as long as it lives.
_LOCKERS: weakref.WeakSet[FileLocker] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forget_all)
