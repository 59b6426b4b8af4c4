"""The contracts of accounts with their sessions, and of API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tusd_py.model.account import Account, AccountChanges, ApiKey, LoginSession
from tusd_py.model.audit import AuditEntry
from tusd_py.model.principal import Role


class Accounts(Protocol):
    """Keeps accounts and their sessions. ``audit`` is written in the transaction of a change, if there is one."""

    async def add(self, account: Account, audit: Sequence[AuditEntry] = ()) -> bool:
        """Add an account; False if its name is taken."""
        ...

    async def find(self, name: str) -> Account | None:
        """The account with this name."""
        ...

    async def list_accounts(self, *, after_name: str = "", limit: int = 1000) -> list[Account]:
        """Accounts by name, those after ``after_name``."""
        ...

    async def set_password(
        self, account: Account, password_hash: str, *, revokes: bool, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        """Change the hash; with ``revokes`` end the sessions and tokens too. False if the account has changed."""
        ...

    async def set_disabled(self, name: str, is_disabled: bool, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        """Disable or enable the account, and end its sessions and tokens. False if there is none.

        Disabling also revokes its links and terminates its access codes, in the same transaction.
        """
        ...

    async def set_roles(self, name: str, roles: frozenset[Role], audit: Sequence[AuditEntry] = ()) -> bool:
        """Change the roles. False if there is none."""
        ...

    async def change(
        self, account: Account, changes: AccountChanges, now: datetime, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        """Make all ``changes`` in one transaction, each as the call above does it. False if the account has changed."""
        ...

    async def delete(self, name: str) -> bool:
        """Delete the account with its sessions. False if there is none."""
        ...

    async def open_session(
        self, account: Account, session: LoginSession, *, sessions_max: int, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        """Add a session, note the login, and forget expired sessions. False if the account has changed.

        The account then has ``sessions_max`` sessions at most: those end that were not renewed for the longest time.
        """
        ...

    async def find_session(self, session_id: str) -> tuple[LoginSession, Account] | None:
        """A session with its account."""
        ...

    async def rotate(self, session: LoginSession, digest: str, now: datetime, expires_at: datetime) -> bool:
        """Replace the refresh token of ``session``. False if another request has replaced it already."""
        ...

    async def close_session(self, session_id: str, audit: Sequence[AuditEntry] = ()) -> None:
        """End a session: neither its refresh token nor its access tokens are accepted any more."""
        ...


class ApiKeys(Protocol):
    """Keeps API keys. ``audit`` is written in the transaction of a change, if there is one."""

    async def add(self, key: ApiKey, audit: Sequence[AuditEntry] = ()) -> None:
        """Add a key."""
        ...

    async def find(self, key_id: str) -> ApiKey | None:
        """The key with this id, revoked or not."""
        ...

    async def list_keys(self, *, owner: str = "", after_id: str = "", limit: int = 1000) -> list[ApiKey]:
        """Keys by id, of one owner or of all."""
        ...

    async def revoke(self, key_id: str, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        """Revoke a key. False if no key has this id or it is revoked already."""
        ...

    async def delete_of(self, owner: str) -> int:
        """Delete the keys of an owner; how many there were."""
        ...

    async def used(self, key_id: str, now: datetime) -> None:
        """Record ``now`` as the time of the last use of the key."""
        ...
