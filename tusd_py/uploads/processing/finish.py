"""What follows when every byte is there: pre-finish is asked, post-finish told, and the upload is ready."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.contracts.hooks import HookEvent
from tusd_py.contracts.records import RecordConflict
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.uploads.commit import Cause, update
from tusd_py.uploads.ports import Ports


@dataclass(frozen=True, slots=True)
class Finished:
    """A complete upload, and what pre-finish wants laid over the response."""

    upload: Upload
    override: ResponseOverride | None = None


def has_no_finish_hooks(ports: Ports, upload: Upload) -> bool:
    """Whether no hook has to be asked or told of this upload's completion: it is handed over with its last byte."""
    # Concatenation: "The Server SHOULD NOT process these partial uploads until they are concatenated".
    if upload.kind is Kind.PARTIAL:
        return True
    return not ports.hooks.handles(Hook.PRE_FINISH) and not ports.hooks.handles(Hook.POST_FINISH)


def completed(ports: Ports, upload: Upload) -> Upload:
    """The upload, every byte of it safe, as complete; and handed over where no hook has to be asked or told."""
    now = ports.clock()
    after = upload.complete(now)
    return after.hand_to_workers(steps(ports, after), now) if has_no_finish_hooks(ports, after) else after


def steps(ports: Ports, upload: Upload) -> tuple[str, ...]:
    """What workers do with the complete ``upload`` before it is ready."""
    return () if upload.kind is Kind.PARTIAL else ports.policy.steps


async def finish(ports: Ports, upload: Upload, caller: Caller | None) -> Finished:
    """Bring a complete upload to where the server has done its part. Its caller holds it, or nobody else knows it yet.

    Asked again after a crash or a failed hook: bytes and record are saved before. Raises ``HookFailed``; the next
    PATCH, HEAD or start asks again. post-finish is told at least once, after pre-finish has agreed.
    """
    if upload.status is not Status.PROCESSING or upload.is_handed_to_workers or _key(upload) in ports.background:
        return Finished(upload)
    overlay: ResponseOverride | None = None
    if not has_no_finish_hooks(ports, upload):
        if ports.hooks.handles(Hook.PRE_FINISH):
            overlay = (await ports.hooks.invoke(HookEvent(Hook.PRE_FINISH, upload, caller))).override
        if ports.hooks.handles(Hook.POST_FINISH):
            ports.background.spawn(_key(upload), _tell(ports, upload, caller))
            return Finished(upload, overlay)
    return Finished(await _hand_over(ports, upload, caller), overlay)


async def _hand_over(ports: Ports, upload: Upload, caller: Caller | None) -> Upload:
    after = upload.hand_to_workers(steps(ports, upload), ports.clock())
    return await update(ports, upload, after, Cause(caller))


async def _tell(ports: Ports, upload: Upload, caller: Caller | None) -> None:
    """Only when post-finish was told is the upload ready: a crash before that tells it again."""
    await ports.background.after(upload.id)
    await ports.hooks.invoke(HookEvent(Hook.POST_FINISH, upload, caller))
    try:
        await _hand_over(ports, upload, caller)
    except RecordConflict:
        # Terminated meanwhile: there is nothing left to be ready.
        return


def _key(upload: Upload) -> str:
    # A dot is in no id, so this names no upload.
    return f"{upload.id}.finish"
