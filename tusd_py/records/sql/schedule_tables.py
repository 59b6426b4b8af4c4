"""The table of schedules."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlmodel import Field

from tusd_py.records.sql.tables import Instant, RecordsTable


class ScheduleRow(RecordsTable, table=True):
    """A schedule, when it is due, its last run, and which process runs it now."""

    __tablename__ = "schedules"

    name: str = Field(primary_key=True, sa_type=Text)
    timing: str = Field(sa_type=Text)
    due_at: datetime = Field(sa_type=Instant)
    started_at: datetime | None = Field(sa_type=Instant)
    ended_at: datetime | None = Field(sa_type=Instant)
    outcome: str = Field(sa_type=Text)
    detail: str = Field(sa_type=Text)
    holder: str = Field(sa_type=Text)
    lease_until: datetime | None = Field(sa_type=Instant)
