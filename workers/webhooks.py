"""The actor of webhooks: tells one receiver of one event, and closes an endpoint that wants no more.

An endpoint that answers 410 is closed by a job of its own, which is dead from the start and belongs to no upload. While
it is there, every worker buries what the endpoint would have been told; having it tried again opens the endpoint.
"""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

from tusd_py.contracts.gate import GateFailed, Hook
from tusd_py.contracts.jobs import JobState, NewJob
from tusd_py.contracts.outbox import Outbox
from tusd_py.hooks.delivery import Deliverer, Outcome, Verdict
from tusd_py.hooks.payload import parse_answer
from tusd_py.hooks.receivers import Receiver, receivers
from tusd_py.protocol.events import Event, EventType
from tusd_py.uploads.holding import held
from tusd_py.uploads.terminate import end

from .tasks import Again, Dead, Task

log = logging.getLogger(__name__)

# One for each event loop, as its connections belong to it.
_deliverers: WeakKeyDictionary[asyncio.AbstractEventLoop, Deliverer] = WeakKeyDictionary()


async def webhooks(task: Task) -> None:
    """Tell ``job.consumer`` of the event; it may be told twice, with the same id."""
    job, outbox = task.job, task.ports.outbox
    assert outbox is not None, "a job comes from an outbox"
    if not job.event_id:
        if job.token > 1:
            return  # somebody had it tried again: the endpoint is open
        raise Dead("the endpoint answered 410 and is told nothing more; try this job again to open it")
    receiver = next((each for each in receivers(task.settings) if each.name == job.consumer), None)
    if receiver is None:
        raise Dead(f"{job.consumer} is no longer in the settings: name it there again, or drop this job")
    closing = await outbox.list_jobs(
        states=(JobState.WAITING, JobState.RUNNING, JobState.DEAD), upload_id=_closed(receiver), limit=1
    )
    if closing:
        raise Dead(f"{receiver.name} is closed: it has answered 410; try job {closing[0].id} again to open it")
    event = await outbox.find_event(job.event_id)
    if event is None:
        raise Dead("the event is no longer known")
    verdict = await _deliverer(task).deliver(receiver, event, task.ports.store.where(event.upload))
    await _judge(task, outbox, receiver, event, verdict)


async def _judge(task: Task, outbox: Outbox, receiver: Receiver, event: Event, verdict: Verdict) -> None:
    if verdict.outcome is Outcome.DELIVERED:
        if receiver.is_tusds and event.type is EventType.POST_RECEIVE:
            await _stop_if_told(task, event, verdict.answer)
        return
    if verdict.outcome is Outcome.AGAIN:
        raise Again(f"{receiver.name} {verdict.reason}", verdict.after_seconds)
    if verdict.outcome is Outcome.GONE:
        log.error("webhook closed: its endpoint answered 410", extra={"consumer": receiver.name})
        name = _closed(receiver)
        job = NewJob(
            actor="webhooks",
            consumer=receiver.name,
            key=f"{name} {event.id}",
            upload_id=name,
            lane=f"{name} {event.id}",
        )
        await outbox.add_jobs([job], task.ports.clock())
    raise Dead(f"{receiver.name} {verdict.reason}")


async def _stop_if_told(task: Task, event: Event, answer: bytes) -> None:
    """tusd's StopUpload: the answer to post-receive may end an upload whose bytes still come."""
    try:
        if not parse_answer(Hook.POST_RECEIVE, answer).stop:
            return
    except GateFailed as failure:
        log.info("what post-receive answered is passed over", extra={"reason": str(failure)})
        return
    async with held(task.ports, event.upload.id):
        upload = await task.ports.records.find(event.upload.id)
        if upload is not None and not upload.is_complete and not upload.has_ended:
            await end(task.ports, upload, event.caller)


def _closed(receiver: Receiver) -> str:
    return f"closed {receiver.name}"  # no upload has such an id


def _deliverer(task: Task) -> Deliverer:
    loop = asyncio.get_running_loop()
    found = _deliverers.get(loop)
    if found is None:
        found = _deliverers[loop] = Deliverer(task.ports.clock)
    return found
