"""Builds the Starlette application and opens and closes the backends behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import Scope

from tusd_py.access.ports import AccessPorts
from tusd_py.contracts.hooks import HookFunctions
from tusd_py.maintenance import Maintenance
from tusd_py.protocol.draft.combined import CombinedFormatter
from tusd_py.protocol.draft.parsing import DraftParser
from tusd_py.protocol.draft.responses import DraftFormatter
from tusd_py.protocol.draft.versions import NEWEST, UNVERSIONED, VERSIONS, Dialect, Version
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.parsing import Parser
from tusd_py.protocol.responses import Formatter, extensions
from tusd_py.protocol.rules import Limits
from tusd_py.scheduler import Scheduler
from tusd_py.schedules import enabled_schedules
from tusd_py.settings import Settings
from tusd_py.uploads.ports import Ports
from tusd_py.web.api_cors import ApiCors
from tusd_py.web.app import PrefixRoute, ServerApp, metrics_route
from tusd_py.web.client_address import ClientAddresses
from tusd_py.web.cors import CorsPolicy
from tusd_py.web.cross_origin import CrossOriginPolicy
from tusd_py.web.direct import DirectAnswers
from tusd_py.web.health import Readiness, health_routes
from tusd_py.web.location import Locator
from tusd_py.web.metrics import ServerMetrics
from tusd_py.web.negotiation import NegotiatedProtocol, Protocols
from tusd_py.web.page.accepted import ANY_FILE, accepted_files
from tusd_py.web.page.files import PageAccess, PageOptions
from tusd_py.web.page.logo import read_logo
from tusd_py.web.page.routes import page_routes
from tusd_py.web.request_body import ActiveBodies
from tusd_py.web.security_headers import SecurityHeaders
from tusd_py.web.tus import TusEndpoint
from tusd_py.wiring.authenticators import authenticator, download_origin
from tusd_py.wiring.clock import utc_now
from tusd_py.wiring.ports import abandon_ports, close_ports, open_ports
from tusd_py.wiring.processing import reload_rules
from tusd_py.wiring.upload_policy import limits

if TYPE_CHECKING:
    from tusd_py.web.api.call import ApiContext

#: The life of a download link that the page makes: people send it to others, and they may open it days later.
_PAGE_LINK_SECONDS = 7 * 24 * 60 * 60


class Service:
    """The parts of one server. ``endpoint`` can be called at once: the first request opens the backends.

    Raises ``OSError`` with a sentence for the operator if a key of the access control cannot be used.

    ``functions`` are hooks as Python callables; ``trailers`` says whether the HTTP server passes trailers on.
    """

    def __init__(
        self,
        settings: Settings,
        functions: HookFunctions | None = None,
        clock: Callable[[], datetime] | None = None,
        *,
        trailers: bool = False,
    ) -> None:
        self.settings = settings
        self.metrics = ServerMetrics()
        self.active_bodies = ActiveBodies()
        self.limits = limits(settings)
        self.locator = Locator(
            public_url=settings.server.public_url,
            location=settings.server.location,
            trusted_proxies=settings.server.trusted_proxies,
            forwarded_headers=settings.server.forwarded_headers,
        )
        self.download_origin = download_origin(settings, self.locator)
        self.authenticator = authenticator(settings, self.locator, self.access_ports)
        self._clock = clock
        self.endpoint = self._endpoint(trailers)
        self._functions = functions or {}
        self._ports: Ports | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # the loop in which the ports were opened
        self._opening = asyncio.Lock()
        self.maintenance: Maintenance | None = None
        self.scheduler: Scheduler | None = None

    async def ports(self) -> Ports:
        """The ports for the use cases; opens them if they are not open in this event loop."""
        if self._ports is None or self._loop is not asyncio.get_running_loop():
            await self.open()
            assert self._ports is not None
        return self._ports

    def opened(self) -> Ports | None:
        """The ports if they are open in this event loop."""
        return self._ports if self._loop is asyncio.get_running_loop() else None

    def api_context(self) -> ApiContext:
        """The context of the API: URLs, readiness and enabled schedules of this server."""
        from tusd_py.web.api.call import ApiContext
        from tusd_py.web.api.request_bodies import BodyOpener

        def locate(scope: Scope) -> str:
            path = scope.get("root_path", "").rstrip("/") + self.settings.server.base_path
            return self.locator.collection(scope, path, Headers(scope["headers"])).url

        uploads = self.settings.uploads
        return ApiContext(
            locate=locate,
            download_url=self.settings.server.download_url,
            is_draining=lambda: self.active_bodies.is_draining,
            readiness=Readiness(self.ports, self.active_bodies),
            schedules=frozenset(schedule.name for schedule in enabled_schedules(self.settings)),
            bodies=BodyOpener(self.active_bodies, uploads.body_idle_seconds, uploads.body_rate_min),
        )

    async def access_ports(self) -> AccessPorts:
        """The backends of access control, as ``ports``. Only for servers with access control."""
        access_ports = (await self.ports()).access_ports
        assert access_ports is not None, "access control is on"
        return access_ports

    async def open(self) -> None:
        """Open records, store and locker, apply pending migrations, and start the periodic tasks.

        Does nothing if they are open. Raises ``OSError`` or ``RecordsError`` with a sentence for the operator.
        """
        async with self._opening:
            if self._ports is not None and self._loop is not None and self._loop.is_closed():
                abandoned, self._ports = self._ports, None
                self.maintenance = self.scheduler = None
                await abandon_ports(abandoned)
            if self._ports is None:
                self._ports = await self._open()
                if self._ports.audit is not None:
                    self._ports.audit.on_dropped = self.metrics.audit_dropped.inc
                self._loop = asyncio.get_running_loop()
                maintenance = self.maintenance = Maintenance(self._ports, self.settings, self.metrics)
                if schedules := enabled_schedules(self.settings):
                    self.scheduler = Scheduler(self._ports, self.settings, schedules, self.metrics, maintenance)

    def reload_rules(self, settings: Settings) -> None:
        """Apply the validation rules of ``settings`` from now on. Call it on the event loop."""
        self.settings = settings
        if self._ports is not None:
            reload_rules(self._ports, settings)

    async def close(self) -> None:
        """Save and end running uploads, stop the periodic tasks and close the backends. It can be opened again."""
        if self._ports is None:
            return
        ports, self._ports = self._ports, None
        self.active_bodies.drain()
        if self.scheduler is not None:
            await self.scheduler.stop()
            self.scheduler = None
        if self.maintenance is not None:
            await self.maintenance.stop()
            self.maintenance = None
        await close_ports(ports, self.settings)
        self.metrics.close()
        self.active_bodies.reopen()

    async def _open(self) -> Ports:
        return await open_ports(
            self.settings,
            self._functions,
            count_hook=self.metrics.hook,
            observe_hook=self.metrics.hook_seconds,
            clock=self._clock,
            count_complete=self.metrics.complete,
        )

    def _endpoint(self, trailers: bool) -> TusEndpoint:
        settings = self.settings
        trailers = trailers and settings.server.checksum_trailers != "never"
        return TusEndpoint(
            open=self.ports,
            protocols=protocols(settings, self.limits, self._clock or utc_now, trailers=trailers),
            interim_responses=settings.server.interim_responses,
            trailers=settings.server.checksum_trailers if trailers else "never",
            refusal_read_bytes_max=settings.server.refusal_read_bytes_max,
            cors=CorsPolicy(**settings.cors.model_dump()),
            locator=self.locator,
            client_addresses=ClientAddresses(
                trusted_proxies=settings.server.trusted_proxies, forwarded_headers=settings.server.forwarded_headers
            ),
            metrics=self.metrics,
            active_bodies=self.active_bodies,
            body_idle_seconds=settings.uploads.body_idle_seconds,
            body_rate_min=settings.uploads.body_rate_min,
            authenticator=self.authenticator,
            download_origin=self.download_origin,
        )


def protocols(settings: Settings, limits: Limits, clock: Callable[[], datetime], *, trailers: bool) -> Protocols:
    """The protocols of the endpoint: tus 1.0 and, unless it is switched off, every version of the IETF draft."""
    paths: tuple[str, ...] = (settings.server.base_path,)
    if settings.server.public_url:
        paths += (urlsplit(settings.server.public_url).path.rstrip("/") + "/",)
    unfinished_seconds = settings.expiration.unfinished_seconds
    tus_formatter = Formatter(
        limits=limits,
        extensions=extensions(limits, expiration=bool(unfinished_seconds), trailers=trailers),
        inline_types=frozenset(settings.uploads.inline_types),
    )
    tus_parser = Parser(
        trailers=trailers,
        limits=limits,
        hosts=settings.uploads.concat_hosts,
        base_paths=paths,
        fills=settings.links.enabled,
    )
    tus = NegotiatedProtocol(tus_parser, tus_formatter)
    if not settings.uploads.ietf_draft:
        return Protocols(tus, {}, {})
    others: dict[Dialect | Version, NegotiatedProtocol] = {}
    for version in (*VERSIONS.values(), UNVERSIONED):
        formatter = DraftFormatter(limits=limits, version=version, clock=clock, unfinished_seconds=unfinished_seconds)
        interim = None if version is UNVERSIONED else formatter
        others[version] = NegotiatedProtocol(DraftParser(limits=limits, version=version), formatter, interim)
        if version is NEWEST:
            combined = CombinedFormatter(tus=tus_formatter, draft=formatter)
            others[Dialect.BOTH] = NegotiatedProtocol(tus_parser, combined)
            with_patch = replace(combined, has_accept_patch=True)
            others[Dialect.BOTH_WITH_ACCEPT_PATCH] = NegotiatedProtocol(tus_parser, with_patch)
    return Protocols(tus, others, VERSIONS)


def page_options(settings: Settings) -> PageOptions:
    """The options of the upload page, by the settings. Raises ``OSError`` if the logo cannot be read."""
    validation = settings.validation
    return PageOptions(
        endpoint=settings.server.public_url or settings.server.base_path,
        title=settings.page.title,
        colour=settings.page.colour,
        logo=read_logo(settings.page.logo),
        length_max=settings.uploads.length_max,
        accepted=accepted_files(validation.rules, validation.unmatched) if validation.enabled else ANY_FILE,
        access=_page_access(settings),
    )


def _page_access(settings: Settings) -> PageAccess:
    # The cookies of a login belong to the page's own origin, and to an endpoint there.
    return PageAccess(
        login=settings.accounts.enabled and settings.accounts.cookies,
        codes=settings.codes.enabled,
        anonymous=settings.access.anonymous == "all",
        link_seconds=int(min(_PAGE_LINK_SECONDS, settings.links.seconds_max)) if settings.links.enabled else 0,
    )


def create_app(settings: Settings, functions: HookFunctions | None = None, *, trailers: bool = False) -> Starlette:
    """Build the whole server as a Starlette application.

    Called on the event loop, ``app.state.drain()`` begins a graceful shutdown, and ``app.state.reload_rules(settings)``
    takes over validation rules. ``trailers`` says whether the HTTP server passes trailers on, as ``serving`` does.
    Raises ``OSError`` with a sentence for the operator if a key or the logo of the page cannot be used.
    """
    service = Service(settings, functions, trailers=trailers)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.open()
        try:
            yield
        finally:
            await service.close()

    readiness = Readiness(service.ports, service.active_bodies)
    routes: list[BaseRoute] = health_routes(readiness)
    if settings.metrics.enabled:
        routes.append(metrics_route(service.metrics, settings.metrics.path, service.authenticator))
    if settings.api.enabled or service.authenticator is not None:
        routes += _api_routes(service)
    if settings.has_page:
        routes += page_routes(page_options(settings))
    cross_origin = CrossOriginPolicy(
        locator=service.locator, allow_origins=settings.cors.allow_origins if settings.cors.enabled else ()
    )
    endpoint = PrefixRoute(settings.server.base_path, service.endpoint)
    base_path = settings.server.base_path
    direct = DirectAnswers(service.endpoint, base_path, service.opened)
    app = ServerApp(endpoint, routes, lifespan, cross_origin, service.download_origin, direct)
    if service.authenticator is not None and settings.cors.enabled:
        cors = settings.cors
        app.add_middleware(
            ApiCors,
            allow_origins=cors.allow_origins,
            allow_credentials=cors.allow_credentials,
            max_age=cors.max_age_seconds,
        )
    app.add_middleware(SecurityHeaders)
    app.state.drain = service.active_bodies.drain
    app.state.reload_rules = service.reload_rules
    app.state.count_refused_connection = service.metrics.connections_refused.inc
    return app


def _api_routes(service: Service) -> list[BaseRoute]:
    """The routes of the API; without it, only what clients need to get credentials."""
    # Loaded only where they are used: the modules take a megabyte.
    from tusd_py.web.api.documentation import documentation_routes
    from tusd_py.web.api.routes import CREDENTIAL_ROUTES, api_routes

    ports, authenticator, addresses = service.ports, service.authenticator, service.endpoint.client_addresses
    if not service.settings.api.enabled:
        return api_routes(ports, authenticator, addresses, CREDENTIAL_ROUTES)
    routes = api_routes(ports, authenticator, addresses, context=service.api_context())
    return [*routes, *documentation_routes()] if service.settings.api.docs else routes
