"""The actors of the processing steps: each runs its step and retries it after a temporary failure."""

from __future__ import annotations

from tusd_py.contracts.hooks import HookFailed
from tusd_py.uploads.processing.steps import STEP_RUNNERS

from ..actor import Actor, JobContext, Retry


def step_actor(name: str) -> Actor:
    """The actor that runs the step ``name`` for the upload of a job."""
    runner = STEP_RUNNERS[name]

    async def run(context: JobContext) -> None:
        try:
            await runner.run(context.ports, context.job)
        except runner.retry_on as error:
            raise Retry(str(error)) from error
        except HookFailed as error:
            # The text of a hook's failure is for the log, not for everyone who lists jobs.
            raise Retry("pre-finish failed and is invoked again") from error

    return run
