"""The actor of webhooks: delivers one event to one endpoint, and closes an endpoint that answers 410 Gone.

While an endpoint is closed, every job for it fails without a request; ``tusd-py endpoints open`` opens it again.
"""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

from tusd_py.contracts.endpoint_states import EndpointStates
from tusd_py.contracts.hook_counts import HookCounts
from tusd_py.contracts.hooks import HookFailed
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.contracts.records import RecordConflict
from tusd_py.contracts.webhooks import DeliveryResult, DeliveryStatus, WebhookDeliverer, WebhookEndpoint
from tusd_py.model.events import Event, EventType
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import JobState
from tusd_py.uploads.processing.move import record_move
from tusd_py.uploads.stop import stop
from tusd_py.wiring.hooks import make_deliverer, parse_post_response, webhook_endpoints

from ..actor import GiveUp, JobContext, Retry
from ..hook_counter import HookCounter

log = logging.getLogger(__name__)

_FINAL_TYPES = (EventType.POST_FINISH, EventType.POST_TERMINATE)
_LATER_JOBS_MAX = 50
_PROGRESS_SECONDS_MAX = 10.0
_CONFLICTS_MAX = 20
_CONFLICT_SECONDS = 0.1

# One for each event loop, since its connections belong to the loop.
_counters: WeakKeyDictionary[asyncio.AbstractEventLoop, HookCounter] = WeakKeyDictionary()
_deliverers: WeakKeyDictionary[asyncio.AbstractEventLoop, WebhookDeliverer] = WeakKeyDictionary()


async def webhooks(context: JobContext) -> None:
    """Deliver the job's event to its subscription, at least once, each time with the same id."""
    job, job_queue, endpoint_states = context.job, context.ports.job_queue, context.ports.endpoint_states
    assert job_queue is not None and endpoint_states is not None, "jobs exist only in a database"
    endpoint = next((each for each in webhook_endpoints(context.settings) if each.name == job.subscription), None)
    if endpoint is None:
        raise GiveUp(f"{job.subscription} is no longer in the settings: add it there again, or drop this job")
    closed = await endpoint_states.find_closed(endpoint.name)
    if closed is not None:
        raise GiveUp(f"{endpoint.name} is closed ({closed.reason}); tusd-py endpoints open opens it again")
    event = await job_queue.find_event(job.event_id)
    if event is None:
        raise GiveUp("the event no longer exists")
    if await _is_superseded(context, job_queue, endpoint, event):
        log.info(
            "event superseded by a later one", extra={"job": job.id, "upload": job.upload_id, "event_id": event.id}
        )
        return
    location = None if event.upload is None else context.ports.store.location(event.upload)
    result = await _deliverer(context).deliver(endpoint, event, location)
    if endpoint.is_tusd_hook and context.ports.hook_counts is not None:
        failed = result.status is not DeliveryStatus.DELIVERED
        _counter(context.ports.hook_counts).count(Hook(event.type.value), failed=failed)
    await _handle(context, endpoint_states, endpoint, event, result)


async def _handle(
    context: JobContext,
    endpoint_states: EndpointStates,
    endpoint: WebhookEndpoint,
    event: Event,
    result: DeliveryResult,
) -> None:
    if result.status is DeliveryStatus.DELIVERED:
        if endpoint.is_tusd_hook and event.type is EventType.POST_RECEIVE:
            await _stop_upload_if_requested(context, event, result.response)
        if endpoint.is_tusd_hook and event.type is EventType.POST_FINISH:
            await _record_move_if_told(context, event, result.response)
        return
    if result.status is DeliveryStatus.RETRY:
        alone = event.type is EventType.POST_RECEIVE
        raise Retry(f"{endpoint.name} {result.reason}", result.retry_after_seconds, alone=alone)
    if result.status is DeliveryStatus.GONE and await endpoint_states.close_endpoint(
        endpoint.name, "answered 410", context.ports.clock()
    ):
        log.error("webhook endpoint closed: it answered 410", extra={"endpoint": endpoint.name})
    raise GiveUp(f"{endpoint.name} {result.reason}")


async def _is_superseded(context: JobContext, job_queue: JobQueue, endpoint: WebhookEndpoint, event: Event) -> bool:
    """Whether the event must not be delivered any more, because a later one of its upload says more.

    A post-receive that waited for long, or that failed, gives way to any later event.
    A hook of tusd that failed gives way to a post-finish or post-terminate that the receiver has accepted since: days
    later it would overwrite what the receiver knows of a finished upload.
    """
    is_progress, is_repeated = event.type is EventType.POST_RECEIVE, context.job.attempt > 1
    if is_progress:
        waited = (context.ports.clock() - event.at).total_seconds()
        if not is_repeated and waited <= _PROGRESS_SECONDS_MAX:
            return False
    elif not is_repeated or endpoint.is_ordered:
        return False
    states = () if is_progress else (JobState.DONE,)
    newest = await job_queue.list_jobs(states=states, upload_id=event.upload_id, limit=_LATER_JOBS_MAX)
    later = [job for job in newest if job.id > context.job.id and job.subscription == endpoint.name]
    if is_progress:
        return bool(later)
    events = [await job_queue.find_event(job.event_id) for job in later]
    return any(found is not None and found.type in _FINAL_TYPES for found in events)


async def _stop_upload_if_requested(context: JobContext, event: Event, response: bytes) -> None:
    """Obey tusd's StopUpload: the answer to post-receive may terminate an upload that is not complete."""
    try:
        parsed = parse_post_response(Hook.POST_RECEIVE, response)
    except HookFailed as failure:
        log.info("response to post-receive ignored", extra={"reason": str(failure)})
        return
    if parsed.stop:
        await stop(context.ports, event.upload_id, event.caller, parsed.override)


async def _record_move_if_told(context: JobContext, event: Event, response: bytes) -> None:
    """The answer of a tusd hook to post-finish may say that it has moved the bytes."""
    try:
        path = parse_post_response(Hook.POST_FINISH, response).moved_to
    except HookFailed as failure:
        log.info("response to post-finish ignored", extra={"reason": str(failure)})
        return
    if path is None:
        return
    for _ in range(_CONFLICTS_MAX):
        # Not by another attempt of the job: the hook has done its work, and must not be called again.
        try:
            await record_move(context.ports, event.upload_id, path)
        except RecordConflict:
            await asyncio.sleep(_CONFLICT_SECONDS)
        else:
            return
    log.warning("could not record a move: the upload changes", extra={"upload": event.upload_id})


async def close_deliverer() -> None:
    """Close the connections that this event loop has to endpoints, and save its counts of hooks."""
    counter = _counters.pop(asyncio.get_running_loop(), None)
    if counter is not None:
        await counter.close()
    deliverer = _deliverers.pop(asyncio.get_running_loop(), None)
    if deliverer is not None:
        await deliverer.close()


def _counter(totals: HookCounts) -> HookCounter:
    loop = asyncio.get_running_loop()
    found = _counters.get(loop)
    if found is None:
        found = _counters[loop] = HookCounter(totals)
    return found


def _deliverer(context: JobContext) -> WebhookDeliverer:
    loop = asyncio.get_running_loop()
    found = _deliverers.get(loop)
    if found is None:
        found = _deliverers[loop] = make_deliverer(context.ports.clock)
    return found
