"""The registry of processing steps: what workers do with an upload, in which order, and what follows from each step.

A new step is an entry of ``STEPS``, a module in ``uploads/processing`` and its line in ``uploads/processing/steps.py``.
Settings, events, jobs, downloads and the workers' actors derive from these entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tusd_py.model.events import EventType
from tusd_py.model.upload import Kind, Status, Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One processing step.

    ``name`` stands in ``Upload.pending_steps``, in the upload's history and as the actor of its jobs, so it never
    changes. A step with ``completes_upload`` produces the last bytes of an upload; every other step follows a complete
    upload and is one of its pending steps.
    """

    name: str
    kinds: frozenset[Kind]  # the uploads that the step is for
    setting: str = ""  # the setting that enables the step; a step without one is always enabled
    event: EventType | None = None  # emitted when an upload has passed the step
    completes_upload: bool = False
    blocks_downloads: bool = False  # downloads are refused until an upload has passed the step

    @property
    def disabled_reason(self) -> str:
        """Why a worker with other settings than the server cannot run this step."""
        return f"{self.name} is disabled for this worker while uploads wait for it: set {self.setting}"

    def is_next(self, upload: Upload) -> bool:
        """Whether ``upload`` waits for this step now."""
        return upload.status is Status.PROCESSING and upload.pending_steps[:1] == (self.name,)

    def is_passed(self, before: Upload | None, after: Upload) -> bool:
        """Whether the change of a record from ``before`` (``None``: a new record) to ``after`` passes this step."""
        if after.kind not in self.kinds:
            return False
        if self.completes_upload:
            return after.is_complete and not (before is not None and before.is_complete)
        if before is None or after.status not in (Status.PROCESSING, Status.READY):
            return False
        return self.name in before.pending_steps and self.name not in after.pending_steps


# Concatenation: "The Server SHOULD NOT process these partial uploads until they are concatenated".
_WHOLE = frozenset({Kind.REGULAR, Kind.FINAL})

#: Concatenates the parts of a final upload.
ASSEMBLY = Step(name="assembly", kinds=frozenset({Kind.FINAL}), event=EventType.UPLOAD_ASSEMBLED, completes_upload=True)
#: Settles what a complete upload was charged to its owner's quotas.
QUOTA = Step(name="quota", kinds=_WHOLE, setting="quotas.enabled")
#: Checks a complete upload against the rules of the operator.
VALIDATION = Step(
    name="validation",
    kinds=_WHOLE,
    setting="validation.enabled",
    event=EventType.UPLOAD_VALIDATED,
    blocks_downloads=True,
)
#: Links or copies a complete upload to a readable path.
PUBLISHING = Step(name="publishing", kinds=_WHOLE, setting="publishing.directory")

#: Every step, in the order in which an upload passes them.
STEPS = (ASSEMBLY, QUOTA, VALIDATION, PUBLISHING)
STEPS_BY_NAME: Mapping[str, Step] = MappingProxyType({step.name: step for step in STEPS})


def steps_for(upload: Upload, enabled: tuple[str, ...]) -> tuple[str, ...]:
    """The names of ``enabled`` steps that follow the complete ``upload``, in order."""
    return tuple(name for name in enabled if upload.kind in STEPS_BY_NAME[name].kinds) if enabled else ()
