"""The routes of the whole API."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute

from tusd_py.web.api import (
    accounts,
    audit,
    auth,
    codes,
    endpoints,
    events,
    health,
    jobs,
    keys,
    links,
    quotas,
    schedules,
    sessions,
    uploads,
)
from tusd_py.web.api.call import ApiContext, ApiRoute
from tusd_py.web.api.dispatch import ApiDispatcher, OpenPorts
from tusd_py.web.authentication import Authenticator
from tusd_py.web.client_address import ClientAddresses

#: What people and programs need to get credentials: served wherever access control is on, also while the API is off.
CREDENTIAL_ROUTES: tuple[ApiRoute, ...] = (*auth.ROUTES, *accounts.OWN_ROUTES)

ROUTES: tuple[ApiRoute, ...] = (
    *CREDENTIAL_ROUTES,
    *accounts.ROUTES,
    *keys.ROUTES,
    *uploads.ROUTES,
    *sessions.ROUTES,
    *quotas.ROUTES,
    *jobs.ROUTES,
    *events.ROUTES,
    *endpoints.ROUTES,
    *health.ROUTES,
    *links.ROUTES,
    *codes.ROUTES,
    *audit.ROUTES,
    *schedules.ROUTES,
)


def api_routes(
    open_ports: OpenPorts,
    authenticator: Authenticator | None = None,
    client_addresses: ClientAddresses | None = None,
    routes: Sequence[ApiRoute] = ROUTES,
    context: ApiContext | None = None,
) -> list[BaseRoute]:
    """Return the routes. No response may be cached. An ``authenticator`` decides which requests are permitted."""
    addresses = client_addresses or ClientAddresses()
    return ApiDispatcher(open_ports, authenticator, addresses, context).routes(routes)
