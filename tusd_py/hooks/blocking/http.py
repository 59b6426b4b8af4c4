"""Blocking hooks over HTTP, as tusd v2 calls them: a POST to one URL, with retries where a failure may be temporary."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tusd_py.contracts.hooks import HookFailed, HookRequest, HookResponse
from tusd_py.hooks.http_client import (
    HttpClient,
    HttpResponse,
    RequestFailed,
    RequestHeaders,
    RequestInvalid,
    tls_context,
)
from tusd_py.hooks.responses import CountInvocation
from tusd_py.hooks.tusd_json import excerpt, format_request, parse_response
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload

log = logging.getLogger(__name__)

#: Concurrent requests to one URL. Further hooks wait, and the wait counts against their time limit.
CONNECTIONS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and for how long one hook is attempted: ``attempts`` in all, ``backoff_seconds`` apart."""

    attempts: int
    backoff_seconds: float
    attempt_seconds: float
    timeout_seconds: float  # for all attempts and the waits between them


class _TemporaryFailure(Exception):
    """An attempt that failed in a way that may pass: a network failure, a timeout, or a 5xx response."""


class HttpHooks:
    """Sends ``hooks`` to one URL, which the operator trusts: private addresses are allowed."""

    def __init__(
        self,
        url: str,
        hooks: Collection[Hook],
        *,
        location: Callable[[Upload], Mapping[str, str]],
        count: CountInvocation,
        retry: RetryPolicy,
        forward_headers: Sequence[str] = (),
        response_bytes_max: int = 5120,
        verifies: bool = True,
    ) -> None:
        self._url = url
        self._name = _without_secrets(url)
        self._hooks = frozenset(hooks)
        self._location = location
        self._count = count
        self._retry = retry
        self._headers = RequestHeaders(url, forward_headers)
        self._response_bytes_max = response_bytes_max
        self._client = HttpClient(tls_context(url, verifies=verifies), requests_max=CONNECTIONS_MAX)

    def handles(self, hook: Hook) -> bool:
        """See ``HookHandler.handles``."""
        return hook in self._hooks

    def handles_partial(self, hook: Hook) -> bool:
        """See ``HookHandler.handles_partial``: receivers written for tusd are asked, as by tusd."""
        return hook in self._hooks

    async def invoke(self, event: HookRequest) -> HookResponse:
        """See ``HookHandler.invoke``."""
        if event.hook not in self._hooks:
            return HookResponse()
        try:
            response = parse_response(event.hook, await self._call(event))
        except HookFailed as failure:
            self._count(event.hook, True)
            raise HookFailed(f"{self._name}: {failure}") from failure
        self._count(event.hook, False)
        return response

    async def close(self) -> None:
        """See ``HookHandler.close``."""
        await self._client.close()

    async def _call(self, event: HookRequest) -> bytes:
        """The body of the first response that is not a temporary failure. Raises ``HookFailed``."""
        headers, body = self._headers.for_caller(event.caller), format_request(event, self._location)
        retry, clock = self._retry, asyncio.get_running_loop().time
        deadline = clock() + retry.timeout_seconds
        for attempts_left in reversed(range(retry.attempts)):
            seconds = min(retry.attempt_seconds, deadline - clock())
            try:
                return await self._attempt(event.hook, headers, body, seconds)
            except _TemporaryFailure as failure:
                if not attempts_left or clock() + retry.backoff_seconds >= deadline:
                    raise HookFailed(f"{event.hook} {failure}") from failure
                log.info("hook %s at %s %s; retrying", event.hook, self._name, failure)
            await asyncio.sleep(retry.backoff_seconds)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, hook: Hook, headers: list[tuple[bytes, bytes]], body: bytes, seconds: float) -> bytes:
        try:
            response = await self._client.post(
                self._url,
                headers,
                body,
                timeout_seconds=seconds,
                # One byte more than allowed shows that a body is too long.
                response_bytes_max=self._response_bytes_max + 1,
            )
        except RequestInvalid as failure:
            raise HookFailed(f"{hook} {failure}") from failure
        except RequestFailed as failure:
            raise _TemporaryFailure(str(failure)) from failure
        return self._accepted_body(hook, response)

    def _accepted_body(self, hook: Hook, response: HttpResponse) -> bytes:
        """The body of a response that can be parsed. Raises ``_TemporaryFailure`` for 5xx, else ``HookFailed``."""
        body = response.body
        if response.status >= 500:
            raise _TemporaryFailure(f"answered {response.status}: {excerpt(body)}")
        if not response.is_success:
            raise HookFailed(f"{hook} answered {response.status}, not 2xx: {excerpt(body)}")
        if len(body) > self._response_bytes_max:
            raise HookFailed(f"{hook} answered with more than {self._response_bytes_max} bytes: {excerpt(body)}")
        content_type = response.header(b"content-type").partition(";")[0].strip().lower()
        if body.strip() and content_type != "application/json":
            raise HookFailed(f"{hook} answered with Content-Type {content_type!r}; it must be application/json")
        return body


def _without_secrets(url: str) -> str:
    """The URL for the log: without user name, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
