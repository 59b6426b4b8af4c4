"""Rows of accounts, sessions and API keys as values, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from tusd_py.model.account import Account, ApiKey, LoginSession
from tusd_py.model.principal import NO_LIMITS, PrincipalLimits, Role, Verb
from tusd_py.records.sql.all_tables import RecordsTable
from tusd_py.records.sql.tables import from_microseconds, to_microseconds

accounts_table = RecordsTable.metadata.tables["accounts"]
sessions_table = RecordsTable.metadata.tables["account_sessions"]
keys_table = RecordsTable.metadata.tables["api_keys"]

ACCOUNT_COLUMNS = [column.name for column in accounts_table.columns]
SESSION_COLUMNS = [column.name for column in sessions_table.columns]
KEY_COLUMNS = [column.name for column in keys_table.columns]


def to_account(row: Sequence[Any]) -> Account:
    found = dict(zip(ACCOUNT_COLUMNS, row, strict=True))
    return Account(
        id=found["id"],
        name=found["name"],
        password_hash=found["password_hash"],
        roles=to_roles(found["roles"]),
        created_at=from_microseconds(found["created_at"]),
        is_disabled=bool(found["is_disabled"]),
        generation=found["generation"],
        logged_in_at=_to_time(found["logged_in_at"]),
    )


def account_row(account: Account) -> dict[str, object]:
    return {
        "id": account.id,
        "name": account.name,
        "password_hash": account.password_hash,
        "roles": words(account.roles),
        "created_at": to_microseconds(account.created_at),
        "is_disabled": account.is_disabled,
        "generation": account.generation,
        "logged_in_at": from_time(account.logged_in_at),
    }


def to_session(row: Sequence[Any]) -> LoginSession:
    found = dict(zip(SESSION_COLUMNS, row, strict=True))
    times = {name: from_microseconds(found[name]) for name in ("created_at", "expires_at", "rotated_at")}
    return LoginSession(**{**found, **times})


def session_row(session: LoginSession) -> dict[str, object]:
    return {
        "id": session.id,
        "account_id": session.account_id,
        "digest": session.digest,
        "created_at": to_microseconds(session.created_at),
        "expires_at": to_microseconds(session.expires_at),
        "rotated_at": to_microseconds(session.rotated_at),
        "rotation": session.rotation,
    }


def to_session_and_account(row: Sequence[Any]) -> tuple[LoginSession, Account]:
    return to_session(row[: len(SESSION_COLUMNS)]), to_account(row[len(SESSION_COLUMNS) :])


def to_key(row: Sequence[Any]) -> ApiKey:
    found = dict(zip(KEY_COLUMNS, row, strict=True))
    return ApiKey(
        id=found["id"],
        digest=found["digest"],
        label=found["label"],
        owner=found["owner"],
        roles=to_roles(found["roles"]),
        verbs=None if found["verbs"] is None else frozenset(Verb(word) for word in found["verbs"].split()),
        created_at=from_microseconds(found["created_at"]),
        expires_at=_to_time(found["expires_at"]),
        revoked_at=_to_time(found["revoked_at"]),
        last_used_at=_to_time(found["last_used_at"]),
        limits=_to_limits(found["length_max"], found["types"]),
    )


def key_row(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "digest": key.digest,
        "label": key.label,
        "owner": key.owner,
        "roles": words(key.roles),
        "verbs": None if key.verbs is None else words(key.verbs),
        "created_at": to_microseconds(key.created_at),
        "expires_at": from_time(key.expires_at),
        "revoked_at": from_time(key.revoked_at),
        "last_used_at": from_time(key.last_used_at),
        "length_max": key.limits.length_max,
        "types": None if key.limits.types is None else " ".join(key.limits.types),
    }


def _to_limits(length_max: int | None, types: str | None) -> PrincipalLimits:
    if length_max is None and types is None:
        return NO_LIMITS
    return PrincipalLimits(length_max=length_max, types=None if types is None else tuple(types.split()))


def to_roles(text: str) -> frozenset[Role]:
    return frozenset(Role(word) for word in text.split())


def words(values: Iterable[str]) -> str:
    return " ".join(sorted(values))


def from_time(at: datetime | None) -> int | None:
    return None if at is None else to_microseconds(at)


def _to_time(number: int | None) -> datetime | None:
    return None if number is None else from_microseconds(number)
