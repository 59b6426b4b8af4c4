"""The tus endpoint as an ASGI application: parse the request, run its use case, format the response."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

from starlette.types import Receive, Scope, Send

from tusd_py.contracts.hooks import HookFailed
from tusd_py.contracts.locker import LockTimeout
from tusd_py.contracts.progress import ProgressListener
from tusd_py.contracts.store import StoreError
from tusd_py.model.caller import Caller
from tusd_py.model.principal import Principal
from tusd_py.protocol.access_errors import Unauthenticated
from tusd_py.protocol.errors import TusError, UploadStopped
from tusd_py.protocol.outcomes import Created, Discovered, Outcome, Terminated
from tusd_py.protocol.parsing import effective_method
from tusd_py.protocol.requests import Append, Create, Discover, Download, Fill, Head, Inspect, Request, Terminate
from tusd_py.protocol.responses import Response
from tusd_py.uploads.append import append
from tusd_py.uploads.authorize import authorize, record_refusal
from tusd_py.uploads.create import create
from tusd_py.uploads.download import download_or_redirect
from tusd_py.uploads.fill import fill
from tusd_py.uploads.inspect import inspect
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.terminate import terminate
from tusd_py.web.authentication import Authenticator, link_suffix
from tusd_py.web.client_address import ClientAddresses
from tusd_py.web.cors import CorsPolicy
from tusd_py.web.download_origin import DownloadOrigin
from tusd_py.web.errors import InternalError, to_refusal
from tusd_py.web.exchange import Exchange
from tusd_py.web.intermediaries import Use, is_proxied, is_usable
from tusd_py.web.location import CollectionAddress, Locator
from tusd_py.web.metrics import ServerMetrics
from tusd_py.web.negotiation import Protocols
from tusd_py.web.paced_body import paced
from tusd_py.web.request_body import ActiveBodies
from tusd_py.web.request_id import RequestIds

log = logging.getLogger(__name__)

#: Requests that may change an upload.
_CHANGES = (Create, Fill, Append, Terminate)

_NOWHERE = CollectionAddress("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class TusEndpoint:
    """Answers every request under the path it is mounted at, in any ASGI server.

    ``open`` returns the ports; it opens them at the first request unless the lifespan has done so.
    """

    open: Callable[[], Awaitable[Ports]]
    protocols: Protocols
    cors: CorsPolicy
    locator: Locator
    client_addresses: ClientAddresses
    metrics: ServerMetrics
    active_bodies: ActiveBodies
    body_idle_seconds: float
    body_rate_min: float
    authenticator: Authenticator | None = None  # None while access control is off
    download_origin: DownloadOrigin | None = None  # None without a separate one
    interim_responses: Use = "auto"
    trailers: Use = "never"
    refusal_read_bytes_max: int = 0
    request_ids: RequestIds = field(default_factory=RequestIds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises only if a download breaks off after its status was sent."""
        assert scope["type"] == "http", "mount this under HTTP routes"
        exchange = Exchange(
            scope, receive, send, self.metrics, self.request_ids, self.body_idle_seconds, self.body_rate_min
        )
        self.metrics.open.inc()
        status, error = 0, None
        try:
            response, error = await self._respond(scope, exchange)
            status = response.status
            read_bytes_max = 0
            if error is not None and self.refusal_read_bytes_max and _is_final(error) and is_proxied(exchange.headers):
                read_bytes_max = self.refusal_read_bytes_max
            await exchange.respond(response, self.cors, read_bytes_max)
        except (StoreError, OSError) as failure:
            # A download failed after its status was sent: raising makes the HTTP server break the connection.
            log.warning("request %s: download aborted: %s", exchange.request_id.decode(), failure)
            raise
        finally:
            exchange.body.close()
            self.active_bodies.discard(exchange.body)
            self.metrics.open.dec()
            exchange.finish(scope["path"], status, error)

    async def _respond(self, scope: Scope, exchange: Exchange) -> tuple[Response, TusError | None]:
        collection = scope.get("root_path", "").rstrip("/") + "/"
        path = scope["path"].removeprefix(collection[:-1])
        head = Head(method=exchange.real_method, path=path, headers=exchange.headers)
        protocol = self.protocols.tus
        try:
            exchange.method = effective_method(head)
            protocol = self.protocols.select(head, exchange.method)
            # Only a creation needs to know where its client finds the collection.
            is_creation = exchange.method == "POST" or not path.strip("/")
            at = self._collection_address(scope, collection, exchange) if is_creation else _NOWHERE
            request = protocol.parser.parse(head, at.path or None)
            listener = None
            if protocol.interim is not None and is_usable(self.interim_responses, exchange.headers):
                listener = protocol.progress_listener(exchange.send_interim, at.url)
            outcome = await self._run(await self.open(), request, scope, exchange, listener)
            location = at.url + outcome.upload.id if isinstance(outcome, Created) else ""
            if isinstance(request, Fill):
                # The URL of a link is only one with its signature.
                location += link_suffix(scope)
            else:
                self._count(outcome)
            return protocol.formatter.format_outcome(outcome, exchange.response_context, location), None
        except Exception as failure:  # noqa: BLE001
            # The outermost handler: every exception becomes a response in the protocol of the request.
            error = to_refusal(failure, exchange.method)
            if isinstance(failure, UploadStopped):
                self.metrics.terminated.inc()
            self._log(failure, error, exchange)
            # Its traceback refers to this frame: the cycle would keep the whole request in memory for a long time.
            error.__traceback__ = None
            return protocol.formatter.format_refusal(error, exchange.response_context), error

    def _collection_address(self, scope: Scope, collection: str, exchange: Exchange) -> CollectionAddress:
        if collection == "/" and (raw_path := scope.get("raw_path")):
            # Litestar removes the path of a mount from ``path`` and puts it nowhere.
            collection = unquote(raw_path.decode("latin-1")).rstrip("/") + "/"
        return self.locator.collection(scope, collection, exchange.headers)

    async def _run(
        self, ports: Ports, request: Request, scope: Scope, exchange: Exchange, listener: ProgressListener | None
    ) -> Outcome:
        # Only creations are limited for each client; the log names the client of each change.
        client = ""
        if isinstance(request, _CHANGES) or ports.audit is not None:
            client = self.client_addresses.key(scope, exchange.headers)
        principal = None
        if self.authenticator is not None and not isinstance(request, Discover):
            try:
                principal = await self.authenticator.authenticate(scope, exchange.headers, exchange.method)
            except Unauthenticated as refused:
                record_refusal(ports, request, _caller(scope, exchange, client, None), refused)
                raise
        if self.download_origin is not None:
            self.download_origin.check(scope, exchange.headers, request)
        caller = await authorize(ports, request, _caller(scope, exchange, client, principal))
        if ports.rates.bandwidth is not None and isinstance(request, Create | Append):
            upload_id = request.upload_id if isinstance(request, Append) else ""
            exchange.body = paced(ports.rates.bandwidth, caller, upload_id, exchange.body)
        match request:
            case Create():
                if request.body is not None:
                    self.active_bodies.add(exchange.body)
                return await create(ports, request, caller, exchange.body, listener)
            case Fill():
                self.active_bodies.add(exchange.body)
                return await fill(ports, request, caller, exchange.body, listener)
            case Append():
                self.active_bodies.add(exchange.body)
                return await append(ports, request, caller, exchange.body, listener)
            case Inspect():
                return await inspect(ports, request, caller)
            case Terminate():
                return await terminate(ports, request, caller)
            case Download():
                if (origin := self.download_origin) is not None:
                    access, principal = ports.access_ports, caller.principal
                    redirection = origin.redirection(scope, exchange.headers, request, principal, access)
                    if redirection is not None:
                        return redirection
                return await download_or_redirect(ports, request, caller)
            case Discover():
                return Discovered(trailers=is_usable(self.trailers, exchange.headers))

    def _count(self, outcome: Outcome) -> None:
        if isinstance(outcome, Created):
            self.metrics.created.inc()
        elif isinstance(outcome, Terminated):
            self.metrics.terminated.inc()

    def _log(self, failure: Exception, error: TusError, exchange: Exchange) -> None:
        if isinstance(error, InternalError):
            log.error("request %s failed", exchange.request_id.decode(), exc_info=failure)
        elif failure is not error:
            # The hooks log their outages themselves, once in a while. A client can make its own requests wait for
            # each other as often as it likes.
            level = logging.INFO if isinstance(failure, (HookFailed, LockTimeout)) else logging.WARNING
            log.log(level, "request %s: %s: %s", exchange.request_id.decode(), type(failure).__name__, failure)


def _is_final(error: TusError) -> bool:
    """Whether a client that receives this refusal gives up, so that it must not miss it."""
    return error.status < 500 and error.status not in (409, 423)


def _caller(scope: Scope, exchange: Exchange, client_key: str, principal: Principal | None) -> Caller:
    client = scope.get("client")
    target = scope.get("raw_path") or scope["path"].encode()
    if query := scope.get("query_string"):
        target += b"?" + query
    return Caller(
        remote_address=f"{client[0]}:{client[1]}" if client else "",
        method=exchange.method,
        target=target.decode("latin-1"),
        headers=exchange.headers.raw,
        owner="" if principal is None else principal.subject,
        principal=principal,
        scope=scope,
        is_gone=exchange.is_disconnected,
        client=client_key,
    )
