"""Records how far a worker is with a step that takes long."""

from __future__ import annotations

from tusd_py.model.steps import Step
from tusd_py.model.upload import Upload
from tusd_py.uploads.commit import update
from tusd_py.uploads.ports import Ports


class StepProgress:
    """Keeps ``upload`` equal to its record while ``step`` runs, and saves now and then how many bytes are done."""

    def __init__(self, ports: Ports, upload: Upload, step: Step) -> None:
        self.upload = upload
        self._ports = ports
        self._step = step
        self._saved_at = ports.clock()

    async def report(self, done_bytes: int) -> None:
        """Save ``done_bytes``, at most once per progress interval.

        Raises ``RecordConflict`` if the record has changed: then the step must end.
        """
        now = self._ports.clock()
        # The absolute value: the clock may have been set back.
        if abs((now - self._saved_at).total_seconds()) < self._ports.policy.progress_interval_seconds:
            return
        self._saved_at = now
        total = "" if self.upload.length is None else str(self.upload.length)
        after = self.upload.report_step(self._step.name, now, {"done_bytes": str(done_bytes), "length": total})
        self.upload = await update(self._ports, self.upload, after)
