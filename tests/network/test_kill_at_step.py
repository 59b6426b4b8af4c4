"""``kill -9`` of the process that is at one step: nothing is lost, done twice or left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.network.steps import KilledAtStep
from tests.support.faults import KilledAt
from tests.support.redis import running_redis
from tests.support.stacks import every_stack, quick_on_every_stack

pytestmark = pytest.mark.timeout(240)

_UPLOADS = "tusd_py.uploads"
_COMMITTER = f"{_UPLOADS}.body.committer:Committer"
_CONCATENATION = "tusd_py.storage.disk.concatenation:Concatenation"
_PUBLISHER = "tusd_py.publishing.directory:DirectoryPublisher"
_S3_CONCATENATION = "tusd_py.storage.s3.concatenation:S3Concatenation"
_S3_PUBLISHER = "tusd_py.storage.s3.publisher:BucketPublisher"
_DELIVERER = "tusd_py.hooks.delivery.deliverer:Deliverer"
_JOB_QUEUE = "tusd_py.records.sql.jobs:SqlJobQueue"

#: Of each kind of step the one at which most could go wrong.
QUICK = {
    "bytes written before the save": KilledAt(f"{_COMMITTER}.commit", "before"),
    "saved before the answer": KilledAt(f"{_COMMITTER}.commit", "after", 2),
    "creation with body before its record": KilledAt(f"{_COMMITTER}._insert", "before"),
    "concatenated before the record": KilledAt(f"{_CONCATENATION}.commit", "after"),
    "validated before the record": KilledAt("tusd_py.validation.validator:RuleValidator.validate", "after"),
    "placed before the record": KilledAt(f"{_PUBLISHER}.place", "after"),
    "delivered before the record": KilledAt(f"{_DELIVERER}.deliver", "after", 3),
    "terminated before the bytes are deleted": KilledAt(f"{_UPLOADS}.terminate:_mark_terminated", "after"),
}
#: Of all stacks in make test.
QUICKEST = "bytes written before the save"
LONG = {
    "creation with body after its record": KilledAt(f"{_COMMITTER}._insert", "after"),
    "record of a creation": KilledAt(f"{_UPLOADS}.commit:insert", "before", 2),
    "complete before finish": KilledAt(f"{_UPLOADS}.processing.finish:finish", "before"),
    "half concatenated": KilledAt(f"{_CONCATENATION}.append", "after"),
    "assembly begins": KilledAt(f"{_UPLOADS}.processing.assemble:assemble", "before"),
    "assembled before its job ends": KilledAt(f"{_UPLOADS}.processing.assemble:assemble", "after"),
    "validation begins": KilledAt(f"{_UPLOADS}.processing.validate:validate", "before", 2),
    "validation recorded": KilledAt(f"{_UPLOADS}.processing.validate:validate", "after"),
    "publishing prepared": KilledAt(f"{_PUBLISHER}.prepare", "after"),
    "published before the clean-up": KilledAt(f"{_PUBLISHER}.cleanup", "before"),
    "published before its job ends": KilledAt(f"{_PUBLISHER}.cleanup", "after"),
    "delivery begins": KilledAt(f"{_DELIVERER}.deliver", "before", 2),
    "jobs claimed": KilledAt(f"{_JOB_QUEUE}.claim", "after", 4),
    "job started": KilledAt(f"{_JOB_QUEUE}.start", "after", 3),
    "job ends": KilledAt(f"{_JOB_QUEUE}.complete", "before", 5),
    "job ended": KilledAt(f"{_JOB_QUEUE}.complete", "after", 5),
    "termination begins": KilledAt(f"{_UPLOADS}.terminate:terminate_locked", "before"),
    "terminated before the answer": KilledAt(f"{_UPLOADS}.terminate:terminate_locked", "after"),
}
#: The same steps in the store of S3 and its publisher.
ON_S3 = {
    "concatenated before the record": KilledAt(f"{_S3_CONCATENATION}._finish", "after"),
    "half concatenated": KilledAt(f"{_S3_CONCATENATION}._append", "after"),
    "placed before the record": KilledAt(f"{_S3_PUBLISHER}.place", "after"),
    "publishing prepared": KilledAt(f"{_S3_PUBLISHER}.prepare", "after"),
    "published before the clean-up": KilledAt(f"{_S3_PUBLISHER}.cleanup", "before"),
    "published before its job ends": KilledAt(f"{_S3_PUBLISHER}.cleanup", "after"),
}
SWITCHES = {
    "UPLOADS__GONE_STATUS": "404",
    "UPLOADS__CREATION_WITH_UPLOAD": "false",
    "UPLOADS__CONCATENATION": "false",
    "UPLOADS__DOWNLOADS": "false",
}


def killed_at(step: str, stack: Mapping[str, str]) -> KilledAt:
    """The step in the store of ``stack``."""
    return (ON_S3 if "S3__BUCKET" in stack else {}).get(step) or (QUICK | LONG)[step]


@every_stack
@pytest.mark.parametrize(
    "step", [pytest.param(QUICKEST, marks=quick_on_every_stack), *[step for step in QUICK if step != QUICKEST]]
)
@pytest.mark.anyio
async def test_killed_at(tmp_path: Path, stack: Mapping[str, str], step: str) -> None:
    """Each upload is complete, validated, published once and reported in order."""
    await KilledAtStep(tmp_path, killed_at(step, stack), stack).run()


@every_stack
@pytest.mark.long
@pytest.mark.parametrize("step", LONG)
@pytest.mark.anyio
async def test_killed_at_every_other_step(tmp_path: Path, stack: Mapping[str, str], step: str) -> None:
    """The same at the steps where less is under way."""
    await KilledAtStep(tmp_path, killed_at(step, stack), stack).run()


@pytest.fixture
def redis_url() -> Iterator[str]:
    with running_redis() as url:
        yield url


@every_stack
@pytest.mark.long
@pytest.mark.parametrize("step", [*QUICK, *LONG])
@pytest.mark.anyio
async def test_killed_at_with_redis_and_copies(
    tmp_path: Path, stack: Mapping[str, str], redis_url: str, step: str
) -> None:
    """The same with Redis as the broker, and with copies instead of hard links."""
    settings = {"WORKER__BROKER": redis_url, "PUBLISHING__MODE": "copy"}
    await KilledAtStep(tmp_path, killed_at(step, stack), stack, **settings).run()


#: Steps with another answer, or another way there, if an ended upload is answered like an unknown one and clients can
#: neither download nor concatenate nor create with a body.
SWITCHED_OFF = (
    *("bytes written before the save", "saved before the answer", "validated before the record"),
    *("placed before the record", "terminated before the bytes are deleted", "terminated before the answer"),
    *("record of a creation", "complete before finish", "termination begins"),
)


@every_stack
@pytest.mark.long
@pytest.mark.parametrize("step", SWITCHED_OFF)
@pytest.mark.anyio
async def test_killed_at_with_extensions_switched_off(tmp_path: Path, stack: Mapping[str, str], step: str) -> None:
    """The same with ``gone_status = 404`` and without creation-with-upload, concatenation and downloads."""
    run = KilledAtStep(tmp_path, killed_at(step, stack), stack, **SWITCHES)
    await run.run(has_every_extension=False)


@pytest.mark.long
@pytest.mark.parametrize(
    "step",
    ["concatenated before the record", "half concatenated", "record of a creation", "delivered before the record"],
)
@pytest.mark.anyio
@every_stack
async def test_killed_at_with_concatenation_in_the_server(tmp_path: Path, stack: Mapping[str, str], step: str) -> None:
    """The same where the request concatenates, not the worker."""
    settings = {"UPLOADS__JOIN_AT_ONCE_BYTES_MAX": "1000000"}
    await KilledAtStep(tmp_path, killed_at(step, stack), stack, **settings).run()
