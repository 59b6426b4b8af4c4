"""One attempt to tell a endpoint of an event, and its result. When to try again is written down elsewhere."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

import httpcore2
import httpx2

from tusd_py.contracts.hooks import HookFailed
from tusd_py.hooks.blocking.executables import run
from tusd_py.hooks.blocking.http import own_headers
from tusd_py.hooks.delivery.endpoints import WebhookEndpoint
from tusd_py.hooks.delivery.payload import request_body
from tusd_py.hooks.delivery.signing import signature_headers
from tusd_py.hooks.delivery.ssrf import PublicOnlyBackend
from tusd_py.hooks.tusd_json import excerpt
from tusd_py.model.events import Event
from tusd_py.model.hooks import Hook
from tusd_py.protocol.dates import parse_date
from tusd_py.threads import DaemonThreads

#: Of an answer that says no, or of one that is too large, no more is read.
REFUSAL_BYTES_MAX = 4096
#: Longest wait that a endpoint may ask for.
RETRY_AFTER_SECONDS_MAX = 24 * 3600.0

# The same request would be refused again.
_NEVER = frozenset({400, 413, 415, 422})
_KEEP_ALIVE_SECONDS = 1.5  # see hooks.http
_IDLE_CONNECTIONS_MAX = 20
_PROGRAMS_MAX = 32


class DeliveryStatus(Enum):
    DELIVERED = auto()
    RETRY = auto()
    GONE = auto()  # 410: the endpoint wants nothing any more
    REJECTED = auto()


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What became of an attempt. ``reason`` is for people; ``retry_after_seconds`` is what the endpoint asked for."""

    status: DeliveryStatus
    reason: str = ""
    retry_after_seconds: float | None = None
    answer: bytes = b""


class Deliverer:
    """Tells receivers, over connections that are used again. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], datetime], guard: httpcore2.AsyncNetworkBackend | None = None) -> None:
        self._clock = clock
        self._guard = guard
        self._pools: dict[tuple[bool, bool], httpcore2.AsyncConnectionPool] = {}
        self._places: dict[str, asyncio.Semaphore] = {}
        self._threads = DaemonThreads(_PROGRAMS_MAX, "hook-program")

    async def deliver(
        self, endpoint: WebhookEndpoint, event: Event, storage: Mapping[str, str] | None
    ) -> DeliveryResult:
        """Try once. Raises nothing of the network: whatever happens there is a result."""
        places = self._places.setdefault(endpoint.name, asyncio.Semaphore(endpoint.concurrency))
        async with places:
            if endpoint.directory is not None:
                return await self._run(endpoint, event, storage)
            return await self._post(endpoint, event, storage)

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    async def _run(self, endpoint: WebhookEndpoint, event: Event, storage: Mapping[str, str] | None) -> DeliveryResult:
        assert endpoint.directory is not None
        body = request_body(endpoint, event, storage)
        try:
            said = await self._threads.run(
                run, endpoint.directory, Hook(event.type.value), body, event.upload, endpoint.timeout_seconds
            )
        except HookFailed as failure:
            return DeliveryResult(DeliveryStatus.RETRY, str(failure))
        return DeliveryResult(DeliveryStatus.DELIVERED, answer=said)

    async def _post(self, endpoint: WebhookEndpoint, event: Event, storage: Mapping[str, str] | None) -> DeliveryResult:
        body = request_body(endpoint, event, storage)
        headers = self._headers(endpoint, event, body)
        pool = await self._pool(endpoint)
        try:
            async with (
                asyncio.timeout(endpoint.timeout_seconds),
                pool.stream("POST", endpoint.url, headers=headers, content=body) as response,
            ):
                return await self._result(endpoint, response)
        except TimeoutError:
            return DeliveryResult(DeliveryStatus.RETRY, f"took more than {endpoint.timeout_seconds:g} seconds")
        except (
            httpcore2.NetworkError,
            httpcore2.ProtocolError,
            httpcore2.TimeoutException,
            OSError,
        ) as failure:
            return DeliveryResult(DeliveryStatus.RETRY, f"could not be told: {type(failure).__name__}: {failure}")

    async def _result(self, endpoint: WebhookEndpoint, response: httpcore2.Response) -> DeliveryResult:
        status = response.status
        if 200 <= status <= 299:
            answer = await _read(response, endpoint.answer_bytes_max)
            return DeliveryResult(DeliveryStatus.DELIVERED, answer=answer)
        said = f"answered {status}: {excerpt(await _read(response, REFUSAL_BYTES_MAX))}"
        if status == 410:
            return DeliveryResult(DeliveryStatus.GONE, said)
        if status in _NEVER:
            return DeliveryResult(DeliveryStatus.REJECTED, said)
        if 300 <= status <= 399:
            return DeliveryResult(
                DeliveryStatus.RETRY, f"answered {status}: redirects are not followed; name the URL it leads to"
            )
        return DeliveryResult(DeliveryStatus.RETRY, said, self._retry_after(response))

    def _retry_after(self, response: httpcore2.Response) -> float | None:
        """``Retry-After`` in seconds, in bounds, and a little more: not everybody shall come back at once."""
        text = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"").decode(
            "latin-1"
        )
        seconds: float | None = None
        if re.fullmatch("[0-9]{1,9}", text.strip(), re.ASCII):
            seconds = float(text)
        elif (at := parse_date(text.strip())) is not None:
            seconds = max(0.0, (at - self._clock()).total_seconds())
        if seconds is None:
            return None
        return min(seconds, RETRY_AFTER_SECONDS_MAX) + random.random() * min(1.0, seconds / 4)

    def _headers(self, endpoint: WebhookEndpoint, event: Event, body: bytes) -> list[tuple[bytes, bytes]]:
        came = event.caller.headers if event.caller is not None else ()
        wanted = {name.lower().encode(): name.encode() for name in endpoint.forward_headers}
        forwarded = [(wanted[name], value) for name, value in came if name in wanted]
        names = {name.lower() for name, _ in forwarded}
        own = [header for header in own_headers(endpoint.url) if header[0].lower() not in names]
        return [*own, *forwarded, *signature_headers(endpoint.secrets, event.id, self._clock(), body)]

    async def _pool(self, endpoint: WebhookEndpoint) -> httpcore2.AsyncConnectionPool:
        key = (endpoint.allow_private, endpoint.verifies)
        if key not in self._pools:
            # Reading the certificates of the system takes a tenth of a second.
            tls = await asyncio.to_thread(httpx2.create_ssl_context, verify=endpoint.verifies, trust_env=False)
            backend = None if endpoint.allow_private else self._guard or PublicOnlyBackend()
            self._pools.setdefault(
                key,
                httpcore2.AsyncConnectionPool(
                    ssl_context=tls,
                    max_connections=None,  # held to by each endpoint's places
                    max_keepalive_connections=_IDLE_CONNECTIONS_MAX,
                    keepalive_expiry=_KEEP_ALIVE_SECONDS,
                    network_backend=backend,
                ),
            )
        return self._pools[key]


async def _read(response: httpcore2.Response, bytes_max: int) -> bytes:
    """The beginning of the answer: one that never ends is left."""
    body = b""
    async with aclosing(response.aiter_stream()) as pieces:
        async for piece in pieces:
            body += piece[: bytes_max - len(body)]
            if len(body) >= bytes_max:
                break
    return body
