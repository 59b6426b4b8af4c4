"""The routes of the whole API."""

from __future__ import annotations

from starlette.routing import BaseRoute

from tusd_py.web.api import endpoints, events, jobs, quotas, uploads
from tusd_py.web.api.call import ApiRoute
from tusd_py.web.api.dispatch import ApiDispatcher, OpenPorts
from tusd_py.web.authentication import Authenticator
from tusd_py.web.client_address import ClientAddresses

ROUTES: tuple[ApiRoute, ...] = (
    *uploads.ROUTES,
    *quotas.ROUTES,
    *jobs.ROUTES,
    *events.ROUTES,
    *endpoints.ROUTES,
)


def api_routes(
    open_ports: OpenPorts,
    authenticator: Authenticator | None = None,
    client_addresses: ClientAddresses | None = None,
) -> list[BaseRoute]:
    """Return the routes. No response may be cached. An ``authenticator`` decides which requests are permitted."""
    return ApiDispatcher(open_ports, authenticator, client_addresses or ClientAddresses()).routes(ROUTES)
