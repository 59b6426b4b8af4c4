"""The settings of the audit log."""

from __future__ import annotations

from typing import Annotated, Literal

from tusd_py.settings.values import Bool, Confidential, Count, Expects, Seconds, Section


class AuditSettings(Section):
    """The audit log, which records what users do."""

    enabled: Bool = False
    addresses: Annotated[Literal["full", "network", "none"], Expects('"full", "network" or "none"')] = "full"
    downloads: Bool = False
    refusals_per_minute: Count = 10
    seal_key: Annotated[str, Confidential(), Expects("a string")] = ""
    keep_seconds: Seconds = 31536000
