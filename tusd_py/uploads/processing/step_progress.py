"""Saying in the record how far a worker has come with a step that takes long."""

from __future__ import annotations

from tusd_py.model.upload import Upload
from tusd_py.uploads.commit import update
from tusd_py.uploads.ports import Ports


class StepProgress:
    """Keeps ``upload`` as its record is, while ``step`` goes on and now and then says how many bytes it has done.

    A record that somebody else has changed ends the step: ``tell`` raises ``RecordConflict``.
    """

    def __init__(self, ports: Ports, upload: Upload, step: str) -> None:
        self.upload = upload
        self._ports = ports
        self._step = step
        self._told_at = ports.clock()

    async def tell(self, done_bytes: int) -> None:
        """``done_bytes`` are done; saved once in a while."""
        now = self._ports.clock()
        if (now - self._told_at).total_seconds() < self._ports.policy.progress_interval_seconds:
            return
        self._told_at = now
        total = "" if self.upload.length is None else str(self.upload.length)
        after = self.upload.report_step(self._step, now, {"done_bytes": str(done_bytes), "length": total})
        self.upload = await update(self._ports, self.upload, after)
