"""Revoke a link, or terminate an access code; running requests in all processes and machines are stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from tusd_py.cancellation import finish_despite_cancel
from tusd_py.contracts.codes import AccessCodes
from tusd_py.contracts.links import Links
from tusd_py.contracts.locker import LocksUnavailable, LockTimeout
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.audit import AuditEntry
from tusd_py.model.caller import Caller
from tusd_py.model.codes import CODE_GRANT
from tusd_py.model.links import Link, LinkKind
from tusd_py.model.upload import Status
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.terminate import terminate_locked

log = logging.getLogger(__name__)

_BATCH = 200
#: So many running requests are asked to stop at once.
_AT_ONCE = 32


async def revoke_link(
    ports: Ports, links: Links, link: Link, caller: Caller | None, audit: Sequence[AuditEntry] = ()
) -> bool:
    """Revoke ``link`` and end the upload that it has not filled; False if it was revoked already.

    After a crash in between the next pass of ``expire_grants`` ends the upload.
    """
    if not await links.revoke(link.id, ports.clock(), audit):
        return False
    await finish_despite_cancel(settle_link(ports, links, link, caller))
    return True


async def settle_link(ports: Ports, links: Links, link: Link, caller: Caller | None) -> None:
    """End the upload of a revoked link unless it is complete: what was reserved for it is released."""
    if link.kind is LinkKind.UPLOAD:
        try:
            # The request that is filling it is asked to stop; its client learns why.
            async with locked(ports, link.upload_id):
                upload = await ports.records.find(link.upload_id)
                if upload is not None and upload.grant == link.grant and upload.status is Status.UPLOADING:
                    await terminate_locked(ports, upload, caller)
        except (LockTimeout, LocksUnavailable, RecordConflict) as failure:
            log.warning("link %s is revoked, its upload will be ended later: %s", link.id, failure)
            return
    await links.settle(link.id, ports.clock())


async def terminate_code(ports: Ports, codes: AccessCodes, code_id: str, audit: Sequence[AuditEntry] = ()) -> bool:
    """End a code at once. Requests that run are stopped, and what they have received by then is kept.

    False if the code has ended already. Every request that gets the lock of an upload later looks at the code first; so
    does each that saves while it runs, should this process be killed in between.
    """
    if not await codes.terminate(code_id, ports.clock(), audit):
        return False
    await finish_despite_cancel(_stop_requests(ports, codes, f"{CODE_GRANT}{code_id}"))
    return True


async def _stop_requests(ports: Ports, codes: AccessCodes, grant: str) -> None:
    slots = asyncio.Semaphore(_AT_ONCE)
    after_id = ""
    while ids := await codes.find_uploads(grant, after_id, _BATCH):
        await asyncio.gather(*(_stop(ports, upload_id, slots) for upload_id in ids))
        after_id = ids[-1]


async def _stop(ports: Ports, upload_id: str, slots: asyncio.Semaphore) -> None:
    """Take the lock from the request that holds it: it saves what it has received, and answers its client."""
    async with slots:
        try:
            lock = await ports.locker.acquire(upload_id, ports.policy.lock_timeout_seconds)
        except (LockTimeout, LocksUnavailable) as failure:
            log.warning("a request for upload %s did not stop: %s", upload_id, failure)
        else:
            await lock.release()
