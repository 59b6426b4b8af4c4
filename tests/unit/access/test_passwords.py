"""Passwords: what is hashed, and that the time says nothing of whether there is an account."""

from __future__ import annotations

from typing import cast

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from tusd_py.access.passwords import PASSWORD_CHARACTERS_MAX, Passwords

pytestmark = pytest.mark.anyio


class Hasher:
    """Hashes by a prefix, and counts what it verifies."""

    def __init__(self) -> None:
        self.verified: list[tuple[str, str]] = []

    def hash(self, password: str) -> str:
        return f"hash of {password}"

    def verify(self, stored: str, password: str) -> bool:
        self.verified.append((stored, password))
        if stored != f"hash of {password}":
            raise VerifyMismatchError
        return True


@pytest.fixture
def hasher() -> Hasher:
    return Hasher()


@pytest.fixture
def passwords(hasher: Hasher) -> Passwords:
    return Passwords(cast(PasswordHasher, hasher))


async def test_only_the_right_password_is_accepted(passwords: Passwords) -> None:
    """That whose hash is kept."""
    stored = await passwords.hash("right")
    assert await passwords.verify(stored, "right")
    assert not await passwords.verify(stored, "wrong")


async def test_without_an_account_as_much_is_computed(passwords: Passwords, hasher: Hasher) -> None:
    """A client cannot tell by the time whether a name has an account; no password is right then, not even the decoy."""
    assert not await passwords.verify(None, "x")
    ((decoy, _),) = hasher.verified
    assert not await passwords.verify(None, decoy.removeprefix("hash of "))
    assert len(hasher.verified) == 2


async def test_long_password_is_refused_unhashed(passwords: Passwords, hasher: Hasher) -> None:
    """A password above 1024 characters is wrong, also if its hash were kept: it would cost time and memory."""
    fitting = "x" * PASSWORD_CHARACTERS_MAX
    assert await passwords.verify(await passwords.hash(fitting), fitting)
    assert not await passwords.verify(await passwords.hash(fitting + "x"), fitting + "x")
    assert len(hasher.verified) == 1
