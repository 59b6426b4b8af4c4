"""Logins: what a client can make the server remember and compute."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import cast

import pytest
from argon2 import PasswordHasher

from tusd_py.access.local_counter import LocalCounter
from tusd_py.access.login import Logins
from tusd_py.access.passwords import CLIENT_MAX, Passwords
from tusd_py.access.rates import LoginRate
from tusd_py.access.signing import TokenSigner
from tusd_py.contracts.accounts import Accounts
from tusd_py.model.rates import Rate
from tusd_py.protocol.access_errors import LoginRefused, TooManyLogins

pytestmark = pytest.mark.anyio

ADDRESS = "192.0.2.1"


class NoAccounts:
    async def find(self, name: str) -> None:
        return None


class SlowHasher:
    """Hashes when ``released`` is set."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def hash(self, password: str) -> str:
        assert self.released.wait(10)
        return "hash"

    def verify(self, stored: str, password: str) -> bool:
        return False


class CountingCounter(LocalCounter):
    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()

    async def hit(self, rate: Rate, key: str) -> float:
        self.keys.add(key)
        return await super().hit(rate, key)


async def test_logins_beyond_those_computed_at_once_429_are_not_remembered() -> None:
    """A client that sends a new name with each attempt has as many of them remembered as it has hashes computed."""
    counter, hasher = CountingCounter(), SlowHasher()
    passwords = Passwords(cast(PasswordHasher, hasher))
    logins = Logins(
        accounts=cast(Accounts, NoAccounts()),
        passwords=passwords,
        rate=LoginRate(counter=counter, per_minute=5),
        signer=TokenSigner([("k", b"secret")]),
        clock=lambda: datetime.now(UTC),
        access_seconds=60,
        session_seconds=600,
        sessions_max=9,
    )
    running = [asyncio.create_task(logins.login(f"name{number}", "p", ADDRESS)) for number in range(CLIENT_MAX)]
    await asyncio.sleep(0)
    for number in range(100):
        with pytest.raises(TooManyLogins):
            await logins.login(f"other{number}", "p", ADDRESS)
    assert len(counter.keys) == CLIENT_MAX
    hasher.released.set()
    found = await asyncio.gather(*running, return_exceptions=True)
    assert [type(each) for each in found] == [LoginRefused] * CLIENT_MAX
    passwords.close()
