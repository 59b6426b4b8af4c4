"""Hooks that are informed after the fact, in the background."""

from __future__ import annotations

from tusd_py.contracts.hooks import HookEvent
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.uploads.ports import Ports


def invoke_later(ports: Ports, hook: Hook, upload: Upload, caller: Caller | None) -> None:
    """Tell ``hook`` of ``upload`` in the background, after whatever it was told of this upload before."""
    if ports.hooks.handles(hook):
        ports.background.spawn(upload.id, ports.hooks.invoke(HookEvent(hook, upload, caller)))
