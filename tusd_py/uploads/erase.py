"""Erase an owner: the account, the keys, the uploads, and what is recorded about all of them."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.access.audit import AuditTrail
from tusd_py.access.audit_sealing import erase_person, new_pseudonym
from tusd_py.contracts.audit_log import AuditLog
from tusd_py.contracts.erasure import Erased, PersonalData
from tusd_py.contracts.locker import LocksUnavailable, LockTimeout
from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.store import StoreError
from tusd_py.uploads.administer import CannotEnd, delete_upload
from tusd_py.uploads.ports import Ports

#: The number of uploads that are read at once.
_PAGE = 500
#: In the second round parts can be ended that an unfinished final upload has needed in the first one.
_ROUNDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerErased:
    """The result of an erasure. ``kept`` are uploads that another process was changing: erase once more."""

    pseudonym: str
    had_account: bool
    keys: int
    deleted: int
    kept: tuple[str, ...]
    erased: Erased


async def erase_owner(ports: Ports, personal_data: PersonalData, owner: str) -> OwnerErased:
    """Erase everything of ``owner``; what cannot be erased now is in the result. Raises ``RecordsError``.

    First the credentials, so that nothing is added meanwhile. Another name stays in place of the owner's, so that
    records that others need stay consistent.
    """
    pseudonym = new_pseudonym()
    had_account, keys = await personal_data.delete_credentials(owner)
    deleted, kept = 0, list[str]()
    for _ in range(_ROUNDS):
        count, kept = await _delete_uploads(ports, personal_data, owner)
        deleted += count
        if not kept:
            break
    erased = await personal_data.erase(owner, pseudonym)
    if ports.audit_log is not None:
        await _erase_audit(ports, ports.audit_log, owner, pseudonym)
    return OwnerErased(
        pseudonym=pseudonym, had_account=had_account, keys=keys, deleted=deleted, kept=tuple(kept), erased=erased
    )


async def _delete_uploads(ports: Ports, personal_data: PersonalData, owner: str) -> tuple[int, list[str]]:
    deleted, kept, after_id = 0, list[str](), ""
    while found := await personal_data.living_uploads(owner, after_id=after_id, limit=_PAGE):
        after_id = found[-1]
        for upload_id in found:
            try:
                await delete_upload(ports, upload_id)
                deleted += 1
            except (CannotEnd, LockTimeout, LocksUnavailable, RecordConflict, StoreError):
                kept.append(upload_id)
    return deleted, kept


async def _erase_audit(ports: Ports, audit_log: AuditLog, owner: str, pseudonym: str) -> None:
    """Erase the owner from the audit log, also if that was switched off since."""
    trail = ports.audit or AuditTrail(log=audit_log, clock=ports.clock)
    if ports.audit is None and not await audit_log.page(0, 1):
        return
    await erase_person(trail, owner, pseudonym, trail.own_actor)
