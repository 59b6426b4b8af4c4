"""The ``Upload-Limit`` field: what the operator allows and how long an upload will live, as a Dictionary."""

from __future__ import annotations

from datetime import datetime

from tusd_py.model.upload import Upload
from tusd_py.protocol.draft.structured_fields import INTEGER_MAX, format_dictionary
from tusd_py.protocol.draft.versions import Version
from tusd_py.protocol.rules import Limits


def format_limits(version: Version, limits: Limits, lifetime_seconds: int | None) -> str | None:
    """The field for an upload that has so long to live, None being for ever; None before the draft had this field."""
    if version.lifetime_key is None:
        return None
    members: dict[str, bool | int | bytes] = {}
    if 0 < limits.length_max <= INTEGER_MAX:
        members["max-size"] = limits.length_max
    if lifetime_seconds is not None:
        members[version.lifetime_key] = min(lifetime_seconds, INTEGER_MAX)
    # Without any limit the field "MUST use `min-size=0` instead of an empty header value".
    return format_dictionary(members or {"min-size": 0})


def lifetime_seconds(upload: Upload, now: datetime) -> int | None:
    """How long ``upload`` may still be gone on with; None where nothing ends it."""
    if upload.expires_at is None or upload.is_complete or upload.has_ended:
        return None
    return max(0, int((upload.expires_at - now).total_seconds()))
