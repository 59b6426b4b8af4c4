"""One attempt to deliver an event to an endpoint, and its result. The worker's queue decides when to retry."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tusd_py.contracts.hooks import HookFailed
from tusd_py.contracts.webhooks import DeliveryResult, DeliveryStatus, WebhookEndpoint
from tusd_py.hooks.blocking.executables import run_executable
from tusd_py.hooks.delivery.payload import request_body
from tusd_py.hooks.delivery.signing import signature_headers
from tusd_py.hooks.tusd_json import excerpt
from tusd_py.logs import Outages
from tusd_py.model.events import Event
from tusd_py.model.hooks import Hook
from tusd_py.protocol.dates import parse_date
from tusd_py.threads import in_executor

if TYPE_CHECKING:
    # Loading the HTTP library takes long; workers without webhooks do not need it.
    from tusd_py.hooks.http_client import HttpClient, HttpResponse

#: The longest wait that an endpoint can request with ``Retry-After``.
RETRY_AFTER_SECONDS_MAX = 24 * 3600.0

log = logging.getLogger(__name__)

_tls_threads = ThreadPoolExecutor(1, "tls")

# The same request would be refused again. The Standard Webhooks say that 410 is about the endpoint; a receiver written
# for tusd knows nothing of that, and means the upload.
_PERMANENT_REFUSALS = frozenset({400, 410, 413, 415, 422})


class Deliverer:
    """Delivers events over reused connections. Belongs to one event loop; ``close`` must be called in it."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._clients: dict[tuple[str, bool, bool], HttpClient] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._outages = Outages("webhook endpoint fails, retrying")

    async def deliver(
        self, endpoint: WebhookEndpoint, event: Event, storage: Mapping[str, str] | None
    ) -> DeliveryResult:
        """Make one attempt. Failures of the network and of the endpoint are results and not exceptions.

        ``storage`` says where the bytes of the upload are (``Store.location``).
        """
        slots = self._slots.setdefault(endpoint.name, asyncio.Semaphore(endpoint.concurrency))
        async with slots:
            body = request_body(endpoint, event, storage)
            if endpoint.executables_dir:
                result = await self._run(endpoint, event, body)
            else:
                result = await self._post(endpoint, event, body)
        if result.status is DeliveryStatus.RETRY:
            self._outages.failed(log, endpoint.name, result.reason)
        else:
            self._outages.succeeded(log, endpoint.name)
        return result

    async def close(self) -> None:
        """Close all connections."""
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.close()

    async def _run(self, endpoint: WebhookEndpoint, event: Event, body: bytes) -> DeliveryResult:
        hook = Hook(event.type.value)
        try:
            stdout = await run_executable(
                Path(endpoint.executables_dir), hook, body, event.upload, timeout_seconds=endpoint.timeout_seconds
            )
        except HookFailed as failure:
            return DeliveryResult(DeliveryStatus.RETRY, str(failure))
        return DeliveryResult(DeliveryStatus.DELIVERED, response=stdout)

    async def _post(self, endpoint: WebhookEndpoint, event: Event, body: bytes) -> DeliveryResult:
        from tusd_py.hooks.http_client import RequestFailed, RequestHeaders, RequestInvalid

        headers = RequestHeaders(endpoint.url, endpoint.forward_headers).for_caller(event.caller)
        headers += signature_headers(endpoint.secrets, event.id, self._clock(), body)
        client = await self._client(endpoint)
        try:
            response = await client.post(
                endpoint.url,
                headers,
                body,
                timeout_seconds=endpoint.timeout_seconds,
                response_bytes_max=endpoint.response_bytes_max,
            )
        except RequestInvalid as failure:
            return DeliveryResult(DeliveryStatus.REJECTED, str(failure))
        except RequestFailed as failure:
            return DeliveryResult(DeliveryStatus.RETRY, str(failure))
        return self._result(endpoint, response)

    def _result(self, endpoint: WebhookEndpoint, response: HttpResponse) -> DeliveryResult:
        if response.is_success:
            return DeliveryResult(DeliveryStatus.DELIVERED, response=response.body)
        reason = f"answered {response.status}: {excerpt(response.body)}"
        if response.status == 410 and not endpoint.is_tusd_hook:
            return DeliveryResult(DeliveryStatus.GONE, reason)
        if response.status in _PERMANENT_REFUSALS:
            return DeliveryResult(DeliveryStatus.REJECTED, reason)
        if 300 <= response.status <= 399:
            return DeliveryResult(
                DeliveryStatus.RETRY,
                f"answered {response.status}: redirects are not followed; configure the URL that it redirects to",
            )
        return DeliveryResult(DeliveryStatus.RETRY, reason, self._retry_after_seconds(response))

    def _retry_after_seconds(self, response: HttpResponse) -> float | None:
        """``Retry-After`` in seconds, limited, with up to a second added so that workers do not return all at once."""
        text = response.header(b"retry-after")
        seconds: float | None = None
        if re.fullmatch("[0-9]{1,9}", text, re.ASCII):
            seconds = float(text)
        elif (at := parse_date(text)) is not None:
            seconds = max(0.0, (at - self._clock()).total_seconds())
        if seconds is None:
            return None
        return min(seconds, RETRY_AFTER_SECONDS_MAX) + random.random() * min(1.0, seconds / 4)

    async def _client(self, endpoint: WebhookEndpoint) -> HttpClient:
        from tusd_py.hooks.delivery.ssrf import PublicOnlyBackend
        from tusd_py.hooks.http_client import HttpClient, tls_context

        scheme = endpoint.url.partition(":")[0].lower()
        key = (scheme, endpoint.allow_private, endpoint.verifies)
        if key not in self._clients:
            # Reading the certificates of the operating system takes a tenth of a second.
            tls = await in_executor(_tls_threads, tls_context, endpoint.url, verifies=endpoint.verifies)
            # Another delivery may have made the client meanwhile.
            if key not in self._clients:
                backend = None if endpoint.allow_private else PublicOnlyBackend()
                self._clients[key] = HttpClient(tls, backend=backend)
        return self._clients[key]
