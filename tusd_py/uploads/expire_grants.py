"""The periodic work on links and codes: release what ended links reserved, announce ends, delete old rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tusd_py.contracts.links import Links
from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import StoreError
from tusd_py.model.events import EventType
from tusd_py.model.links import Link, LinkKind
from tusd_py.model.upload import Status
from tusd_py.uploads.commit import code_event_effects
from tusd_py.uploads.end_grant import settle_link
from tusd_py.uploads.expire import expire_locked
from tusd_py.uploads.ports import Ports

_BATCH = 200
#: Links and codes are listed for this long after their end.
KEPT = timedelta(days=30)
#: The end of a code is announced this long before.
WARNED_BEFORE = timedelta(seconds=10)
#: The event is saved this much earlier, because the schedule runs every few seconds.
_ANNOUNCED_BEFORE = WARNED_BEFORE + timedelta(seconds=5)


@dataclass(slots=True)
class EndedGrants:
    """The result of one pass."""

    links: int = 0  # settled
    skipped: int = 0  # a request is filling the upload
    forgotten: int = 0


async def expire_grants(ports: Ports) -> EndedGrants:
    """Settle links that have ended, and delete links and codes that ended long ago.

    The unfinished upload of an expired link expires with it; one that a request is filling is left to the next pass.
    """
    ended = EndedGrants()
    access = ports.access_ports
    if access is None:
        return ended
    now = ports.clock()
    if access.links is not None:
        await _settle_all(ports, access.links, now, ended)
        while forgotten := await access.links.prune(now - KEPT, _BATCH):
            ended.forgotten += forgotten
    if access.codes is not None:
        while forgotten := await access.codes.prune(now - KEPT, _BATCH):
            ended.forgotten += forgotten
    return ended


async def _settle_all(ports: Ports, links: Links, now: datetime, ended: EndedGrants) -> None:
    seen: set[str] = set()
    # Only skipped ones are found again.
    while found := [link for link in await links.ended(now, _BATCH + ended.skipped) if link.id not in seen]:
        for link in found:
            seen.add(link.id)
            if link.revoked_at is not None:
                await settle_link(ports, links, link, None)
            elif link.kind is LinkKind.UPLOAD and not await _expire_upload(ports, link):
                ended.skipped += 1
                continue
            else:
                await links.settle(link.id, now)
            ended.links += 1


async def _expire_upload(ports: Ports, link: Link) -> bool:
    """Whether the upload of the expired ``link`` is complete or has ended now."""
    lock = await ports.locker.try_acquire(link.upload_id)
    if lock is None:
        return False
    try:
        upload = await ports.records.find(link.upload_id)
        if upload is not None and upload.grant == link.grant and upload.status is Status.UPLOADING:
            await expire_locked(ports, upload)
    except (RecordConflict, StoreError):
        return False
    finally:
        await lock.release()
    return True


async def warn_expiring(ports: Ports) -> int:
    """Announce the end of codes that end soon, each once among all processes; return how many.

    The event ``code.expiring`` comes at least ten seconds before the end if this is called every five seconds.
    """
    if ports.access_ports is None or ports.access_ports.codes is None:
        return 0
    codes, now = ports.access_ports.codes, ports.clock()
    count = 0
    for code in await codes.expiring(now, now + _ANNOUNCED_BEFORE, _BATCH):
        effects = code_event_effects(ports, code, EventType.CODE_EXPIRING, now)
        count += await codes.note_warning(code.id, code.expires_at, now, effects)
    return count
