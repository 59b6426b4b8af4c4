"""The recurring work that the settings ask for: what each schedule does, and when."""

from __future__ import annotations

import re
import shutil
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tusd_py.access.audit_sealing import prune_entries, seal_entries
from tusd_py.backup import MANIFEST, back_up
from tusd_py.model.schedules import Timing, parse_timing
from tusd_py.settings import Settings
from tusd_py.threads import in_executor
from tusd_py.uploads.expire_grants import expire_grants, warn_expiring
from tusd_py.uploads.ports import Ports

_BACKUP = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
# A backup may take long; nothing else waits for this thread.
_backup_thread = ThreadPoolExecutor(1, "backup")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Recurring work. ``run`` returns a few words about what it has done; ``is_heavy`` work is a job of the workers."""

    name: str
    timing: Timing
    run: Callable[[Ports, Settings], Awaitable[str]]
    is_heavy: bool = False


def enabled_schedules(settings: Settings) -> tuple[Schedule, ...]:
    """The schedules that are on: those with a timing, for what the other settings switch on."""
    if not settings.has_database:
        return ()
    schedules, audit = settings.schedules, settings.audit
    known = (
        ("seal_audit", schedules.seal_audit, seal_audit, False, audit.enabled),
        ("expire_grants", schedules.expire_grants, end_grants, False, settings.links.enabled or settings.codes.enabled),
        ("warn_codes", schedules.warn_codes, announce_ends, False, settings.codes.enabled),
        ("retention", schedules.retention, remove_old_entries, False, audit.enabled and bool(audit.keep_seconds)),
        ("reconcile_quotas", schedules.reconcile_quotas, reconcile_quotas, True, settings.quotas.enabled),
        ("backup", schedules.backup, make_backup, True, bool(schedules.backup_directory)),
    )
    return tuple(
        Schedule(name, parse_timing(timing), run, is_heavy)
        for name, timing, run, is_heavy, is_on in known
        if is_on and timing
    )


async def end_grants(ports: Ports, settings: Settings) -> str:
    """End links and codes whose time is over, with the unfinished uploads of links."""
    ended = await expire_grants(ports)
    return f"{ended.links} links settled, {ended.skipped} skipped, {ended.forgotten} links and codes forgotten"


async def announce_ends(ports: Ports, settings: Settings) -> str:
    """Announce the end of access codes that end in a few seconds."""
    return f"{await warn_expiring(ports)} access codes announced"


async def seal_audit(ports: Ports, settings: Settings) -> str:
    assert ports.audit is not None, "the schedule is on with the audit log only"
    return f"{await seal_entries(ports.audit)} entries sealed"


async def remove_old_entries(ports: Ports, settings: Settings) -> str:
    assert ports.audit is not None, "the schedule is on with the audit log only"
    return f"{await prune_entries(ports.audit)} audit entries deleted"


async def reconcile_quotas(ports: Ports, settings: Settings) -> str:
    """Repair the quota ledger where it differs from the records."""
    assert ports.quota_ledger is not None and ports.quotas is not None, "the schedule is on with quotas only"
    drifts = await ports.quota_ledger.reconcile(
        repair=True, counts_now=ports.quotas.counts_now, deletes_rejected=ports.quotas.deletes_rejected
    )
    return f"{len(drifts)} differences repaired"


async def make_backup(ports: Ports, settings: Settings) -> str:
    """Write a backup into a new directory, and delete the oldest ones beyond ``backups_kept``."""
    return await in_executor(_backup_thread, _back_up, settings, f"{ports.clock():%Y%m%dT%H%M%SZ}")


def _back_up(settings: Settings, name: str) -> str:
    schedules = settings.schedules
    parent = Path(schedules.backup_directory)
    with_bytes = schedules.backup_bytes != "none"
    back_up(settings, parent / name, with_bytes=with_bytes, may_link=schedules.backup_bytes == "link")
    found = sorted(path for path in parent.iterdir() if _BACKUP.fullmatch(path.name) and path.is_dir())
    complete = [path for path in found if (path / MANIFEST).exists()]
    # What has no manifest was interrupted; only this process makes backups here now.
    for path in {*complete[: -schedules.backups_kept], *set(found).difference(complete)}:
        shutil.rmtree(path)
    return f"{parent / name}"
