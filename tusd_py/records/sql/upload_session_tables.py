"""The tables of sessions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Text
from sqlmodel import Field

from tusd_py.records.sql.tables import Instant, RecordsTable


class UploadSessionRow(RecordsTable, table=True):
    """A session of a client that sends a file in chunks."""

    __tablename__ = "upload_sessions"
    __table_args__ = (
        Index("ix_upload_sessions_created_at", "created_at", "id"),
        Index("ix_upload_sessions_owner", "owner", "created_at", "id"),
        Index("ix_upload_sessions_expires_at", "expires_at"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    owner: str = Field(sa_type=Text)
    metadata_header: str | None = Field(sa_type=Text)
    length: int = Field(sa_type=BigInteger)
    chunk_count: int = Field(sa_type=BigInteger)
    chunk_size: int | None = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=Instant)
    expires_at: datetime | None = Field(sa_type=Instant)
    finalized_at: datetime | None = Field(sa_type=Instant)


class SessionChunkRow(RecordsTable, table=True):
    """The partial upload that one chunk of a session is."""

    __tablename__ = "session_chunks"

    session_id: str = Field(
        primary_key=True, sa_type=Text, sa_column_args=[ForeignKey("upload_sessions.id", ondelete="CASCADE")]
    )
    position: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    upload_id: str = Field(sa_type=Text)
