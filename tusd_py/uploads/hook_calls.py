"""Calls of hooks that do not delay a response."""

from __future__ import annotations

from tusd_py.contracts.hooks import HookEvent
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.ports import Ports


def invoke_later(ports: Ports, hook: Hook, upload: Upload, caller: Caller | None) -> None:
    """Invoke ``hook`` in the background, after the earlier calls for this upload."""
    if ports.hooks.handles(hook):
        key = task_key(TaskKind.HOOKS, upload.id)
        ports.background.spawn(key, ports.hooks.invoke(HookEvent(hook, upload, caller)))
