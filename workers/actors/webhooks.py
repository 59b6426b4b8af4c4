"""The actor of webhooks: delivers one event to one endpoint, and closes an endpoint that answers 410 Gone.

While an endpoint is closed, every job for it fails without a request; ``tusd-py endpoints open`` opens it again.
"""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

from tusd_py.contracts.endpoint_states import EndpointStates
from tusd_py.contracts.hooks import HookFailed
from tusd_py.contracts.webhooks import DeliveryResult, DeliveryStatus, WebhookDeliverer, WebhookEndpoint
from tusd_py.model.events import Event, EventType
from tusd_py.uploads.locking import locked
from tusd_py.uploads.terminate import terminate_locked
from tusd_py.wiring import asks_to_stop, make_deliverer, webhook_endpoints

from ..actor import GiveUp, JobContext, Retry

log = logging.getLogger(__name__)

# One for each event loop, since its connections belong to the loop.
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
    result = await _deliverer(context).deliver(endpoint, event, context.ports.store.location(event.upload))
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
        return
    if result.status is DeliveryStatus.RETRY:
        raise Retry(f"{endpoint.name} {result.reason}", result.retry_after_seconds)
    if result.status is DeliveryStatus.GONE:
        log.error("webhook endpoint closed: it answered 410", extra={"endpoint": endpoint.name})
        await endpoint_states.close_endpoint(endpoint.name, "answered 410", context.ports.clock())
    raise GiveUp(f"{endpoint.name} {result.reason}")


async def _stop_upload_if_requested(context: JobContext, event: Event, response: bytes) -> None:
    """Obey tusd's StopUpload: the answer to post-receive may terminate an upload that is not complete."""
    try:
        if not asks_to_stop(response):
            return
    except HookFailed as failure:
        log.info("response to post-receive ignored", extra={"reason": str(failure)})
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


def _deliverer(context: JobContext) -> WebhookDeliverer:
    loop = asyncio.get_running_loop()
    found = _deliverers.get(loop)
    if found is None:
        found = _deliverers[loop] = make_deliverer(context.ports.clock)
    return found
