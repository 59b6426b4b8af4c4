"""Finish a complete upload: run pre-finish and post-finish, then queue the processing steps or mark it ready."""

from __future__ import annotations

from tusd_py.contracts.hooks import HookEvent
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.caller import Caller
from tusd_py.model.frozen import frozen
from tusd_py.model.hooks import Hook
from tusd_py.model.steps import steps_for
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.commit import Cause, update
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.move import is_elsewhere, moved


@frozen()
class Finished:
    """A complete upload, and the response override of pre-finish."""

    upload: Upload
    override: ResponseOverride | None = None


def has_no_finish_hooks(ports: Ports, upload: Upload) -> bool:
    """Whether no hook handles the completion of ``upload``: then it is handed to the workers with its last byte."""
    # Concatenation: "The Server SHOULD NOT process these partial uploads until they are concatenated". Only receivers
    # written for tusd are asked about them.
    handles = ports.hooks.handles_partial if upload.kind is Kind.PARTIAL else ports.hooks.handles
    return not handles(Hook.PRE_FINISH) and not handles(Hook.POST_FINISH)


def completed(ports: Ports, upload: Upload) -> Upload:
    """The upload, whose bytes are durable, as complete; already handed to the workers if no finish hook handles it."""
    now = ports.clock()
    after = upload.complete(now)
    if not has_no_finish_hooks(ports, after):
        return after
    return after.hand_to_workers(steps_for(after, ports.policy.steps), now)


def needs_finish(upload: Upload) -> bool:
    """Whether ``finish`` may have something to do."""
    return upload.status is Status.PROCESSING and not upload.is_handed_to_workers


async def finish(ports: Ports, upload: Upload, caller: Caller | None) -> Finished:
    """Run pre-finish and post-finish of a complete upload and queue its processing steps.

    The caller must hold the lock, or have created the upload just now. Bytes and record are saved before, so after a
    crash or ``HookFailed`` the next PATCH, HEAD or start calls this again. post-finish runs at least once, after
    pre-finish has accepted the upload.
    """
    key = task_key(TaskKind.FINISH, upload.id)
    if not needs_finish(upload) or key in ports.background:
        return Finished(upload)
    override: ResponseOverride | None = None
    if not has_no_finish_hooks(ports, upload):
        handles = ports.hooks.handles_partial if upload.kind is Kind.PARTIAL else ports.hooks.handles
        if handles(Hook.PRE_FINISH):
            override = (await ports.hooks.invoke(HookEvent(Hook.PRE_FINISH, upload, caller))).override
        if handles(Hook.POST_FINISH):
            ports.background.spawn(key, _post_finish(ports, upload, caller))
            return Finished(upload, override)
    return Finished(await _hand_to_workers(ports, upload, caller), override)


async def _hand_to_workers(ports: Ports, upload: Upload, caller: Caller | None) -> Upload:
    after = upload.hand_to_workers(steps_for(upload, ports.policy.steps), ports.clock())
    return await update(ports, upload, after, Cause(caller))


async def _post_finish(ports: Ports, upload: Upload, caller: Caller | None) -> None:
    """Invoke post-finish, then hand the upload to the workers: after a crash in between the hook is invoked again."""
    await ports.background.after(task_key(TaskKind.HOOKS, upload.id))
    response = await ports.hooks.invoke(HookEvent(Hook.POST_FINISH, upload, caller))
    try:
        if response.moved_to is not None and is_elsewhere(ports, upload, response.moved_to):
            await update(ports, upload, moved(ports, upload, response.moved_to), Cause(caller))
        else:
            await _hand_to_workers(ports, upload, caller)
    except RecordConflict:
        # The upload was terminated meanwhile.
        return
