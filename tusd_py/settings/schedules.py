"""The settings of recurring work."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from tusd_py.model.schedules import parse_timing
from tusd_py.settings.access import check_time_zone
from tusd_py.settings.values import Count, Expects, Section, Text


def check_timing(value: str) -> str:
    """When a schedule is due; empty is never."""
    if value:
        parse_timing(value)
    return value


Timing = Annotated[str, AfterValidator(check_timing), Expects('a time of day such as "03:00", or "every 5 minutes"')]


class SchedulesSettings(Section):
    """When recurring work takes place."""

    time_zone: Annotated[str, AfterValidator(check_time_zone), Expects("a time zone such as Europe/Berlin")] = "UTC"
    seal_audit: Timing = "every 1 minute"
    expire_grants: Timing = "every 5 minutes"
    warn_codes: Timing = "every 5 seconds"
    retention: Timing = "03:00"
    reconcile_quotas: Timing = "04:00"
    backup: Timing = "02:00"
    backup_directory: Text = ""
    backup_bytes: Annotated[Literal["none", "link", "copy"], Expects('"none", "link" or "copy"')] = "none"
    backups_kept: Count = 7
