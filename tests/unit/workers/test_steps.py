"""The actors of the steps: passing troubles are told as such, with words for people and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.failing import FailingStore, Faults
from tests.support.harness import UploadsHarness
from tests.support.processing import a_harness, job, with_ports
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind
from tusd_py.settings import Settings
from workers.actor import Actor, Again, Task
from workers.actors.assembly import assembly
from workers.actors.publishing import publishing
from workers.actors.validation import validation

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[UploadsHarness]:
    async with a_harness(tmp_path, assemble_in_worker=True) as harness:
        yield harness


async def keep() -> None:
    """Nothing to renew: nobody else claims."""


async def task(harness: UploadsHarness, upload_id: str, actor: str) -> Task:
    given = await job(harness, upload_id, actor)
    return Task(job=given, ports=harness.ports, settings=Settings(), keep=keep)


@pytest.mark.parametrize(
    ("actor", "said"), [(validation, "set validation.enabled"), (publishing, "set publishing.directory")]
)
async def test_a_step_that_is_switched_off_waits(harness: UploadsHarness, actor: Actor, said: str) -> None:
    """The job is kept, with what to do about it."""
    name = "validation" if actor is validation else "publishing"
    with_ports(harness, steps=(name,))
    made = await harness.create(4, b"0123")
    with pytest.raises(Again, match=said):
        await actor(await task(harness, made.upload.id, name))


async def final_of(harness: UploadsHarness) -> str:
    part = await harness.create(4, b"0123", kind=Kind.PARTIAL)
    begun = await harness.create(4, b"01", kind=Kind.PARTIAL)
    made = await harness.create(None, kind=Kind.FINAL, parts=[part.upload.id, begun.upload.id])
    await harness.append(begun.upload.id, 2, b"23")
    await harness.settle()
    return made.upload.id


async def test_a_full_disk_has_the_joining_wait(harness: UploadsHarness) -> None:
    """With the words of the store."""
    final_id = await final_of(harness)
    with_ports(harness, store=FailingStore(harness.store, Faults(nth=1, full=True)))
    with pytest.raises(Again, match="a fault of the test"):
        await assembly(await task(harness, final_id, "assembly"))


async def test_what_a_hook_says_is_not_told_to_whoever_lists_jobs(harness: UploadsHarness) -> None:
    """Only that it failed."""

    def pre_finish(event: object) -> None:
        raise ValueError("the password is 1234")

    final_id = await final_of(harness)
    with_ports(harness, hooks=CallableHooks({Hook.PRE_FINISH: pre_finish}, 5.0, lambda hook, failed: None))
    with pytest.raises(Again) as raised:
        await assembly(await task(harness, final_id, "assembly"))
    assert "pre-finish failed; it is asked again" == raised.value.reason
