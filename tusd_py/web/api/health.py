"""``/api/health``: as ``/readyz``, for clients of the API. It is 200 also if the server is not ready."""

from __future__ import annotations

from tusd_py.model.principal import Verb
from tusd_py.web.api.call import ApiRoute, Call, available


async def show_health(call: Call) -> object:
    readiness = available(call.context.readiness, "this application does not report its health")
    _, content = await readiness.report()
    return content


ROUTES = (ApiRoute("GET", "/api/health", show_health, Verb.OBSERVE),)
