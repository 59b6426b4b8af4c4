"""The tables of accounts, their sessions, and API keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field

from tusd_py.records.sql.tables import Instant, RecordsTable


class AccountRow(RecordsTable, table=True):
    """An account. ``roles`` are words with spaces between them."""

    __tablename__ = "accounts"

    id: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(unique=True, sa_type=Text)
    password_hash: str = Field(sa_type=Text)
    roles: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=Instant)
    is_disabled: bool
    generation: int = Field(sa_type=BigInteger)
    logged_in_at: datetime | None = Field(sa_type=Instant)


class LoginSessionRow(RecordsTable, table=True):
    """A login of an account."""

    __tablename__ = "account_sessions"
    __table_args__ = (
        Index("ix_account_sessions_account_id", "account_id"),
        Index("ix_account_sessions_expires_at", "expires_at"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    account_id: str = Field(sa_type=Text)
    digest: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    rotated_at: datetime = Field(sa_type=Instant)
    rotation: int = Field(sa_type=BigInteger)


class ApiKeyRow(RecordsTable, table=True):
    """An API key. ``roles``, ``verbs`` and ``types`` are words with spaces between them.

    Without verbs the roles decide, and without ``length_max`` or ``types`` the settings.
    """

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys_owner", "owner", "id"),)

    id: str = Field(primary_key=True, sa_type=Text)
    digest: str = Field(sa_type=Text)
    label: str = Field(sa_type=Text)
    owner: str = Field(sa_type=Text)
    roles: str = Field(sa_type=Text)
    verbs: str | None = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=Instant)
    expires_at: datetime | None = Field(sa_type=Instant)
    revoked_at: datetime | None = Field(sa_type=Instant)
    last_used_at: datetime | None = Field(sa_type=Instant)
    length_max: int | None = Field(sa_type=BigInteger)
    types: str | None = Field(sa_type=Text)
