"""The tables of links and access codes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text, text
from sqlmodel import Field

from tusd_py.records.sql.tables import Instant, RecordsTable


class LinkRow(RecordsTable, table=True):
    """A link. ``types`` and ``origins`` are JSON arrays; ``claim`` names the running download of a single use."""

    __tablename__ = "links"
    __table_args__ = (
        Index("ix_links_owner", "kind", "owner", "id"),
        Index("ix_links_kind", "kind", "id"),
        Index(
            "ix_links_settled_at",
            "settled_at",
            sqlite_where=text("settled_at IS NOT NULL"),
        ),
        Index(
            "ix_links_unsettled",
            "expires_at",
            sqlite_where=text("settled_at IS NULL"),
        ),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(sa_type=Text)
    upload_id: str = Field(sa_type=Text)
    owner: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    types: str = Field(sa_type=Text)
    origins: str = Field(sa_type=Text)
    may_download: bool
    is_single_use: bool
    revoked_at: datetime | None = Field(sa_type=Instant)
    used_at: datetime | None = Field(sa_type=Instant)
    settled_at: datetime | None = Field(sa_type=Instant)
    claim: str = Field(sa_type=Text)
    claimed_until: datetime | None = Field(sa_type=Instant)
    bytes_sent: int = Field(sa_type=BigInteger)


class AccessCodeRow(RecordsTable, table=True):
    """An access code, known by its keyed digest only, and what was uploaded with it."""

    __tablename__ = "access_codes"
    __table_args__ = (
        Index("ix_access_codes_owner", "owner", "id"),
        Index("ix_access_codes_expires_at", "expires_at"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    digest: str = Field(unique=True, sa_type=Text)
    owner: str = Field(sa_type=Text)
    label: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    files_max: int | None = Field(sa_type=BigInteger)
    bytes_max: int | None = Field(sa_type=BigInteger)
    files: int = Field(sa_type=BigInteger)
    bytes: int = Field(sa_type=BigInteger)
    terminated_at: datetime | None = Field(sa_type=Instant)
    warned_at: datetime | None = Field(sa_type=Instant)


class CodeGuessesRow(RecordsTable, table=True):
    """The wrong guesses of one address."""

    __tablename__ = "code_guesses"
    __table_args__ = (Index("ix_code_guesses_last_at", "last_at"),)

    address: str = Field(primary_key=True, sa_type=Text)
    count: int = Field(sa_type=BigInteger)
    last_at: datetime = Field(sa_type=Instant)
