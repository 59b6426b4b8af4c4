"""The table of store marks."""

from __future__ import annotations

from sqlalchemy import Text
from sqlmodel import Field

from tusd_py.records.sql.tables import RecordsTable


class StoreMarkRow(RecordsTable, table=True):
    """The mark of the store that has the bytes of the uploads; ``name`` says of which."""

    __tablename__ = "store_marks"

    name: str = Field(primary_key=True, sa_type=Text)
    mark: str = Field(sa_type=Text)
