"""Hooks over HTTP, as tusd v2 calls them: one URL, asked by POST, with tries again where that may help."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import httpx2

from tusd_py.contracts.hooks import HookFailed, HookRequest, HookResponse
from tusd_py.hooks.responses import CountInvocation
from tusd_py.hooks.tusd_json import excerpt, format_request, parse_response
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload

log = logging.getLogger(__name__)

#: Requests to one URL at the same time; more wait, and count that wait as their own. Held here, and not by the pool:
#: one that is cancelled while it waits there can take a place of the pool with it for ever (httpcore issue 1093).
CONNECTIONS_MAX = 100

# Below what common servers keep an idle connection for (Gunicorn 2 s, Node and uvicorn 5 s): one that the other side
# closes while it is taken up again would cost a try.
_KEEP_ALIVE_SECONDS = 1.5
_IDLE_CONNECTIONS_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and for how long one hook is tried: ``attempts`` in all, ``backoff_seconds`` between two of them."""

    attempts: int
    backoff_seconds: float
    attempt_seconds: float
    timeout_seconds: float  # all attempts and the waits between them


class TryAgain(Exception):
    """An attempt that failed in a way that may pass: the network, or the receiver's 5xx."""


class HttpHooks:
    """Asks the hooks in ``hooks`` of one URL that the operator trusts. Redirects are not followed."""

    def __init__(
        self,
        url: str,
        hooks: Collection[Hook],
        *,
        where: Callable[[Upload], Mapping[str, str]],
        count: CountInvocation,
        retry: RetryPolicy,
        forward_headers: Sequence[str] = (),
        answer_bytes_max: int = 5120,
        verifies: bool = True,
    ) -> None:
        self._url = url
        self._name = _without_secrets(url)
        self._hooks = frozenset(hooks)
        self._where = where
        self._count = count
        self._retry = retry
        self._own_headers = own_headers(url)
        self._forwarded = {name.lower().encode(): name.encode() for name in forward_headers}
        self._answer_bytes_max = answer_bytes_max
        self._places = asyncio.Semaphore(CONNECTIONS_MAX)
        # The transport and not the client above it, which would log the URL, keep cookies and read the environment.
        self._transport = _transport(url, verifies)

    def handles(self, hook: Hook) -> bool:
        """See ``HookHandler.wants``."""
        return hook in self._hooks

    async def invoke(self, event: HookRequest) -> HookResponse:
        """See ``HookHandler.ask``."""
        if event.hook not in self._hooks:
            return HookResponse()
        try:
            answer = parse_response(event.hook, await self._call(event))
        except HookFailed as failure:
            self._count(event.hook, True)
            raise HookFailed(f"{self._name}: {failure}") from failure
        self._count(event.hook, False)
        return answer

    async def close(self) -> None:
        """See ``HookHandler.close``."""
        await self._transport.aclose()

    async def _call(self, event: HookRequest) -> bytes:
        """The body of the answer to the first attempt that got one."""
        request = httpx2.Request(
            "POST", self._url, headers=self._headers(event), content=format_request(event, self._where)
        )
        retry, clock = self._retry, asyncio.get_running_loop().time
        deadline = clock() + retry.timeout_seconds
        for left in reversed(range(retry.attempts)):
            try:
                return await self._attempt(event.hook, request, min(retry.attempt_seconds, deadline - clock()))
            except TryAgain as failure:
                if not left or clock() + retry.backoff_seconds >= deadline:
                    raise HookFailed(f"{event.hook} {failure}") from failure
                log.info("hook %s at %s %s; it is tried again", event.hook, self._name, failure)
            await asyncio.sleep(retry.backoff_seconds)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, hook: Hook, request: httpx2.Request, seconds: float) -> bytes:
        """One request and its answer within ``seconds``. Raises ``TryAgain`` or ``HookFailed``."""
        try:
            async with asyncio.timeout(seconds), self._places:
                response = await self._transport.handle_async_request(request)
                try:
                    return await self._answered(hook, response)
                finally:
                    await response.aclose()
        except TimeoutError as failure:
            raise TryAgain(f"took more than {seconds:.3g} seconds") from failure
        except httpx2.TransportError as failure:
            raise TryAgain(f"could not be asked: {type(failure).__name__}: {failure}") from failure

    async def _answered(self, hook: Hook, response: httpx2.Response) -> bytes:
        body = await self._read(response)
        if response.status_code >= 500:
            raise TryAgain(f"was answered {response.status_code}: {excerpt(body)}")
        if not 200 <= response.status_code <= 299:
            raise HookFailed(f"{hook} was answered {response.status_code}, not 2xx: {excerpt(body)}")
        if len(body) > self._answer_bytes_max:
            raise HookFailed(f"{hook} was answered with more than {self._answer_bytes_max} bytes: {excerpt(body)}")
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if body.strip() and content_type != "application/json":
            raise HookFailed(f"{hook} was answered with Content-Type {content_type!r}; it must be application/json")
        return body

    async def _read(self, response: httpx2.Response) -> bytes:
        """The body as it came, up to just beyond what is allowed."""
        body = b""
        async with aclosing(response.aiter_raw()) as pieces:
            async for piece in pieces:
                body += piece[: self._answer_bytes_max + 1 - len(body)]
                if len(body) > self._answer_bytes_max:
                    break
        return body

    def _headers(self, event: HookRequest) -> list[tuple[bytes, bytes]]:
        came = event.caller.headers if event.caller is not None else ()
        forwarded = [(self._forwarded[name], value) for name, value in came if name in self._forwarded]
        names = {name.lower() for name, _ in forwarded}
        # As in Go: credentials of the URL are sent where the client's are not.
        return [*(own for own in self._own_headers if own[0].lower() not in names), *forwarded]


def own_headers(url: str) -> list[tuple[bytes, bytes]]:
    """The headers of every request to a hook at ``url``, with the credentials that stand in it."""
    headers = [
        (b"Content-Type", b"application/json"),
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"identity"),  # what was packed could be small on the way and large once unpacked
        (b"User-Agent", b"tusd-py"),
    ]
    parts = urlsplit(url)
    if parts.username or parts.password:
        credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers.append((b"Authorization", b"Basic " + b64encode(credentials.encode())))
    return headers


def _transport(url: str, verifies: bool) -> httpx2.AsyncHTTPTransport:
    is_verified = url.lower().startswith("https:") and verifies
    return httpx2.AsyncHTTPTransport(
        # Reading the certificates of the system takes a tenth of a second: not where they are not needed.
        verify=httpx2.create_ssl_context(trust_env=False) if is_verified else False,
        trust_env=False,
        limits=httpx2.Limits(
            max_connections=None,
            max_keepalive_connections=_IDLE_CONNECTIONS_MAX,
            keepalive_expiry=_KEEP_ALIVE_SECONDS,
        ),
    )


def _without_secrets(url: str) -> str:
    """The URL as it may stand in a log: without password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
