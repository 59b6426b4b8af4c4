"""The tables of the database, as SQLModel classes. ``rows`` and ``job_rows`` convert their rows to values.

The condition of a partial index stands here for SQLite only. It is the same in PostgreSQL, for which the migrations
state it: here it would load SQLAlchemy's part for PostgreSQL at each start, whatever the database.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Dialect, ForeignKey, Index, Integer, MetaData, Text, text
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(at: datetime) -> int:
    """The instant as a whole number of microseconds since 1970, exactly."""
    return (at - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The instant, aware, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


class Instant(TypeDecorator[datetime]):
    """A point in time, kept as whole microseconds since 1970.

    A number is exact, sorts the same in every database, and never comes back without its time zone as SQLite's
    datetimes do. It also costs a fifth of the text form to write and read, once or twice for each request.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_microseconds(value)


class ComparedJson(TypeDecorator[Any]):
    """JSON that can be compared, for a partial index: on PostgreSQL a JSONB, which cannot hold U+0000."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON())
        # Loaded only where it is used: it takes a tenth of the time that SQLAlchemy takes.
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB())


# PostgreSQL's JSON keeps the text as it is.
_Json = JSON()
# Compared and sorted the same in every database: a prefix is a range then.
_ByCodePoints = Text().with_variant(Text(collation="C"), "postgresql")


class RecordsTable(SQLModel):
    """The base of all tables, with metadata of its own: a host application may have SQLModel tables too."""

    # Constraints are named by a convention, since a later migration can only drop one whose name it knows.
    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


#: Uploads that the server must continue by itself after a restart: hooks to invoke, final uploads to assemble. Those
#: with pending steps are left out, since they have jobs.
NEEDS_RECOVERY = "(status = 'processing' AND pending_steps = '[]') OR (kind = 'final' AND status = 'uploading')"


class UploadRow(RecordsTable, table=True):
    """One upload or tombstone. The parts of a final upload are rows of ``upload_parts``."""

    __tablename__ = "uploads"
    __table_args__ = (
        # Partial: the sweeper and the restart need few rows among many, and most changes touch neither index.
        Index(
            "ix_uploads_expires_at",
            "expires_at",
            "id",
            sqlite_where=text("expires_at IS NOT NULL"),
        ),
        Index(
            "ix_uploads_needing_recovery",
            "id",
            sqlite_where=text(NEEDS_RECOVERY),
        ),
        Index(
            "ix_uploads_grant",
            "grant",
            "created_at",
            "id",
            sqlite_where=text("\"grant\" <> ''"),
        ),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    # Bytes: a plain int would become a column of 32 bits on PostgreSQL.
    length: int | None = Field(sa_type=BigInteger)
    offset: int = Field(sa_type=BigInteger)
    token: int = Field(sa_type=BigInteger)
    metadata_header: str | None = Field(sa_type=Text)
    concat_header: str | None = Field(sa_type=Text)
    owner: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)
    expires_at: datetime | None = Field(sa_type=Instant)
    completed_at: datetime | None = Field(sa_type=Instant)
    history: list[dict[str, Any]] = Field(sa_type=_Json)
    pending_steps: list[str] = Field(sa_type=ComparedJson, sa_column_kwargs={"server_default": "[]"})
    storage: dict[str, Any] = Field(sa_type=_Json)
    grant: str = Field(sa_type=Text, sa_column_kwargs={"server_default": ""})
    length_max: int | None = Field(sa_type=BigInteger)
    # For lists: derived from the metadata and the history, and read by nothing else.
    name_key: str = Field(sa_type=_ByCodePoints, sa_column_kwargs={"server_default": ""})
    declared_type: str = Field(sa_type=Text, sa_column_kwargs={"server_default": ""})
    detected_type: str = Field(sa_type=Text, sa_column_kwargs={"server_default": ""})


class UploadPartRow(RecordsTable, table=True):
    """One part of a final upload, at its position. The same upload may be a part of several final uploads."""

    __tablename__ = "upload_parts"
    __table_args__ = (Index("ix_upload_parts_part_id", "part_id"),)

    final_id: str = Field(primary_key=True, sa_type=Text, sa_column_args=[ForeignKey("uploads.id", ondelete="CASCADE")])
    position: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    part_id: str = Field(sa_type=Text)


# SQLite numbers rows by itself only if the type of the column is INTEGER.
_Number = BigInteger().with_variant(Integer, "sqlite")

# Without it SQLite would reuse the number of the newest row once that row is deleted.
_NEVER_REUSE_IDS = {"sqlite_autoincrement": True}


class EventRow(RecordsTable, table=True):
    """An event of an upload, numbered in the order in which events were recorded."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_upload_id", "upload_id", "seq"),
        Index("ix_events_at", "at", "seq"),
        _NEVER_REUSE_IDS,
    )

    seq: int | None = Field(primary_key=True, sa_type=_Number)
    id: str = Field(unique=True, sa_type=Text)
    type: str = Field(sa_type=Text)
    upload_id: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=Instant)
    #: The upload as it was then, and the request that caused the event.
    body: dict[str, Any] = Field(sa_type=_Json)


