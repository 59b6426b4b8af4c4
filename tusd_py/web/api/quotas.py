"""``/api/quota``: what the client has used of its quotas, as an owner or else by its address."""

from __future__ import annotations

from tusd_py.access.quota import quota_views, subject_of
from tusd_py.web.api.call import Access, ApiRoute, Call
from tusd_py.web.api.problems import ApiError


async def show_quota(call: Call) -> object:
    ports = call.ports
    if ports.quotas is None or ports.quota_ledger is None:
        raise ApiError(404, "quotas are off (quotas.enabled)")
    subject = subject_of(call.principal.subject, call.address)
    limits = await ports.quota_ledger.find_limits(subject) or ports.quotas.limits_for(call.principal)
    now = ports.clock()
    usage = await ports.quota_ledger.usage(subject, ports.quotas.periods(now))
    return {"subject": subject, "quotas": quota_views(ports.quotas, usage, limits, now)}


ROUTES = (ApiRoute("GET", "/api/quota", show_quota, Access.CLIENT),)
