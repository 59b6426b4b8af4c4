"""Which quota an upload is charged to, and how much. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache

from tusd_py.model.addresses import client_key, parse_address
from tusd_py.model.caller import Caller
from tusd_py.model.ids import is_owner
from tusd_py.model.principal import Principal
from tusd_py.model.quota import (
    ExhaustedQuota,
    Quota,
    QuotaAmounts,
    QuotaCharge,
    QuotaLimits,
    QuotaPeriods,
    QuotaUsage,
    SubjectLimits,
)
from tusd_py.model.steps import QUOTA
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.access_errors import FileQuotaReached, QuotaReached
from tusd_py.views import format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaPolicy:
    """The operator's quotas. Days and months are those of ``zone``.

    ``counts_now`` says whether stored bytes and unfinished uploads are counted, which costs a statement for each
    creation and each completion. ``deletes_rejected`` says whether rejected uploads store nothing.
    """

    limits: QuotaLimits
    zone: tzinfo = UTC
    counts_now: bool = False
    deletes_rejected: bool = False

    def charge(self, before: Upload | None, after: Upload, caller: Caller | None) -> QuotaCharge | None:
        """The charge of a change of a record from ``before`` (``None``: a new record) to ``after``; ``None``: none.

        The bytes of an upload count on the day of its creation.
        """
        principal = None if caller is None else caller.principal
        if before is None:
            return self.new_charge(after, "" if caller is None else caller.client, principal)
        is_settled = _is_settled(before, after)
        amounts = self.amounts(after)
        if not is_settled and self.amounts(before) == amounts:
            return None
        return QuotaCharge(
            upload_id=after.id,
            created_at=after.created_at,
            amounts=amounts,
            limits=self.limits,
            own_limits=None if principal is None else own_limits_of(principal),
            has_request=principal is not None,
            is_settled=is_settled,
            has_ended=after.has_ended,
            deletes_rejected=self.deletes_rejected,
            frees_parts=after.kind is Kind.FINAL and after.has_ended and not after.is_complete,
        )

    def new_charge(self, upload: Upload, client: str, principal: Principal | None = None) -> QuotaCharge:
        """The charge of a new record, to its owner or else to the address of the ``client``."""
        return QuotaCharge(
            upload_id=upload.id,
            created_at=upload.created_at,
            amounts=self.amounts(upload),
            limits=self.limits,
            own_limits=None if principal is None else own_limits_of(principal),
            is_new=True,
            subject=subject_of(upload.owner, client),
            periods=self.periods(upload.created_at),
            parts=upload.parts,
            is_settled=_is_settled(None, upload),
        )

    def amounts(self, upload: Upload) -> QuotaAmounts:
        """The amounts that ``upload`` is charged. A file is counted once, and stays counted; parts are not files."""
        charged = charged_bytes(upload)
        is_whole = upload.kind is not Kind.PARTIAL
        if not self.counts_now:
            return QuotaAmounts(charged, int(is_whole))
        is_stored = not (
            upload.has_ended
            or upload.status is Status.MOVED
            or (upload.status is Status.REJECTED and self.deletes_rejected)
        )
        is_unfinished = is_whole and not upload.is_complete and upload.status in (Status.UPLOADING, Status.PROCESSING)
        return QuotaAmounts(charged, int(is_whole), charged if is_stored else 0, int(is_unfinished))

    def limits_for(self, principal: Principal | None) -> QuotaLimits:
        """The limits of ``principal``: those of its credentials before those of the settings."""
        return self.limits if principal is None else self.limits.overlaid(own_limits_of(principal))

    def periods(self, at: datetime) -> QuotaPeriods:
        """The day and the month of ``at``."""
        return _periods(at.astimezone(self.zone).date())

    def resets_at(self, quota: Quota, at: datetime) -> datetime | None:
        """When the day or the month of ``at`` ends; ``None`` if no time resets this quota."""
        local = at.astimezone(self.zone)
        if quota in (Quota.BYTES_PER_DAY, Quota.FILES_PER_DAY):
            end = local.date() + timedelta(days=1)
        elif quota in (Quota.BYTES_PER_MONTH, Quota.FILES_PER_MONTH):
            end = (local.date().replace(day=1) + timedelta(days=32)).replace(day=1)
        else:
            return None
        # From the date: the day of a change of the clocks has 23 or 25 hours.
        return datetime(end.year, end.month, end.day, tzinfo=self.zone).astimezone(UTC)

    def refusal(self, exhausted: ExhaustedQuota, created_at: datetime) -> QuotaReached:
        """The error for a client whose upload, created at this time, does not fit into its quota."""
        resets_at = self.resets_at(exhausted.quota, created_at)
        reached = QuotaReached if exhausted.quota.counts_bytes else FileQuotaReached
        reset = "" if resets_at is None else f"{resets_at:%Y-%m-%dT%H:%M:%SZ}"
        return reached(exhausted.quota.value, exhausted.limit, exhausted.used, reset)


def _is_settled(before: Upload | None, after: Upload) -> bool:
    return after.has_ended or after.status is Status.MOVED or QUOTA.is_passed(before, after)


@lru_cache(maxsize=8)
def _periods(day: date) -> QuotaPeriods:
    # Cached, because every creation asks for those of today.
    text = day.isoformat()
    return QuotaPeriods(text, text[:7])


def own_limits_of(principal: Principal) -> QuotaLimits | None:
    """The quotas that come with the credentials of ``principal``, if there are any."""
    own = principal.limits
    if own.bytes_per_day is None and own.bytes_per_month is None:
        return None
    return QuotaLimits(bytes_per_day=own.bytes_per_day, bytes_per_month=own.bytes_per_month)


def subject_of(owner: str, address: str) -> str:
    """The name under which an owner, or else an anonymous client at ``address``, is charged."""
    return f"user:{owner}" if owner else f"address:{address}"


def parse_subject(text: str) -> str:
    """The subject that ``text`` names, as it is charged: an address of IPv6 is its /64.

    Raises ``ValueError`` with a sentence: ``text`` is not a subject, or no client can have this name.
    """
    kind, _, name = text.partition(":")
    if kind == "user":
        if not name or not is_owner(name):
            raise ValueError("an owner is a text of 1 to 255 characters without control characters")
        return text
    if kind != "address":
        raise UnknownSubject("a subject is user:OWNER or address:ADDRESS")
    address, slash, prefix = name.partition("/")
    parsed = parse_address(address)
    if parsed is None or (slash and (prefix != "64" or parsed.version == 4)):
        raise ValueError("an address is one such as 192.0.2.7 or 2001:db8::1, or a network of IPv6 that ends with /64")
    return f"address:{client_key(parsed)}"


class UnknownSubject(ValueError):
    """Neither an owner nor an address."""


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


def quota_views(
    policy: QuotaPolicy, usage: list[QuotaUsage], limits: QuotaLimits, of_subject: SubjectLimits, now: datetime
) -> list[dict[str, object]]:
    """The quotas as JSON values: those of bytes a day and a month, and the others where something is set.

    ``of_subject`` come before ``limits``.
    """
    limits = limits.replaced(of_subject)
    always = {Quota.BYTES_PER_DAY, Quota.BYTES_PER_MONTH, *of_subject}
    return [
        {**_quota_view(policy, each, limits, now), "set_for_subject": each.quota in of_subject}
        for each in usage
        if each.quota in always or limits.of(each.quota) is not None
    ]


def _quota_view(policy: QuotaPolicy, usage: QuotaUsage, limits: QuotaLimits, now: datetime) -> dict[str, object]:
    resets_at = policy.resets_at(usage.quota, now)
    return {
        "quota": usage.quota.value,
        "limit": limits.of(usage.quota),
        "used": usage.used,
        "reserved": usage.reserved,
        "resets_at": None if resets_at is None else format_time(resets_at),
    }
