"""Quotas: what an upload is charged, and the limits that apply. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from tusd_py.model.frozen import frozen

#: The period of quotas of what exists now, which no day and no month resets.
NOW = "now"


class Quota(StrEnum):
    """The quotas, by the names of their settings."""

    BYTES_PER_DAY = "bytes_per_day"
    BYTES_PER_MONTH = "bytes_per_month"
    FILES_PER_DAY = "files_per_day"
    FILES_PER_MONTH = "files_per_month"
    BYTES_STORED = "bytes_stored"
    UPLOADS_AT_ONCE = "uploads_at_once"

    @property
    def counts_bytes(self) -> bool:
        """Whether it limits bytes; the others limit files."""
        return self in (Quota.BYTES_PER_DAY, Quota.BYTES_PER_MONTH, Quota.BYTES_STORED)


class QuotaPeriods(NamedTuple):
    """The day and the month to which an upload is charged, and what exists now."""

    day: str
    month: str
    now: str = NOW

    def of(self, quota: Quota) -> str:
        if quota in (Quota.BYTES_STORED, Quota.UPLOADS_AT_ONCE):
            return self.now
        return self.day if quota in (Quota.BYTES_PER_DAY, Quota.FILES_PER_DAY) else self.month


class QuotaLimits(NamedTuple):
    """How much one subject may upload; ``None`` is no limit. The fields have the names of the quotas, in their order.

    In ``QuotaCharge.own_limits`` ``None`` means that the credentials have no limit of their own.
    """

    bytes_per_day: int | None = None
    bytes_per_month: int | None = None
    files_per_day: int | None = None
    files_per_month: int | None = None
    bytes_stored: int | None = None
    uploads_at_once: int | None = None

    def of(self, quota: Quota) -> int | None:
        limit: int | None = getattr(self, quota.value)
        return limit

    def overlaid(self, own: QuotaLimits | None) -> QuotaLimits:
        """These limits, except where ``own`` has some."""
        if own is None:
            return self
        return QuotaLimits(*(limit if mine is None else mine for limit, mine in zip(self, own, strict=True)))

    def replaced(self, limits: SubjectLimits) -> QuotaLimits:
        """These limits, but those of one subject for the quotas that have some."""
        return self._replace(**{quota.value: limit for quota, limit in limits.items()}) if limits else self


#: Limits that were set for one subject. ``None`` is no limit; a quota without an entry follows the settings.
SubjectLimits = Mapping[Quota, int | None]

assert list(QuotaLimits._fields) == [quota.value for quota in Quota]


class QuotaAmounts(NamedTuple):
    """The amounts that one upload is charged."""

    bytes: int = 0  # of its day and month
    files: int = 0  # of its day and month
    stored: int = 0  # bytes, now
    unfinished: int = 0  # uploads, now


@frozen(kw_only=True)
class QuotaCharge:
    """The charge of an upload after a change of its record, saved in the transaction of that change.

    ``amounts`` replace the earlier charge of the upload, so that a repetition changes nothing. A final upload is
    charged what it has beyond its parts, whose charges it takes over. ``subject`` and ``periods`` are those of a new
    upload. ``own_limits`` come with the credentials of the request, before ``limits``; without a request
    (``has_request``) those of the creation apply.
    """

    upload_id: str
    created_at: datetime
    amounts: QuotaAmounts
    limits: QuotaLimits
    own_limits: QuotaLimits | None = None
    has_request: bool = True
    is_new: bool = False
    subject: str = ""
    periods: QuotaPeriods = QuotaPeriods("", "")
    parts: tuple[str, ...] = ()
    is_settled: bool = False
    has_ended: bool = False  # its bytes are gone; if it is a part, a final upload may have them by now
    deletes_rejected: bool = False  # see ``QuotaPolicy``
    frees_parts: bool = False  # a final upload that has ended without bytes


@dataclass(frozen=True, slots=True)
class ExhaustedQuota:
    """The quota that an upload would exceed, with its state at that moment."""

    quota: Quota
    limit: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaUsage:
    """The use of one quota by a subject; ``reserved`` is the part of it whose uploads are not settled."""

    quota: Quota
    period: str
    used: int
    reserved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaDrift:
    """A charge that differs from its record, or a counter that differs from the sum of the charges behind it.

    ``period`` is a day, a month or ``now``, or names the upload of a charge; ``unit`` is what was counted.
    """

    subject: str
    period: str
    unit: str
    counted: int
    charged: int
