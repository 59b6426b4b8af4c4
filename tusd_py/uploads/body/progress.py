"""Reports the progress of one body to the post-receive hook and to the client, after each save of the record."""

from __future__ import annotations

from tusd_py.contracts.body import RequestBody
from tusd_py.contracts.hooks import HookEvent
from tusd_py.contracts.progress import ProgressListener
from tusd_py.model.caller import Caller
from tusd_py.model.events import EventType
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.errors import UploadStopped
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.commit import Cause
from tusd_py.uploads.ports import Ports


class ProgressReporter:
    """Decides which saves of one body emit post-receive, and reports each save. The hook may stop the upload.

    A hook that is slower than the upload is invoked with the newest state when it is free again; states in between are
    skipped.
    """

    def __init__(
        self, ports: Ports, caller: Caller, body: RequestBody, listener: ProgressListener | None = None
    ) -> None:
        self._ports = ports
        self._listener = listener
        self._caller = caller
        self._body = body
        self._has_hook = ports.hooks.handles(Hook.POST_RECEIVE)
        self._pending: Upload | None = None  # the state of the next invocation
        self._reported_at = ports.clock()  # the last save that emitted an event
        self._is_behind = False  # bytes were saved that no event has reported

    @property
    def has_receiver(self) -> bool:
        """Whether saves are reported to a hook, or are events of the operator."""
        subscriptions = self._ports.policy.subscriptions
        return self._has_hook or any(EventType.POST_RECEIVE in each.types for each in subscriptions)

    def cause(self, before: Upload, after: Upload, *, is_last: bool) -> Cause:
        """The cause to save ``after`` with: bytes are an event once per interval, and always at the end of the body."""
        has_news = after.offset > before.offset or self._is_behind
        # The absolute value: a clock that was set back must not silence the reports until it has caught up.
        since_seconds = abs((after.updated_at - self._reported_at).total_seconds())
        reports = has_news and (is_last or since_seconds >= self._ports.policy.progress_interval_seconds)
        if reports:
            self._reported_at = after.updated_at
        owed, self._is_behind = self._is_behind and reports, has_news and not reports
        return Cause(self._caller, reports_progress=reports, owes_progress_report=owed)

    def on_saved(self, upload: Upload) -> None:
        """Report that ``upload`` was saved. Never waits for the hook."""
        if self._listener is not None:
            self._listener.on_saved(upload)
        if not self._has_hook:
            return
        if self._pending is None:
            self._ports.background.spawn(task_key(TaskKind.HOOKS, upload.id), self._invoke())
        self._pending = upload

    async def _invoke(self) -> None:
        upload, self._pending = self._pending, None
        assert upload is not None, "spawned only when a state is pending"
        response = await self._ports.hooks.invoke(HookEvent(Hook.POST_RECEIVE, upload, self._caller))
        if response.stop:
            self._body.stop(UploadStopped().with_response(response.override))
