"""POST of a final upload: concatenate its partial uploads, at once or in the background."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from tusd_py.cancellation import shielded
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol import rules
from tusd_py.protocol.concat_errors import InvalidParts
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.protocol.requests import Create
from tusd_py.uploads.commit import NO_CAUSE, Cause, insert, update
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.assemble import schedule_assembly, with_concatenated_bytes
from tusd_py.uploads.reservation import insert_reserved, locked_for_creation, reserve_storage, rollback_on_error

#: Invokes pre-create and returns the upload as the hook changed it, with its response override; or raises its refusal.
PreCreate = Callable[[Upload], Awaitable[tuple[Upload, ResponseOverride | None]]]


@dataclass(frozen=True, slots=True)
class Concatenated:
    """A recorded final upload, and the response override of pre-create."""

    upload: Upload
    override: ResponseOverride | None


async def concatenate(
    ports: Ports, request: Create, final: Upload, pre_create: PreCreate, cause: Cause = NO_CAUSE
) -> Concatenated:
    """Record ``final``, concatenated at once if its parts are complete and small, else in the background.

    Raises ``TusError`` or ``StoreError`` and leaves nothing behind. After a crash the next start continues the
    assembly of a recorded final upload.
    """
    # What is named may be a final upload, also of another owner: its parts do not matter.
    found = await ports.records.find_all(request.parts, with_parts=False)
    if ports.access is not None:
        # Before the hook, and as for unknown parts, so that neither the response nor its time distinguishes them.
        found = [part if part is not None and rules.is_part_of_same(part, final) else None for part in found]
    limits = ports.policy.limits_for(None if cause.caller is None else cause.caller.principal)
    length = rules.concatenate(request, found, ports.clock(), limits)
    rules.ensure_uses_allowed(request.parts, await ports.records.count_part_uses(request.parts), limits)
    parts = [part for part in found if part is not None]
    id_of_server = final.id
    final, override = await pre_create(replace(final, length=length))
    # After the hook: it may choose the owner.
    rules.ensure_same_owner(parts, final)
    if final.id == id_of_server and not final.storage:
        return Concatenated(await _create(ports, final, parts, cause), override)
    async with locked_for_creation(ports, final, by_hook=final.id != id_of_server) as (_, final):
        return Concatenated(await _create(ports, final, parts, cause), override)


async def _create(ports: Ports, final: Upload, parts: Sequence[Upload], cause: Cause) -> Upload:
    client = cause.caller.client if cause.caller is not None else ""
    ports.concatenations.ensure_available(client)
    length = final.length
    if length is not None:
        await ports.store.ensure_space(length)
    final = await reserve_storage(ports, final)
    if (
        length is not None
        and length <= ports.policy.concatenate_at_once_bytes_max
        and all(part.is_complete for part in parts)
    ):
        async with (
            rollback_on_error(ports, final),
            ports.concatenations.acquired(client, ports.policy.lock_timeout_seconds),
        ):
            final = with_concatenated_bytes(ports, final, length, await ports.store.concatenate(final, parts))
            await shielded(insert(ports, final, cause))
        return final
    final = final.expiring(ports.policy.expiry(final, final.created_at))
    await insert_reserved(ports, final, cause)
    await _refuse_if_parts_ended(ports, final)
    # Also if parts are incomplete: the last of them may have become complete since it was read.
    schedule_assembly(ports, final, client)
    return final


async def _refuse_if_parts_ended(ports: Ports, final: Upload) -> None:
    """From here on the record protects its parts from termination; a part may have ended just before."""
    parts = await ports.records.find_all(final.parts)
    if any(part is None or part.has_ended for part in parts):
        ended = final.with_status(Status.TERMINATED, ports.clock())
        await update(ports, final, ended.expiring(ports.policy.expiry(ended, ended.updated_at)))
        raise InvalidParts
