"""The HTTP client of the program: blocking hooks over HTTP, webhook deliveries, and the keys of tokens.

It owns what both need: connections, TLS, time and size limits, the headers of a request. What a status means is
decided by its callers. Importing this module loads the HTTP library, so only code that needs it does.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import string
from base64 import b64encode
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

import httpcore2

from tusd_py.hooks.network import ResolvingBackend
from tusd_py.model.caller import Caller, HeaderList

#: At most this much is read of a response outside 2xx: its body is only quoted in the log.
REFUSAL_BYTES_MAX = 4096

# Shorter than common servers keep an idle connection (Gunicorn 2 s, Node and uvicorn 5 s): a connection that the other
# side closes just as it is used again would cost an attempt.
_KEEP_ALIVE_SECONDS = 1.5
_IDLE_CONNECTIONS_MAX = 20
# RFC 9110, 5.5: what a value may contain. Our HTTP server accepts more of its clients than the library sends.
_VALUE = re.compile(rb"[^\x00\n\x0b\x0c\r]*")


class RequestFailed(Exception):
    """No complete response arrived; the text says why and follows the name of the hook or endpoint in a sentence."""


class RequestInvalid(RequestFailed):
    """The request can never be sent, because its URL or one of its headers is not valid. Another attempt is useless."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response with the first bytes of its body."""

    status: int
    headers: HeaderList
    body: bytes

    @property
    def is_success(self) -> bool:
        return _is_success(self.status)

    def header(self, name: bytes) -> str:
        """The first value of the header ``name`` (in lower case); empty if it is absent."""
        return next((value for key, value in self.headers if key.lower() == name), b"").decode("latin-1").strip()


