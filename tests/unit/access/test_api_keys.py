"""API keys: which are accepted, for how long one is believed without a look into the database, and as whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from tusd_py.access.api_keys import KEY_SECONDS, ApiKeyVerifier, new_key
from tusd_py.access.errors import TokenInvalid
from tusd_py.contracts.accounts import Accounts, ApiKeys
from tusd_py.model.account import Account, ApiKey
from tusd_py.model.principal import Role, Verb

pytestmark = pytest.mark.anyio

START = datetime(2026, 5, 4, tzinfo=UTC)
Change = Callable[["Keys"], None]


@dataclass
class Keys:
    """One key and its account, in memory, on a clock that tests set; the verifier of such keys."""

    key: ApiKey
    text: bytes
    account: Account | None = None
    seconds: float = 0.0
    looks: int = 0
    used_at: list[datetime] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    async def find(self, name: str) -> Any:
        if name == self.key.owner:
            return self.account
        self.looks += 1
        return self.key if name == self.key.id else None

    async def used(self, _key_id: str, now: datetime) -> None:
        self.used_at.append(now)
        self.key = replace(self.key, last_used_at=now)

    def verifier(self) -> ApiKeyVerifier:
        return ApiKeyVerifier(cast(ApiKeys, self), cast(Accounts, self), lambda: self.now, lambda: self.seconds)


def keys(seconds: float | None = None, roles: frozenset[Role] = frozenset({Role.UPLOADER})) -> Keys:
    key, text = new_key(
        owner="alice",
        label="",
        roles=roles,
        verbs=frozenset({Verb.CREATE}),
        now=START,
        expires_at=None if seconds is None else START + timedelta(seconds=seconds),
    )
    return Keys(key, text.encode())


def alice(*roles: Role, is_disabled: bool = False) -> Account:
    return Account(
        id="1", name="alice", password_hash="", roles=frozenset(roles), created_at=START, is_disabled=is_disabled
    )


async def is_refused(verifier: ApiKeyVerifier, text: bytes) -> bool:
    """Whether the key is refused, and is not recalled either."""
    assert verifier.recall(text) is None or await verifier.verify(text) == verifier.recall(text)
    try:
        await verifier.verify(text)
    except TokenInvalid as refused:
        assert str(refused) == "the key is not accepted"
        assert verifier.recall(text) is None
        return True
    return False


async def test_key_acts_for_its_owner() -> None:
    """The principal has the owner, the roles and the verbs of the key; its use is noted once a minute."""
    found = keys()
    verifier = found.verifier()
    principal = await verifier.verify(found.text)
    assert (principal.subject, principal.method, principal.credential) == ("alice", "key", found.key.id)
    assert principal.roles == {Role.UPLOADER}
    assert principal.verbs == frozenset({Verb.CREATE})
    assert verifier.recall(found.text) == principal
    for found.seconds in (30, 61):
        await verifier.verify(found.text)
    assert found.used_at == [START, START + timedelta(seconds=61)]


async def test_other_texts_are_refused_and_not_remembered() -> None:
    """A wrong secret, an unknown id, and texts that are no key."""
    found = keys()
    verifier = found.verifier()
    changed = found.text[:-1] + (b"A" if found.text[-1:] != b"A" else b"B")
    for text in (changed, found.text + b"A", b"tusd_key_0123456789abcdef_x", b"tusd_key_", b"tusd_key__", b"x" * 300):
        assert await is_refused(verifier, text)


async def test_long_text_causes_no_look() -> None:
    """A text above 256 bytes is refused before the database is asked."""
    found = keys()
    with pytest.raises(TokenInvalid):
        await found.verifier().verify(found.text + b"A" * 256)
    assert found.looks == 0


async def test_key_that_expires_is_refused_at_once() -> None:
    """Although it was accepted a moment ago."""
    found = keys(seconds=KEY_SECONDS / 2)
    verifier = found.verifier()
    assert not await is_refused(verifier, found.text)
    found.seconds = KEY_SECONDS / 2
    assert found.looks == 1
    assert verifier.recall(found.text) is None
    assert await is_refused(verifier, found.text)
    assert await is_refused(found.verifier(), found.text)
    assert await verifier.is_valid(found.key.id), "an upload that runs at the expiry completes"


def _revoke(found: Keys) -> None:
    found.key = replace(found.key, revoked_at=found.now)


def _disable(found: Keys) -> None:
    found.account = alice(Role.UPLOADER, is_disabled=True)


@pytest.mark.parametrize("change", [_revoke, _disable])
async def test_key_that_ends_is_refused_within_two_seconds(change: Change) -> None:
    """A key that was revoked, or whose owner has a disabled account; running uploads do not complete from then on."""
    found = keys()
    found.account = alice(Role.UPLOADER)
    verifier = found.verifier()
    await verifier.verify(found.text)
    change(found)
    assert not await verifier.is_valid(found.key.id)
    found.seconds = KEY_SECONDS - 0.1
    assert not await is_refused(verifier, found.text)
    found.seconds = KEY_SECONDS
    assert verifier.recall(found.text) is None
    assert await is_refused(verifier, found.text)


async def test_key_has_at_most_the_roles_of_its_account() -> None:
    """A key of an owner without an account keeps its own."""
    found = keys(roles=frozenset({Role.ADMIN, Role.UPLOADER}))
    assert (await found.verifier().verify(found.text)).roles == {Role.ADMIN, Role.UPLOADER}
    found.account = alice(Role.UPLOADER, Role.VIEWER)
    assert (await found.verifier().verify(found.text)).roles == {Role.UPLOADER}
