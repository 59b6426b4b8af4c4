"""The ``Upload-Limit`` field: a Dictionary of the maximum size and the remaining lifetime of an upload."""

from __future__ import annotations

from datetime import datetime

from tusd_py.model.upload import Upload
from tusd_py.protocol.draft.structured_fields import INTEGER_MAX, format_dictionary
from tusd_py.protocol.draft.versions import Version
from tusd_py.protocol.rules import Limits


def format_limits(version: Version, limits: Limits, lifetime_seconds: int | None) -> str | None:
    """The field value for an upload with this lifetime (None: it does not expire).

    Returns None for versions of the draft without this field.
    """
    if version.lifetime_key is None:
        return None
    members: dict[str, bool | int | bytes] = {}
    if 0 < limits.length_max <= INTEGER_MAX:
        members["max-size"] = limits.length_max
    if 0 < limits.append_bytes_max <= INTEGER_MAX:
        members["max-append-size"] = limits.append_bytes_max
    if 0 < limits.append_bytes_min <= INTEGER_MAX:
        members["min-append-size"] = limits.append_bytes_min
    if lifetime_seconds is not None:
        members[version.lifetime_key] = min(lifetime_seconds, INTEGER_MAX)
    # Without any limit the field "MUST use `min-size=0` instead of an empty header value".
    return format_dictionary(members or {"min-size": 0})


def lifetime_seconds(upload: Upload, now: datetime, *, to_date: bool = False) -> int | None:
    """The seconds until ``upload`` expires; None if it does not expire.

    With ``to_date`` they are counted between whole seconds, as clients add them to ``Date``: the sum never moves
    earlier from one response to the next.
    """
    if upload.expires_at is None or upload.is_complete or upload.has_ended:
        return None
    if to_date:
        now, expires_at = now.replace(microsecond=0), upload.expires_at.replace(microsecond=0)
        return max(0, int((expires_at - now).total_seconds()))
    return max(0, int((upload.expires_at - now).total_seconds()))
