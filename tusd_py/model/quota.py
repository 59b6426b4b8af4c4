"""Quotas: what an upload is charged, and the limits that apply. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from tusd_py.model.values import frozen


class Quota(StrEnum):
    """The quotas, by the names of their settings."""

    BYTES_PER_DAY = "bytes_per_day"
    BYTES_PER_MONTH = "bytes_per_month"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaLimits:
    """How much one subject may upload; ``None`` is no limit."""

    bytes_per_day: int | None = None
    bytes_per_month: int | None = None

    def of(self, quota: Quota) -> int | None:
        return self.bytes_per_day if quota is Quota.BYTES_PER_DAY else self.bytes_per_month


@frozen(kw_only=True)
class QuotaCharge:
    """What an upload is charged from a change of its record on, saved in the transaction of that change.

    ``bytes`` replaces the earlier charge of the upload, so that a repetition changes nothing. A final upload is charged
    what it has beyond its parts, whose charges it takes over. ``subject`` and ``periods`` are those of a new upload.
    """

    upload_id: str
    created_at: datetime
    bytes: int
    limits: QuotaLimits
    is_new: bool = False
    subject: str = ""
    periods: Mapping[Quota, str] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    is_settled: bool = False
    frees_parts: bool = False  # a final upload that has ended without bytes


@dataclass(frozen=True, slots=True)
class ExhaustedQuota:
    """The quota that an upload would exceed, with its state at that moment."""

    quota: Quota
    limit: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaUsage:
    """What a subject has used of one quota; ``reserved`` is the part of it whose uploads are not settled."""

    quota: Quota
    period: str
    used: int
    reserved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaDrift:
    """A counter that differs from the sum of the charges behind it."""

    subject: str
    period: str
    counted: int
    charged: int
