"""Access tokens of accounts: which are accepted, and how soon a change of the account shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tusd_py.access.account_tokens import SESSION_SECONDS, AccountTokenVerifier, session_of
from tusd_py.access.errors import TokenExpired, TokenInvalid
from tusd_py.access.login import ACCESS_PREFIX
from tusd_py.access.signing import TokenSigner
from tusd_py.contracts.accounts import Accounts
from tusd_py.model.account import Account, LoginSession
from tusd_py.model.principal import Role

pytestmark = pytest.mark.anyio

START = datetime(2026, 5, 4, tzinfo=UTC)
SIGNER = TokenSigner([("k1", b"a secret of these tests, 32 bytes")])
LIFE_SECONDS, EXPIRED_HEAD_SECONDS = 900, 3600
Change = Callable[["Session"], None]


@dataclass
class Session:
    """One session of one account, in memory, on a clock that tests set; the verifier of its tokens."""

    account: Account
    seconds: float = 0.0
    is_open: bool = True

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    @property
    def token(self) -> bytes:
        """A token that is issued now."""
        expires_at = int(self.now.timestamp()) + LIFE_SECONDS
        payload = f"s1 {self.account.generation} {expires_at}"
        return (ACCESS_PREFIX + SIGNER.sign("access", payload.encode())).encode()

    async def find(self, name: str) -> Account | None:
        return self.account if name == self.account.name else None

    async def find_session(self, session_id: str) -> tuple[LoginSession, Account] | None:
        if session_id != "s1" or not self.is_open:
            return None
        end = START + timedelta(days=1)
        session = LoginSession(id="s1", account_id="1", digest="", created_at=START, expires_at=end, rotated_at=START)
        return session, self.account

    def verifier(self) -> AccountTokenVerifier:
        accounts = cast(Accounts, self)
        return AccountTokenVerifier(accounts, SIGNER, lambda: self.now, lambda: self.seconds, EXPIRED_HEAD_SECONDS)


def session() -> Session:
    roles = frozenset({Role.UPLOADER})
    return Session(Account(id="1", name="alice", password_hash="", roles=roles, created_at=START))


async def test_token_acts_for_its_account() -> None:
    """The principal has the name and the roles of the account, and the session of the token."""
    found = session()
    verifier = found.verifier()
    principal = await verifier.verify(found.token)
    assert (principal.subject, session_of(principal)) == ("alice", "s1")
    assert principal.roles == {Role.UPLOADER}
    assert verifier.recall(found.token) == principal
    assert await verifier.is_valid(principal.credential)


@pytest.mark.parametrize("purpose", ["refresh", "csrf", "link"])
async def test_text_that_was_signed_for_something_else_is_refused(purpose: str) -> None:
    """Although its content is that of an access token."""
    text = ACCESS_PREFIX + SIGNER.sign(purpose, f"s1 0 {2**40}".encode())
    with pytest.raises(TokenInvalid):
        await session().verifier().verify(text.encode())


async def test_token_that_expires_is_refused_at_once() -> None:
    """HEAD accepts it for a while, and its principal says so."""
    found = session()
    verifier, token = found.verifier(), found.token
    await verifier.verify(token)
    found.seconds = LIFE_SECONDS
    assert verifier.recall(token) is None
    with pytest.raises(TokenExpired):
        await verifier.verify(token)
    assert (await verifier.verify(token, allow_expired=True)).is_expired
    assert verifier.recall(token) is None
    found.seconds = LIFE_SECONDS + EXPIRED_HEAD_SECONDS
    with pytest.raises(TokenExpired):
        await verifier.verify(token, allow_expired=True)


def _log_out(found: Session) -> None:
    found.is_open = False


def _disable(found: Session) -> None:
    found.account = replace(found.account, is_disabled=True)


def _new_password(found: Session) -> None:
    found.account = replace(found.account, generation=1)


@pytest.mark.parametrize("change", [_log_out, _disable, _new_password])
async def test_token_that_ends_is_refused_within_two_seconds(change: Change) -> None:
    """After a logout, and when the account is disabled or has a new password."""
    found = session()
    verifier, token = found.verifier(), found.token
    principal = await verifier.verify(token)
    change(found)
    assert await verifier.is_valid(principal.credential) == (change is _log_out), "running uploads of others end"
    found.seconds = SESSION_SECONDS - 0.1
    assert await verifier.verify(token) == verifier.recall(token) == principal
    found.seconds = SESSION_SECONDS
    assert verifier.recall(token) is None
    with pytest.raises(TokenInvalid, match="revoked"):
        await verifier.verify(token)
    assert verifier.recall(token) is None


async def test_token_from_before_a_new_password_is_refused_beside_one_from_after_it() -> None:
    """Both are of the same session, whose present state is known."""
    found = session()
    verifier, before = found.verifier(), found.token
    await verifier.verify(before)
    _new_password(found)
    found.seconds = SESSION_SECONDS
    assert (await verifier.verify(found.token)).subject == "alice"
    assert verifier.recall(before) is None
    with pytest.raises(TokenInvalid, match="revoked"):
        await verifier.verify(before)