class HttpClient:
    """Sends requests over a pool of reused connections. Belongs to one event loop.

    Redirects are not followed, cookies are not kept, and proxies of the environment are not used. ``backend`` makes
    the connections; the default connects to any address (see ``ssrf.PublicOnlyBackend``).
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        *,
        backend: ResolvingBackend | None = None,
        requests_max: int | None = None,
    ) -> None:
        # The limit is enforced here and not by the pool: a request that is cancelled while it waits for a connection
        # can occupy a slot of the pool forever (httpcore issue 1093).
        self._slots = None if requests_max is None else asyncio.Semaphore(requests_max)
        self._backend = backend or ResolvingBackend()
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,
            max_keepalive_connections=_IDLE_CONNECTIONS_MAX,
            keepalive_expiry=_KEEP_ALIVE_SECONDS,
            network_backend=self._backend,
        )

    async def post(
        self, url: str, headers: HeaderList, body: bytes, *, timeout_seconds: float, response_bytes_max: int
    ) -> HttpResponse:
        """Send ``body`` by POST and return the response, of whose body at most ``response_bytes_max`` bytes are read.

        ``timeout_seconds`` covers everything, also the wait for one of ``requests_max`` slots. Raises
        ``RequestFailed``; ``RequestInvalid`` if another attempt is useless.
        """
        return await self._bounded("POST", url, headers, body, timeout_seconds, response_bytes_max)

    async def get(
        self, url: str, headers: HeaderList, *, timeout_seconds: float, response_bytes_max: int
    ) -> HttpResponse:
        """Send a GET request; returns and raises what ``post`` does."""
        return await self._bounded("GET", url, headers, b"", timeout_seconds, response_bytes_max)

    async def _bounded(
        self, method: str, url: str, headers: HeaderList, body: bytes, timeout_seconds: float, response_bytes_max: int
    ) -> HttpResponse:
        try:
            async with asyncio.timeout(timeout_seconds):
                if self._slots is None:
                    return await self._exchange(method, url, headers, body, response_bytes_max)
                async with self._slots:
                    return await self._exchange(method, url, headers, body, response_bytes_max)
        except TimeoutError as failure:
            raise RequestFailed(f"took more than {round(timeout_seconds, 3):g} seconds") from failure
        except httpcore2.LocalProtocolError:
            # Its text has the value of the header, which may be a credential.
            raise RequestInvalid("was not called: a header of the request is not valid in HTTP") from None
        except httpcore2.UnsupportedProtocol as failure:
            raise RequestInvalid(f"was not called: {failure}") from failure
        except (
            httpcore2.NetworkError,
            httpcore2.ProtocolError,
            httpcore2.TimeoutException,
            OSError,
        ) as failure:
            raise RequestFailed(f"gave no complete response: {type(failure).__name__}: {failure}") from failure

    async def close(self) -> None:
        """Close all connections. The client cannot be used afterwards."""
        await self._pool.aclose()
        self._backend.close()

    async def _exchange(
        self, method: str, url: str, headers: HeaderList, body: bytes, response_bytes_max: int
    ) -> HttpResponse:
        try:
            host, target = _host_header(url), _target(url)
        except ValueError as error:  # also UnicodeError, of names that IDNA does not allow
            raise RequestInvalid("was not called: its URL is not valid") from error
        request_headers = [(b"Host", host), *headers, (b"Content-Length", b"%d" % len(body))]
        async with self._pool.stream(method, target, headers=request_headers, content=body) as response:
            limit = response_bytes_max if _is_success(response.status) else min(response_bytes_max, REFUSAL_BYTES_MAX)
            return HttpResponse(response.status, response.headers, await _read(response, limit))


class RequestHeaders:
    """The headers of requests to ``url``: the fixed ones, the credentials in the URL, and headers of the client.

    ``forward_headers`` names the client's headers that are sent on. Like Go's client, credentials of the URL are sent
    only where the client's own are not.
    """

    def __init__(self, url: str, forward_headers: Sequence[str] = ()) -> None:
        self._fixed = _fixed_headers(url)
        self._forwarded = {name.lower().encode(): name.encode() for name in forward_headers}

    def for_caller(self, caller: Caller | None) -> list[tuple[bytes, bytes]]:
        """The headers of one request; names of forwarded headers are written as in ``forward_headers``.

        Whitespace around values is removed, and a value that HTTP does not allow is left out: the HTTP library would
        refuse the request, and so would the receiver.
        """
        received = caller.headers if caller is not None else ()
        forwarded = [
            (self._forwarded[name], value.strip())
            for name, value in received
            if name in self._forwarded and _VALUE.fullmatch(value.strip())
        ]
        names = {name.lower() for name, _ in forwarded}
        return [*(header for header in self._fixed if header[0].lower() not in names), *forwarded]


def tls_context(url: str, *, verifies: bool) -> ssl.SSLContext:
    """TLS settings for ``url``. They trust the operating system's certificates, or those of ``SSL_CERT_FILE``.

    Blocks for about a tenth of a second while it reads them, which it does for https URLs only.
    """
    if verifies and url.lower().startswith("https:"):
        return httpcore2.default_ssl_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _is_success(status: int) -> bool:
    return 200 <= status <= 299


def _fixed_headers(url: str) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"Content-Type", b"application/json"),
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"identity"),  # a compressed response could be small on the wire and huge in memory
        (b"User-Agent", b"tusd-py"),
    ]
    parts = urlsplit(url)
    if parts.username or parts.password:
        credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers.append((b"Authorization", b"Basic " + b64encode(credentials.encode())))
    return headers


def _target(url: str) -> httpcore2.URL:
    parts = urlsplit(url)
    # Percent signs stay: the operator has encoded the URL, except perhaps for characters outside of ASCII.
    path, query = (quote(part, safe=string.punctuation) for part in (parts.path or "/", parts.query))
    return httpcore2.URL(
        scheme=parts.scheme, host=_host(url), port=parts.port, target=f"{path}?{query}" if query else path
    )


def _host_header(url: str) -> bytes:
    host, parts = _host(url), urlsplit(url)
    if b":" in host:
        host = b"[%b]" % host
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return host if parts.port in (None, default) else b"%b:%d" % (host, parts.port)


def _host(url: str) -> bytes:
    host = urlsplit(url).hostname or ""
    return host.encode() if host.isascii() else host.encode("idna")


async def _read(response: httpcore2.Response, bytes_max: int) -> bytes:
    """The first ``bytes_max`` bytes of the body; a body that never ends is not read further."""
    body = b""
    async with aclosing(response.aiter_stream()) as chunks:
        async for chunk in chunks:
            body += chunk[: bytes_max - len(body)]
            if len(body) >= bytes_max:
                break
    return body
