"""Telling hooks what has happened, after it is recorded: in order for each upload, and never in an answer's way."""

from __future__ import annotations

from tusd_py.contracts.gate import Hook, HookEvent
from tusd_py.contracts.source import Source
from tusd_py.protocol.errors import UploadStopped
from tusd_py.protocol.requests import Caller
from tusd_py.protocol.upload import Upload
from tusd_py.uploads.ports import Ports


def tell(ports: Ports, hook: Hook, upload: Upload, caller: Caller | None) -> None:
    """Tell ``hook`` of ``upload`` in the background, after whatever it was told of this upload before."""
    if ports.gate.wants(hook):
        ports.background.spawn(upload.id, ports.gate.ask(HookEvent(hook, upload, caller)))


class Progress:
    """Tells post-receive of every saved step of one body; its answer may stop the upload."""

    def __init__(self, ports: Ports, caller: Caller, source: Source) -> None:
        self._ports = ports
        self._caller = caller
        self._source = source
        self._wanted = ports.gate.wants(Hook.POST_RECEIVE)

    def saved(self, upload: Upload) -> None:
        """The record now says this much; never waits for the hook."""
        if self._wanted:
            self._ports.background.spawn(upload.id, self._ask(upload))

    async def _ask(self, upload: Upload) -> None:
        answer = await self._ports.gate.ask(HookEvent(Hook.POST_RECEIVE, upload, self._caller))
        if answer.stop:
            stopped = UploadStopped()
            stopped.overlay = answer.overlay
            self._source.stop(stopped)
