"""The audit log as the settings ask for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tusd_py.access.audit import AuditTrail
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.settings import Settings


def audit_trail(settings: Settings, database: SqlDatabase | None, clock: Callable[[], datetime]) -> AuditTrail | None:
    """The audit trail, or ``None`` while the audit log is off."""
    audit = settings.audit
    if database is None or not audit.enabled:
        return None
    return AuditTrail(
        log=database.audit_log,
        clock=clock,
        addresses=audit.addresses,
        records_downloads=audit.downloads,
        refusals_per_minute=audit.refusals_per_minute,
        seal_key=audit.seal_key.encode(),
        keep_seconds=audit.keep_seconds,
    )
