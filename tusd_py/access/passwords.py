"""Hashes and verifies passwords with Argon2id, in a few threads: each hash takes tens of milliseconds and 64 MiB."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tusd_py.protocol.access_errors import TooManyLogins
from tusd_py.threads import ThreadPool

if TYPE_CHECKING:
    from argon2 import PasswordHasher

#: How many hashes are computed at once in one process.
THREADS = 2
#: How many may wait, and how many of them may be of one client; more are refused.
WAITING_MAX = 32
CLIENT_MAX = 4
#: Longer passwords are refused without hashing them.
PASSWORD_CHARACTERS_MAX = 1024


class Passwords:
    """Computes hashes for the coroutines of one event loop."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self._hasher = hasher
        self._pool = ThreadPool(THREADS, "passwords")
        self._running: Counter[str] = Counter()
        self._decoy = ""

    async def hash(self, password: str, client: str = "") -> str:
        """The hash of ``password`` with a new salt. Raises ``TooManyLogins``."""
        with self._place(client):
            return await self._pool.run(self._hasher.hash, password)

    async def verify(self, stored: str | None, password: str, client: str = "") -> bool:
        """Whether ``password`` is the one with the hash ``stored``; never for ``None``, after the same time.

        Raises ``TooManyLogins`` if too many passwords are being verified, of ``client`` or altogether.
        """
        if len(password) > PASSWORD_CHARACTERS_MAX:
            return False
        with self._place(client):
            if not self._decoy:
                self._decoy = await self._pool.run(self._hasher.hash, "the password of no account")
            is_right = await self._pool.run(self._verify, stored or self._decoy, password)
        return is_right and stored is not None

    def ensure_free(self, client: str) -> None:
        """Raise ``TooManyLogins`` if ``hash`` and ``verify`` would do so now."""
        if self._running.total() >= WAITING_MAX or self._running[client] >= CLIENT_MAX:
            raise TooManyLogins(1)

    def is_outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """End the threads."""
        self._pool.abandon()

    def _verify(self, stored: str, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    @contextmanager
    def _place(self, client: str) -> Iterator[None]:
        self.ensure_free(client)
        self._running[client] += 1
        try:
            yield
        finally:
            self._running[client] -= 1
            if not self._running[client]:
                del self._running[client]
