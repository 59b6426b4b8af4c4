"""The table of signing keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlmodel import Field

from tusd_py.records.sql.tables import Instant, RecordsTable


class SigningKeyRow(RecordsTable, table=True):
    """A secret that this server signs with; it is used only where the settings have none."""

    __tablename__ = "signing_keys"

    name: str = Field(primary_key=True, sa_type=Text)
    secret: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=Instant)