class JobRow(RecordsTable, table=True):
    """A job and its state.

    The partial indexes leave out the many jobs that are done. ``ix_jobs_ready`` has only the head of each sequence, by
    lane, so that neither a long sequence nor a slow subscription makes a claim slower for the others.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "ix_jobs_ready",
            "lane",
            "next_attempt_at",
            "id",
            sqlite_where=text("is_head"),
        ),
        Index(
            "ix_jobs_sequence_key",
            "sequence_key",
            "id",
            sqlite_where=text("ended_at IS NULL"),
        ),
        Index(
            "ix_jobs_done",
            "ended_at",
            "id",
            sqlite_where=text("state = 'done'"),
        ),
        Index(
            "ix_jobs_state",
            "state",
            "id",
            sqlite_where=text("state <> 'done'"),
        ),
        Index("ix_jobs_upload_id", "upload_id", "id"),
        _NEVER_REUSE_IDS,
    )

    id: int | None = Field(primary_key=True, sa_type=_Number)
    actor: str = Field(sa_type=Text)
    subscription: str = Field(sa_type=Text)
    key: str = Field(unique=True, sa_type=Text)
    sequence_key: str = Field(sa_type=Text)
    upload_id: str = Field(sa_type=Text)
    event_id: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    attempt: int = Field(sa_type=BigInteger)
    token: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=Instant)
    next_attempt_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(sa_type=Instant)
    error: str = Field(sa_type=Text)
    #: Starts of the actor since the end of an attempt was last recorded.
    starts: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    lane: str = Field(sa_type=Text, sa_column_kwargs={"server_default": ""})
    #: Whether the job has not ended and no earlier job of its sequence is unfinished.
    is_head: bool


class EndpointStateRow(RecordsTable, table=True):
    """A closed webhook endpoint; an endpoint without a row is open."""

    __tablename__ = "endpoint_state"

    name: str = Field(primary_key=True, sa_type=Text)
    state: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    since: datetime = Field(sa_type=Instant)


class HookCountRow(RecordsTable, table=True):
    """How often workers have delivered a hook, and failed to."""

    __tablename__ = "hook_counts"

    hook: str = Field(primary_key=True, sa_type=Text)
    invocations: int = Field(sa_type=BigInteger)
    errors: int = Field(sa_type=BigInteger)


class LockRow(RecordsTable, table=True):
    """A lease of an upload, on PostgreSQL in an unlogged table. ``ends_at`` is in milliseconds since 1970."""

    __tablename__ = "locks"

    key: str = Field(primary_key=True, sa_type=Text)
    owner: str = Field(sa_type=Text)
    ends_at: int = Field(sa_type=BigInteger)


# One tree less to write to for each creation.
_ROWS_IN_KEY_ORDER = {"sqlite_with_rowid": False}


class QuotaChargeRow(RecordsTable, table=True):
    """What one upload is charged. ``taken_by`` is the final upload that its part belongs to, empty if there is none.

    ``own_limits`` are those of the credentials with which it was created, as JSON, empty if they have none.
    """

    __tablename__ = "quota_charges"
    __table_args__ = (
        Index("ix_quota_charges_subject_month", "subject", "month"),
        Index(
            "ix_quota_charges_taken_by",
            "taken_by",
            sqlite_where=text("taken_by <> ''"),
        ),
        _ROWS_IN_KEY_ORDER,
    )

    # In this order, so that charges of the same time are neighbours: a creation changes no page of its own.
    created_at: datetime = Field(primary_key=True, sa_type=Instant)
    upload_id: str = Field(primary_key=True, sa_type=Text)
    subject: str = Field(sa_type=Text)
    day: str = Field(sa_type=Text)
    month: str = Field(sa_type=Text)
    bytes: int = Field(sa_type=BigInteger)
    is_settled: bool
    taken_by: str = Field(sa_type=Text)
    files: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    stored: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    unfinished: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    own_limits: str = Field(sa_type=Text, sa_column_kwargs={"server_default": ""})


class QuotaCounterRow(RecordsTable, table=True):
    """The sum of the charges of one subject in one day or month, or now: then of ``stored`` and ``unfinished``."""

    __tablename__ = "quota_counters"
    __table_args__ = _ROWS_IN_KEY_ORDER

    subject: str = Field(primary_key=True, sa_type=Text)
    period: str = Field(primary_key=True, sa_type=Text)
    bytes: int = Field(sa_type=BigInteger)
    files: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})


class QuotaLimitsRow(RecordsTable, table=True):
    """Limits for one subject, instead of those of the settings and of its credentials.

    ``set_quotas`` names the quotas for which they are, separated by spaces; null in rows that limit every quota.
    """

    __tablename__ = "quota_limits"

    subject: str = Field(primary_key=True, sa_type=Text)
    bytes_per_day: int | None = Field(sa_type=BigInteger)
    bytes_per_month: int | None = Field(sa_type=BigInteger)
    files_per_day: int | None = Field(sa_type=BigInteger)
    files_per_month: int | None = Field(sa_type=BigInteger)
    bytes_stored: int | None = Field(sa_type=BigInteger)
    uploads_at_once: int | None = Field(sa_type=BigInteger)
    set_quotas: str | None = Field(sa_type=Text)
