"""The actor of webhooks: tells one receiver of one event, and closes an endpoint that wants no more.

An endpoint that answers 410 is closed by a job of its own, which is dead from the start and belongs to no upload. While
it is there, every worker buries what the endpoint would have been told; having it tried again opens the endpoint.
"""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

from tusd_py.contracts.hooks import HookFailed
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.contracts.webhooks import DeliveryResult, DeliveryStatus, WebhookDeliverer, WebhookEndpoint
from tusd_py.model.events import Event, EventType
from tusd_py.model.jobs import JobState, NewJob
from tusd_py.uploads.locking import locked
from tusd_py.uploads.terminate import terminate_locked
from tusd_py.wiring import asks_to_stop, make_deliverer, webhook_endpoints

from ..actor import GiveUp, JobContext, Retry

log = logging.getLogger(__name__)

# One for each event loop, as its connections belong to it.
_deliverers: WeakKeyDictionary[asyncio.AbstractEventLoop, WebhookDeliverer] = WeakKeyDictionary()


async def webhooks(context: JobContext) -> None:
    """Tell ``job.subscription`` of the event; it may be told twice, with the same id."""
    job, job_queue = context.job, context.ports.job_queue
    assert job_queue is not None, "a job comes from an outbox"
    if not job.event_id:
        if job.token > 1:
            return  # somebody had it tried again: the endpoint is open
        raise GiveUp("the endpoint answered 410 and is told nothing more; try this job again to open it")
    receiver = next((each for each in webhook_endpoints(context.settings) if each.name == job.subscription), None)
    if receiver is None:
        raise GiveUp(f"{job.subscription} is no longer in the settings: name it there again, or drop this job")
    closing = await job_queue.list_jobs(
        states=(JobState.WAITING, JobState.RUNNING, JobState.DEAD), upload_id=_closed(receiver), limit=1
    )
    if closing:
        raise GiveUp(f"{receiver.name} is closed: it has answered 410; try job {closing[0].id} again to open it")
    event = await job_queue.find_event(job.event_id)
    if event is None:
        raise GiveUp("the event is no longer known")
    verdict = await _deliverer(context).deliver(receiver, event, context.ports.store.location(event.upload))
    await _judge(context, job_queue, receiver, event, verdict)


async def _judge(
    context: JobContext, job_queue: JobQueue, receiver: WebhookEndpoint, event: Event, verdict: DeliveryResult
) -> None:
    if verdict.status is DeliveryStatus.DELIVERED:
        if receiver.is_tusd_hook and event.type is EventType.POST_RECEIVE:
            await _stop_if_told(context, event, verdict.response)
        return
    if verdict.status is DeliveryStatus.RETRY:
        raise Retry(f"{receiver.name} {verdict.reason}", verdict.retry_after_seconds)
    if verdict.status is DeliveryStatus.GONE:
        log.error("webhook closed: its endpoint answered 410", extra={"consumer": receiver.name})
        name = _closed(receiver)
        job = NewJob(
            actor="webhooks",
            subscription=receiver.name,
            key=f"{name} {event.id}",
            upload_id=name,
            sequence_key=f"{name} {event.id}",
        )
        await job_queue.add_jobs([job], context.ports.clock())
    raise GiveUp(f"{receiver.name} {verdict.reason}")


async def _stop_if_told(context: JobContext, event: Event, answer: bytes) -> None:
    """tusd's StopUpload: the answer to post-receive may end an upload whose bytes still come."""
    try:
        if not asks_to_stop(answer):
            return
    except HookFailed as failure:
        log.info("what post-receive answered is passed over", extra={"reason": str(failure)})
        return
    async with locked(context.ports, event.upload.id):
        upload = await context.ports.records.find(event.upload.id)
        if upload is not None and not upload.is_complete and not upload.has_ended:
            await terminate_locked(context.ports, upload, event.caller)


async def close_deliverer() -> None:
    """Close the connections that this event loop has to endpoints."""
    deliverer = _deliverers.pop(asyncio.get_running_loop(), None)
    if deliverer is not None:
        await deliverer.close()


def _closed(receiver: WebhookEndpoint) -> str:
    return f"closed {receiver.name}"  # no upload has such an id


def _deliverer(context: JobContext) -> WebhookDeliverer:
    loop = asyncio.get_running_loop()
    found = _deliverers.get(loop)
    if found is None:
        found = _deliverers[loop] = make_deliverer(context.ports.clock)
    return found
