"""The locker of all processes of one host: the kernel keeps the locks, and the processes notify each other."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import weakref
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from tusd_py.contracts.locker import IsGone, LocksUnavailable, LockTimeout
from tusd_py.contracts.notifier import Notifier, OpenNotifier
from tusd_py.locking.lock_files import LockFiles
from tusd_py.locking.memory import MemoryLock, MemoryLocker

#: A caller that waits for another process tries and requests again after this: messages may be lost, holders may die.
POLL_SECONDS = 0.025

#: How long this process leaves an upload to another one that waits for it before its own next waiter takes it.
YIELD_SECONDS = 0.005

#: How long after a failure the system is asked again to unlock an upload.
UNLOCK_AGAIN_SECONDS = 1.0

# Another process that starts may be creating the lock files just now. Only the first attempt waits for it.
_CREATION_SECONDS = 0.5

log = logging.getLogger(__name__)

_MESSAGE = re.compile(rb"(want|free) ([0-9a-f]{14})(?: (\S{1,40}))?")


class FileLock:
    """A lock of a ``FileLocker``: the lock within this process, and its byte in the lock files."""

    was_abandoned = False  # the kernel unlocks what a process holds that has died

    __slots__ = ("_locker", "is_lost", "key", "local", "waiters")

    def __init__(self, locker: FileLocker, key: str, local: MemoryLock) -> None:
        self._locker = locker
        self.key = key
        self.local = local
        self.is_lost = False
        self.waiters: dict[str, None] = {}  # addresses of processes that wait for it, in order

    def on_release_requested(self, callback: Callable[[], None]) -> None:
        self.local.on_release_requested(callback)

    async def release(self) -> None:
        self._locker.release(self)

    def release_now(self) -> None:
        """See ``DirectLock``."""
        self._locker.release(self)


class FileLocker:
    """Locks among all processes of this host that use the same directory, which must be on a local file system.

    ``open_notifier`` opens the notifier of that directory. The locker makes the directory if it is missing (mode 0700)
    and raises ``OSError`` if it cannot. Its files are opened at the first lock, for the running event loop; see
    ``LockFiles`` for ``guard``. A forked child starts without the locks of its parent.
    """

    def __init__(self, directory: Path, open_notifier: OpenNotifier, guard: Path | None = None) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._guard = guard
        self._creation_seconds = _CREATION_SECONDS
        self._open_notifier = open_notifier
        self._local = MemoryLocker()
        self._medium: tuple[LockFiles, Notifier] | None = None
        self._held: dict[str, FileLock] = {}
        self._waiters: dict[str, asyncio.Future[None]] = {}  # callers of this process that wait for another one
        _LOCKERS.add(self)

    async def acquire(self, upload_id: str, timeout_seconds: float, is_gone: IsGone | None = None) -> FileLock:
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        key = _key(upload_id)
        local = await self._local.acquire(key, timeout_seconds)
        try:
            lock_files, notifier = self._medium or self._open()
            if not self._try_lock(lock_files, key):
                await self._wait_for_other_process(lock_files, notifier, key, deadline, is_gone)
        except BaseException:
            local.release_to_next()
            raise
        return self._lock(key, local)

    async def try_acquire(self, upload_id: str) -> FileLock | None:
        return self.try_acquire_now(upload_id)

    def try_acquire_now(self, upload_id: str) -> FileLock | None:
        """See ``DirectLocker``."""
        key = _key(upload_id)
        local = self._local.try_acquire_now(key)
        if local is None:
            return None
        try:
            lock_files, _ = self._medium or self._open()
            if self._try_lock(lock_files, key):
                return self._lock(key, local)
        except BaseException:
            local.release_to_next()
            raise
        local.release_to_next()
        return None

    async def probe(self) -> None:
        lock = await self.try_acquire("")  # the id of no upload; if it is locked, another process probes just now
        if lock is not None:
            await lock.release()

    async def close(self) -> None:
        await self._local.close()
        self._held.clear()
        medium, self._medium = self._medium, None
        if medium is not None:
            lock_files, notifier = medium
            lock_files.close()
            notifier.close()

    def release(self, lock: FileLock) -> None:
        """Release ``lock`` and wake its waiters; nothing if it was released before."""
        if self._medium is None or self._held.get(lock.key) is not lock:
            return
        del self._held[lock.key]
        lock_files, notifier = self._medium
        self._unlock(lock_files, lock.key)
        if not lock.waiters:
            lock.local.release_to_next()
            return
        for name in lock.waiters:
            notifier.send(name, b"free " + lock.key.encode())
        # Otherwise the waiters of this process would be faster each time, and those of other processes would starve.
        asyncio.get_running_loop().call_later(YIELD_SECONDS, lock.local.release_to_next)

    def forget(self) -> None:
        """Drop all locks and close the files: in a forked child, where both belong to the parent."""
        medium, self._medium = self._medium, None
        self._local = MemoryLocker()
        self._held, self._waiters = {}, {}
        if medium is not None:
            lock_files, notifier = medium
            lock_files.close()
            notifier.abandon()

    def _open(self) -> tuple[LockFiles, Notifier]:
        wait_seconds, self._creation_seconds = self._creation_seconds, 0.0
        lock_files = LockFiles(self._directory, self._guard, wait_seconds=wait_seconds)
        try:
            self._medium = lock_files, self._open_notifier(self._on_message)
        except BaseException:
            lock_files.close()
            raise
        return self._medium

    def _try_lock(self, lock_files: LockFiles, key: str) -> bool:
        """Lock the byte of ``key``; return whether it was free. Raises ``LocksUnavailable``."""
        try:
            return lock_files.try_lock(key)
        except LocksUnavailable:
            # If the files were replaced, another process may lock what this one holds: save and stop before that.
            for lock in list(self._held.values()):
                lock.is_lost = True
                lock.local.request_release()
            raise

    def _unlock(self, lock_files: LockFiles, key: str) -> None:
        """Unlock the byte of ``key``, if necessary by repeating it until the system does it."""
        try:
            lock_files.unlock(key)
        except OSError as error:
            log.warning("could not unlock an upload, retrying: %s", error.strerror)
            asyncio.get_running_loop().call_later(UNLOCK_AGAIN_SECONDS, self._unlock_again, lock_files, key)

    def _unlock_again(self, lock_files: LockFiles, key: str) -> None:
        # A new holder in this process unlocks it itself; closed files have unlocked everything.
        if key not in self._held and self._medium is not None and self._medium[0] is lock_files:
            self._unlock(lock_files, key)

    def _lock(self, key: str, local: MemoryLock) -> FileLock:
        self._held[key] = lock = FileLock(self, key, local)
        return lock

    async def _wait_for_other_process(
        self, lock_files: LockFiles, notifier: Notifier, key: str, deadline: float, is_gone: IsGone | None
    ) -> None:
        """Wait until this process has locked the byte that another process has locked now."""
        loop = asyncio.get_running_loop()
        want = f"want {key} {notifier.name}".encode()
        try:
            while True:
                self._waiters[key] = waiter = loop.create_future()
                if is_gone is not None and is_gone():
                    raise LockTimeout("the client has left while its request waited for another process")
                # Sent again each time, since the holder may be another process by now.
                notifier.broadcast(want)
                if self._try_lock(lock_files, key):  # released before the holder received the message
                    return
                remaining = deadline - loop.time()
                if remaining <= 0:
                    raise LockTimeout("this upload is busy in another process")
                timer = loop.call_later(min(remaining, POLL_SECONDS), _wake, waiter)
                try:
                    await waiter
                finally:
                    timer.cancel()
                if self._try_lock(lock_files, key):
                    return
        finally:
            del self._waiters[key]

    def _on_message(self, message: bytes) -> None:
        found = _MESSAGE.fullmatch(message)
        if found is None or self._medium is None:
            return
        verb, key, sender = found[1], found[2].decode(), (found[3] or b"").decode()
        if verb == b"free":
            _wake(self._waiters.get(key))
        elif (lock := self._held.get(key)) is not None and self._medium[1].is_address(sender):
            lock.waiters[sender] = None
            lock.local.request_release()


def _key(upload_id: str) -> str:
    """The position of this upload in the lock files, in hexadecimal.

    If two uploads ever share one, their requests wait for each other, and nothing worse happens.
    """
    return blake2b(upload_id.encode(), digest_size=7).hexdigest()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _forget_all() -> None:
    for locker in _LOCKERS:
        locker.forget()


# A forked child shares the open lock files: the kernel would keep the locks of a dead parent while the child lives.
_LOCKERS: weakref.WeakSet[FileLocker] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forget_all)
