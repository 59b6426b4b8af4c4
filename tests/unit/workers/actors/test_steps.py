"""The actors of processing steps: temporary failures cause a retry, with a reason that is fit to be shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.failing import FailingStore, Faults
from tests.support.harness import UploadsHarness
from tests.support.processing import a_harness, job, with_ports
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.model.hooks import Hook
from tusd_py.model.steps import STEPS, STEPS_BY_NAME, Step
from tusd_py.model.upload import Kind
from tusd_py.settings import Settings
from workers.actor import JobContext, Retry
from workers.actors import find_actors
from workers.actors.steps import step_actor

pytestmark = pytest.mark.anyio


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[UploadsHarness]:
    async with a_harness(tmp_path, assemble_in_worker=True) as harness:
        yield harness


async def run(harness: UploadsHarness, upload_id: str, name: str) -> None:
    """Run the actor of the step ``name`` once, for its job of this upload."""
    claimed = await job(harness, upload_id, name)
    await step_actor(name)(JobContext(job=claimed, ports=harness.ports, settings=Settings()))


def test_find_actors_one_per_step() -> None:
    """Every step of the registry has an actor of its name; webhooks and schedules have one each."""
    assert {*STEPS_BY_NAME, "webhooks", "schedules"} == set(find_actors())


@pytest.mark.parametrize("step", [step for step in STEPS if step.setting])
async def test_disabled_step_retries(harness: UploadsHarness, step: Step) -> None:
    """A job whose step is disabled for this worker is retried; its reason names the setting."""
    with_ports(harness, steps=(step.name,))
    made = await harness.create(4, b"0123")
    with pytest.raises(Retry, match=f"set {step.setting}"):
        await run(harness, made.upload.id, step.name)


async def final_of(harness: UploadsHarness) -> str:
    part = await harness.create(4, b"0123", kind=Kind.PARTIAL)
    begun = await harness.create(4, b"01", kind=Kind.PARTIAL)
    made = await harness.create(None, kind=Kind.FINAL, parts=[part.upload.id, begun.upload.id])
    await harness.append(begun.upload.id, 2, b"23")
    await harness.drain()
    return made.upload.id


async def test_assembly_full_disk_retries(harness: UploadsHarness) -> None:
    """The reason of the retry is the message of the store."""
    final_id = await final_of(harness)
    with_ports(harness, store=FailingStore(harness.store, Faults(nth=1, full=True)))
    with pytest.raises(Retry, match="a fault of the test"):
        await run(harness, final_id, "assembly")


async def test_failed_hook_hides_its_message(harness: UploadsHarness) -> None:
    """The reason of the retry says that the hook failed, and nothing of what the hook said."""

    def pre_finish(event: object) -> None:
        raise ValueError("the password is 1234")

    final_id = await final_of(harness)
    with_ports(harness, hooks=CallableHooks({Hook.PRE_FINISH: pre_finish}, 5.0, lambda hook, failed: None))
    with pytest.raises(Retry) as raised:
        await run(harness, final_id, "assembly")
    assert "pre-finish failed and is invoked again" == raised.value.reason
