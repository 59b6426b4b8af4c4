"""Add accounts and change their passwords."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tusd_py.access.passwords import PASSWORD_CHARACTERS_MAX, Passwords
from tusd_py.contracts.accounts import Accounts
from tusd_py.model.account import Account, AccountChanges, account_name
from tusd_py.model.audit import AuditEntry
from tusd_py.model.principal import Role


class AccountProblem(Exception):
    """The account cannot be added or changed like this; the text says why and contains no password."""


class AccountExists(AccountProblem):
    """There is an account with this name."""


class AccountChanged(AccountProblem):
    """Another request has changed or deleted the account at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEditor:
    """The changes of an operator to accounts."""

    accounts: Accounts
    passwords: Passwords
    clock: Callable[[], datetime]
    characters_min: int

    async def add(self, name: str, password: str, roles: frozenset[Role], audit: Sequence[AuditEntry] = ()) -> Account:
        """Add an account. Raises ``AccountProblem``, ``AccountExists`` or ``TooManyLogins``."""
        account = Account(
            id=secrets.token_hex(16),
            name=checked_name(name),
            password_hash=await self._hash(password),
            roles=roles,
            created_at=self.clock(),
        )
        if not await self.accounts.add(account, audit):
            raise AccountExists(f"there is an account named {account.name} already")
        return account

    async def set_password(self, name: str, password: str, audit: Sequence[AuditEntry] = ()) -> None:
        """Change a password; all sessions and tokens of the account end. Raises ``AccountProblem``."""
        account = await self.accounts.find(checked_name(name))
        if account is None:
            raise AccountProblem(f"there is no account named {name}")
        new_hash = await self._hash(password)
        if not await self.accounts.set_password(account, new_hash, revokes=True, audit=audit):
            raise _changed(name)

    async def change(
        self,
        account: Account,
        *,
        password: str | None,
        roles: frozenset[Role] | None,
        is_disabled: bool | None,
        audit: Sequence[AuditEntry] = (),
    ) -> None:
        """Change what is not ``None``, all of it or nothing. Raises ``AccountProblem``, ``AccountChanged``."""
        password_hash = None if password is None else await self._hash(password)
        changes = AccountChanges(password_hash=password_hash, roles=roles, is_disabled=is_disabled)
        if not await self.accounts.change(account, changes, self.clock(), audit):
            raise _changed(account.name)

    async def _hash(self, password: str) -> str:
        if not self.characters_min <= len(password) <= PASSWORD_CHARACTERS_MAX:
            raise AccountProblem(
                f"a password has {self.characters_min} (accounts.password_characters_min) to {PASSWORD_CHARACTERS_MAX} "
                "characters"
            )
        return await self.passwords.hash(password)


def _changed(name: str) -> AccountChanged:
    return AccountChanged(f"the account {name} was changed by another request at the same time: try again")


def checked_name(text: str) -> str:
    """The name of an account as it is kept. Raises ``AccountProblem``."""
    try:
        return account_name(text)
    except ValueError as error:
        raise AccountProblem(str(error)) from None
