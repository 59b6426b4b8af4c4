"""The contract of the quota ledger: what each subject is charged. Charges are saved with records (``Effects``)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from tusd_py.model.audit import AuditEntry
from tusd_py.model.quota import Quota, QuotaDrift, QuotaPeriods, QuotaUsage, SubjectLimits


class QuotaLedger(Protocol):
    """Reads and repairs the ledger. Subjects are owners (``user:alice``) and addresses (``address:192.0.2.7``)."""

    async def usage(self, subject: str, periods: QuotaPeriods) -> list[QuotaUsage]:
        """What ``subject`` has used in these periods, one entry for each quota."""
        ...

    async def find_limits(self, subject: str) -> SubjectLimits:
        """The limits that were set for this subject; empty if there are none."""
        ...

    async def change_limits(
        self, subject: str, limits: SubjectLimits, removed: Collection[Quota] = (), audit: Sequence[AuditEntry] = ()
    ) -> None:
        """Set ``limits`` for one subject, and remove those for the quotas ``removed``; other quotas stay as they are.

        ``audit`` is written with the change.
        """
        ...

    async def forget(self, subject: str) -> None:
        """Delete limits, charges and counters of this subject. Uploads that it still has are not charged any more."""
        ...

    async def reconcile(
        self, *, repair: bool, counts_now: bool = False, deletes_rejected: bool = False
    ) -> list[QuotaDrift]:
        """Compare charges with records, and counters with charges; correct them with ``repair``.

        The other switches are those of ``QuotaPolicy``. Returns what differed.
        """
        ...

    async def prune(self, before_month: str) -> None:
        """Forget what was charged before this month (``2026-03``), in whole months.

        A month of a subject stays while an upload of it can still grow.
        """
        ...
