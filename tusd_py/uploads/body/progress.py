"""Telling hooks and the client what has happened, after it is recorded, and never in an answer's way."""

from __future__ import annotations

from tusd_py.contracts.body import RequestBody
from tusd_py.contracts.hooks import HookEvent
from tusd_py.contracts.progress import ProgressListener
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.errors import UploadStopped
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.commit import Cause
from tusd_py.uploads.ports import Ports


class ProgressReporter:
    """Tells post-receive, and the client that listens, how far one body is saved; the hook may stop the upload.

    A hook that is slower than the upload is told the newest step when it is free again, not every one it missed.
    """

    def __init__(
        self, ports: Ports, caller: Caller, source: RequestBody, listener: ProgressListener | None = None
    ) -> None:
        self._ports = ports
        self._listener = listener
        self._caller = caller
        self._source = source
        self._wanted = ports.hooks.handles(Hook.POST_RECEIVE)
        self._newest: Upload | None = None  # what the hook will be told next
        self._told_at = ports.clock()  # when bytes were last an event
        self._owes = False  # bytes were saved that no event has told of

    def change(self, before: Upload, after: Upload, is_last: bool) -> Cause:
        """With which events ``after`` is saved: bytes are told of once a while, and at the end of the body always."""
        came = after.offset > before.offset or self._owes
        since_seconds = (after.updated_at - self._told_at).total_seconds()
        told = came and (is_last or since_seconds >= self._ports.policy.progress_interval_seconds)
        if told:
            self._told_at = after.updated_at
        owed, self._owes = self._owes and told, came and not told
        return Cause(self._caller, reports_progress=told, owes_progress_report=owed)

    def saved(self, upload: Upload) -> None:
        """The record now says this much; never waits for the hook."""
        if self._listener is not None:
            self._listener.on_saved(upload)
        if not self._wanted:
            return
        if self._newest is None:
            self._ports.background.spawn(task_key(TaskKind.HOOKS, upload.id), self._ask())
        self._newest = upload

    async def _ask(self) -> None:
        upload, self._newest = self._newest, None
        assert upload is not None, "spawned only with a step to tell"
        answer = await self._ports.hooks.invoke(HookEvent(Hook.POST_RECEIVE, upload, self._caller))
        if answer.stop:
            self._source.stop(UploadStopped().with_response(answer.override))
