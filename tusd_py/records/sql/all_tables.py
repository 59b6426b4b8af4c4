"""``RecordsTable`` with all tables in its metadata: each module of tables is imported here."""

from __future__ import annotations

from tusd_py.records.sql import (
    account_tables,
    audit_tables,
    grant_tables,
    schedule_tables,
    signing_tables,
    store_mark_tables,
    upload_session_tables,
)
from tusd_py.records.sql.tables import RecordsTable

__all__ = [
    "RecordsTable",
    "account_tables",
    "audit_tables",
    "grant_tables",
    "schedule_tables",
    "signing_tables",
    "store_mark_tables",
    "upload_session_tables",
]
