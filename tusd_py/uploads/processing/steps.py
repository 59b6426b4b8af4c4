"""The function that runs each processing step of ``model.steps``, and its temporary failures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tusd_py.contracts.publisher import PublishFailed
from tusd_py.contracts.store import StoreError
from tusd_py.contracts.validator import ValidatorUnavailable
from tusd_py.model.jobs import Job
from tusd_py.model.steps import ASSEMBLY, PUBLISHING, QUOTA, VALIDATION
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.assemble import AlreadyAssembling, assemble
from tusd_py.uploads.processing.publish import publish
from tusd_py.uploads.processing.settle import QuotasDisabled, settle
from tusd_py.uploads.processing.validate import validate


@dataclass(frozen=True, slots=True)
class StepRunner:
    """Runs one step for the upload of a job; after an error of ``retry_on`` the job is retried later.

    The messages of these errors are shown to people with the job.
    """

    run: Callable[[Ports, Job], Awaitable[None]]
    retry_on: tuple[type[Exception], ...]


#: By the name of the step.
STEP_RUNNERS: Mapping[str, StepRunner] = MappingProxyType(
    {
        ASSEMBLY.name: StepRunner(assemble, retry_on=(StoreError, AlreadyAssembling)),
        QUOTA.name: StepRunner(settle, retry_on=(QuotasDisabled,)),
        VALIDATION.name: StepRunner(validate, retry_on=(StoreError, ValidatorUnavailable)),
        PUBLISHING.name: StepRunner(publish, retry_on=(StoreError, PublishFailed)),
    }
)
