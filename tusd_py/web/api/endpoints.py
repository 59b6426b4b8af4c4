"""``/api/endpoints``: the webhook endpoints that are closed."""

from __future__ import annotations

from tusd_py.contracts.endpoint_states import EndpointStates
from tusd_py.model.audit import AuditKind
from tusd_py.model.principal import Verb
from tusd_py.model.text import valid_unicode
from tusd_py.views import endpoint_view
from tusd_py.web.api.call import ApiRoute, Call, available
from tusd_py.web.api.problems import ApiError


async def list_endpoints(call: Call) -> object:
    return {"endpoints": [endpoint_view(each) for each in await _states(call).list_closed()]}


async def open_endpoint(call: Call) -> object:
    name = call.path("name")
    audit = call.audit("open", AuditKind.ENDPOINT, name)
    if name != valid_unicode(name) or not await _states(call).open_endpoint(name, audit):
        raise ApiError(409, "no closed endpoint has this name")
    return {"opened": name}


def _states(call: Call) -> EndpointStates:
    sentence = "records are kept in memory; webhooks need a database (records.url)"
    return available(call.ports.endpoint_states, sentence)


ROUTES = (
    ApiRoute("GET", "/api/endpoints", list_endpoints, Verb.OBSERVE),
    # The name of an endpoint may be a URL.
    ApiRoute("POST", "/api/endpoints/{name:path}/open", open_endpoint, Verb.OPERATE),
)
