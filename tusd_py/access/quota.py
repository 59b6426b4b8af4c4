"""Which quota an upload is charged to, and how much. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from tusd_py.model.caller import Caller
from tusd_py.model.principal import Principal
from tusd_py.model.quota import ExhaustedQuota, Quota, QuotaCharge, QuotaLimits, QuotaUsage
from tusd_py.model.steps import QUOTA
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.access_errors import QuotaReached
from tusd_py.views import format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaPolicy:
    """The operator's quotas. Days and months are those of ``zone``."""

    limits: QuotaLimits
    zone: tzinfo = UTC

    def charge(self, before: Upload | None, after: Upload, caller: Caller | None) -> QuotaCharge | None:
        """What the change of a record from ``before`` (``None``: a new record) to ``after`` charges; ``None``: nothing.

        The bytes of an upload count on the day of its creation.
        """
        is_settled = after.has_ended or after.status is Status.MOVED or QUOTA.is_passed(before, after)
        if before is not None and charged_bytes(before) == charged_bytes(after) and not is_settled:
            return None
        limits = self.limits_for(None if caller is None else caller.principal)
        if before is not None:
            return QuotaCharge(
                upload_id=after.id,
                created_at=after.created_at,
                bytes=charged_bytes(after),
                limits=limits,
                is_settled=is_settled,
                frees_parts=after.kind is Kind.FINAL and after.has_ended and not after.is_complete,
            )
        return QuotaCharge(
            upload_id=after.id,
            created_at=after.created_at,
            bytes=charged_bytes(after),
            limits=limits,
            is_new=True,
            subject=subject_of(after.owner, "" if caller is None else caller.client),
            periods=self.periods(after.created_at),
            parts=after.parts,
            is_settled=is_settled,
        )

    def limits_for(self, principal: Principal | None) -> QuotaLimits:
        """The limits of ``principal``: those of its credentials before those of the settings."""
        if principal is None:
            return self.limits
        own, limits = principal.limits, self.limits
        return QuotaLimits(
            bytes_per_day=limits.bytes_per_day if own.bytes_per_day is None else own.bytes_per_day,
            bytes_per_month=limits.bytes_per_month if own.bytes_per_month is None else own.bytes_per_month,
        )

    def periods(self, at: datetime) -> Mapping[Quota, str]:
        """The day and the month of ``at``."""
        text = at.astimezone(self.zone).isoformat()
        return {Quota.BYTES_PER_DAY: text[:10], Quota.BYTES_PER_MONTH: text[:7]}

    def resets_at(self, quota: Quota, at: datetime) -> datetime:
        """When the day or the month of ``at`` ends."""
        local = at.astimezone(self.zone)
        if quota is Quota.BYTES_PER_DAY:
            date = local.date() + timedelta(days=1)
        else:
            date = (local.date().replace(day=1) + timedelta(days=32)).replace(day=1)
        # From the date: the day of a change of the clocks has 23 or 25 hours.
        return datetime(date.year, date.month, date.day, tzinfo=self.zone).astimezone(UTC)

    def refusal(self, exhausted: ExhaustedQuota, created_at: datetime) -> QuotaReached:
        """The error for a client whose upload, created at this time, does not fit into its quota."""
        resets_at = self.resets_at(exhausted.quota, created_at)
        return QuotaReached(exhausted.quota.value, exhausted.limit, exhausted.used, f"{resets_at:%Y-%m-%dT%H:%M:%SZ}")


def subject_of(owner: str, address: str) -> str:
    """The name under which an owner, or else an anonymous client at ``address``, is charged."""
    return f"user:{owner}" if owner else f"address:{address}"


def charged_bytes(upload: Upload) -> int:
    """How many bytes ``upload`` counts for: its length once it is known, and what it has got once it has ended."""
    if upload.is_complete:
        return upload.offset
    if upload.has_ended or upload.status is Status.FAILED:
        return 0 if upload.kind is Kind.FINAL else upload.offset
    if upload.length is not None:
        return upload.length
    # The quota of an upload link is reserved when the link is made.
    return upload.offset if upload.length_max is None else upload.length_max


def quota_view(policy: QuotaPolicy, usage: QuotaUsage, limits: QuotaLimits, now: datetime) -> dict[str, object]:
    """One quota as a JSON value: limit (null: none), used, reserved, and when it is reset."""
    return {
        "quota": usage.quota.value,
        "limit": limits.of(usage.quota),
        "used": usage.used,
        "reserved": usage.reserved,
        "resets_at": format_time(policy.resets_at(usage.quota, now)),
    }
