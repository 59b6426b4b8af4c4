"""Log in with a password, renew tokens, and log out."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from tusd_py.access.audit import AuditTrail, entries
from tusd_py.access.passwords import Passwords
from tusd_py.access.rates import LoginRate
from tusd_py.access.signing import SignatureInvalid, TokenSigner
from tusd_py.contracts.accounts import Accounts
from tusd_py.model.account import Account, LoginSession, account_name
from tusd_py.model.audit import AuditActor, AuditKind
from tusd_py.protocol.access_errors import LoginRefused, RefreshRefused

log = logging.getLogger(__name__)

#: How principals name this way of authentication.
METHOD = "account"
#: The prefixes of the tokens of accounts.
ACCESS_PREFIX = "tusd_at_"
REFRESH_PREFIX = "tusd_rt_"
#: Two tabs of a browser may renew at the same time: for this long the second one is refused, but not taken for a theft.
_TOGETHER = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """The tokens that a login returns. ``csrf_token`` belongs to the session."""

    account: Account
    access_token: str
    refresh_token: str
    access_seconds: int
    refresh_seconds: int
    csrf_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """Log in, renew tokens and log out. Access tokens last for ``access_seconds``, a session since its last renewal
    for ``session_seconds``. Of one account ``sessions_max`` are open at once.
    """

    accounts: Accounts
    passwords: Passwords
    rate: LoginRate
    signer: TokenSigner
    clock: Callable[[], datetime]
    access_seconds: int
    session_seconds: int
    sessions_max: int

    async def login(self, name: str, password: str, address: str, trail: AuditTrail | None = None) -> IssuedTokens:
        """Open a session. Raises ``LoginRefused``, the same for every reason, or ``TooManyLogins``."""
        try:
            name = account_name(name)
        except ValueError:
            name = ""
        # Before the attempt is counted: else a client could have any number of names remembered without any work.
        self.passwords.ensure_free(address)
        await self.rate.ensure_allowed(name, address)
        account = await self.accounts.find(name) if name else None
        stored = None if account is None or account.is_disabled else account.password_hash
        is_right = await self.passwords.verify(stored, password, address)
        if account is None or not is_right:
            await self.rate.failed(address)
            # A name without an account is recorded nowhere: people type passwords into the wrong field.
            known = "" if account is None else account.name
            log.info("a login was refused", extra={"event": "login_refused", "account": known, "client": address})
            if trail is not None:
                actor = AuditActor(address=address)
                trail.record_refusal(actor, "login", AuditKind.ACCOUNT, known, "401 ERR_LOGIN_REFUSED")
            raise LoginRefused(is_audited=trail is not None)
        await self.rate.succeeded(name, address)
        if self.passwords.is_outdated(account.password_hash):
            new_hash = await self.passwords.hash(password, address)
            await self.accounts.set_password(account, new_hash, revokes=False)
        now = self.clock()
        session_id = secrets.token_urlsafe(16)
        refresh_token = self._refresh_token(session_id, 0)
        session = LoginSession(
            id=session_id,
            account_id=account.id,
            digest=_digest(refresh_token),
            created_at=now,
            expires_at=now + timedelta(seconds=self.session_seconds),
            rotated_at=now,
        )
        actor = AuditActor(account.name, METHOD, address)
        audit = entries(trail, actor, "login", AuditKind.SESSION, session_id)
        if not await self.accounts.open_session(account, session, sessions_max=self.sessions_max, audit=audit):
            raise LoginRefused  # the password was changed, or the account disabled, since it was read
        log.info("logged in", extra={"event": "logged_in", "account": name, "client": address})
        return self._issued(account, session_id, refresh_token, now)

    async def refresh(self, token: str, trail: AuditTrail | None = None) -> IssuedTokens:
        """Replace the refresh token and issue a new access token. Raises ``RefreshRefused``.

        A genuine token that was replaced before has been stolen, or its successor has: the session ends then.
        """
        session_id, rotation = self._parse(token)
        found = await self.accounts.find_session(session_id)
        now = self.clock()
        if found is None or found[1].is_disabled or now >= found[0].expires_at:
            raise RefreshRefused
        session, account = found
        if not hmac.compare_digest(session.digest, _digest(token)):
            if rotation != session.rotation - 1 or now >= session.rotated_at + _TOGETHER:
                actor = AuditActor(account.name, METHOD)
                audit = entries(trail, actor, "revoke", AuditKind.SESSION, session_id, "a refresh token was used twice")
                await self.accounts.close_session(session_id, audit)
                log.warning(
                    "a refresh token was used twice; its session was ended",
                    extra={"event": "refresh_token_replayed", "account": account.name},
                )
            raise RefreshRefused
        refresh_token = self._refresh_token(session_id, session.rotation + 1)
        expires_at = now + timedelta(seconds=self.session_seconds)
        if not await self.accounts.rotate(session, _digest(refresh_token), now, expires_at):
            raise RefreshRefused
        return self._issued(account, session_id, refresh_token, now)

    async def logout(self, token: str, address: str, trail: AuditTrail | None = None) -> None:
        """End the session of a refresh token, also of one that was replaced. Other tokens are ignored."""
        try:
            session_id, _ = self._parse(token)
        except RefreshRefused:
            return
        found = await self.accounts.find_session(session_id)
        if found is not None:
            actor = AuditActor(found[1].name, METHOD, address)
            await self.accounts.close_session(
                session_id, entries(trail, actor, "logout", AuditKind.SESSION, session_id)
            )

    def session_of(self, token: str) -> str:
        """The id of the session of a refresh token. Raises ``RefreshRefused`` for one that is not genuine."""
        return self._parse(token)[0]

    def csrf_token(self, session_id: str) -> str:
        """The CSRF token, which a page sends in a header besides the cookies of the session."""
        return self.signer.digest("csrf", session_id.encode()).hex()

    def is_csrf_token(self, session_id: str, token: str) -> bool:
        """Whether ``token`` belongs to the session."""
        try:
            digest = bytes.fromhex(token)
        except ValueError:
            return False
        return self.signer.is_digest("csrf", session_id.encode(), digest)

    def _issued(self, account: Account, session_id: str, refresh_token: str, now: datetime) -> IssuedTokens:
        expires_at = int(now.timestamp()) + self.access_seconds
        payload = f"{session_id} {account.generation} {expires_at}"
        return IssuedTokens(
            account=account,
            access_token=ACCESS_PREFIX + self.signer.sign("access", payload.encode()),
            refresh_token=refresh_token,
            access_seconds=self.access_seconds,
            refresh_seconds=self.session_seconds,
            csrf_token=self.csrf_token(session_id),
        )

    def _refresh_token(self, session_id: str, rotation: int) -> str:
        payload = f"{session_id} {rotation} {secrets.token_urlsafe(16)}"
        return REFRESH_PREFIX + self.signer.sign("refresh", payload.encode())

    def _parse(self, token: str) -> tuple[str, int]:
        """The session and the rotation of a genuine refresh token. Raises ``RefreshRefused``."""
        if not token.startswith(REFRESH_PREFIX):
            raise RefreshRefused
        try:
            payload = self.signer.verify("refresh", token[len(REFRESH_PREFIX) :].encode("utf-8", "replace"))
        except SignatureInvalid:
            raise RefreshRefused from None
        session_id, rotation, _ = payload.decode().split(" ")
        return session_id, int(rotation)


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
