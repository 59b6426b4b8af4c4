"""POST of a final upload: its bytes are those of partial uploads, joined now or in the background."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from tusd_py.cancellation import shielded
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol import rules
from tusd_py.protocol.errors import InvalidParts
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.protocol.requests import Create
from tusd_py.uploads.commit import NO_CAUSE, Cause, insert, update
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.assemble import schedule_assembly, with_concatenated_bytes
from tusd_py.uploads.reservation import insert_reserved, locked_for_creation, reserve_storage, rollback_on_error

#: Asks pre-create: gives the upload as the hook wants it, and what it lays over the answer; or raises its refusal.
Agree = Callable[[Upload], Awaitable[tuple[Upload, ResponseOverride | None]]]


@dataclass(frozen=True, slots=True)
class Concatenated:
    """A final upload that is recorded, and what pre-create wants laid over the answer."""

    upload: Upload
    override: ResponseOverride | None


async def concatenate(
    ports: Ports, request: Create, final: Upload, agree: Agree, change: Cause = NO_CAUSE
) -> Concatenated:
    """Record ``final``, joined at once when its parts are complete and small, else to be joined in the background.

    Raises ``TusError`` or ``StoreError`` and leaves nothing behind. After a crash a recorded final upload is taken up
    again at the next start.
    """
    found = await ports.records.find_all(request.parts)
    length = rules.concatenate(request, found, final.owner, ports.clock(), ports.policy.limits)
    parts = [part for part in found if part is not None]
    server_chose = final.id
    final, overlay = await agree(replace(final, length=length))
    if final.id == server_chose and not final.storage:
        return Concatenated(await _make(ports, final, parts, change), overlay)
    async with locked_for_creation(ports, final, by_hook=final.id != server_chose):
        return Concatenated(await _make(ports, final, parts, change), overlay)


async def _make(ports: Ports, final: Upload, parts: Sequence[Upload], change: Cause) -> Upload:
    length = final.length
    final = await reserve_storage(ports, final)
    if (
        length is not None
        and length <= ports.policy.concatenate_at_once_bytes_max
        and all(part.is_complete for part in parts)
    ):
        async with rollback_on_error(ports, final):
            final = with_concatenated_bytes(ports, final, length, await ports.store.concatenate(final, parts))
            await shielded(insert(ports, final, change))
        return final
    final = final.expiring(ports.policy.expiry(final, final.created_at))
    await insert_reserved(ports, final, change)
    await _refuse_if_parts_went(ports, final)
    # Also when parts are missing: the last of them may have become complete since it was read.
    schedule_assembly(ports, final)
    return final


async def _refuse_if_parts_went(ports: Ports, final: Upload) -> None:
    """From now on the record keeps its parts from being removed; one may have gone just before."""
    parts = await ports.records.find_all(final.parts)
    if any(part is None or part.has_ended for part in parts):
        ended = final.with_status(Status.TERMINATED, ports.clock())
        await update(ports, final, ended.expiring(ports.policy.expiry(ended, ended.updated_at)))
        raise InvalidParts
