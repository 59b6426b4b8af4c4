"""``/api/quota``: what the client has used of its quotas. ``/api/quotas/SUBJECT``: the quotas and limits of others."""

from __future__ import annotations

from tusd_py.access.quota import QuotaPolicy, UnknownSubject, parse_subject, quota_views, subject_of
from tusd_py.contracts.quota_ledger import QuotaLedger
from tusd_py.model.audit import AuditKind
from tusd_py.model.principal import Verb
from tusd_py.model.quota import Quota, QuotaLimits
from tusd_py.web.api.call import Access, ApiRoute, Call
from tusd_py.web.api.problems import ApiError

_NOT_COUNTED = (Quota.BYTES_STORED, Quota.UPLOADS_AT_ONCE)


async def show_quota(call: Call) -> object:
    policy, ledger = _quotas(call)
    return await _view(
        call, subject_of(call.principal.subject, call.address), policy.limits_for(call.principal), ledger
    )


async def show_quotas(call: Call) -> object:
    """The quotas of a subject. Limits of its tokens are not known here: those of the settings stand for them."""
    policy, ledger = _quotas(call)
    return await _view(call, _subject(call), policy.limits, ledger)


async def replace_limits(call: Call) -> object:
    """Set all limits of a subject. A quota that the body does not name follows the settings."""
    return await _change(call, replaces=True)


async def change_limits(call: Call) -> object:
    """Set those limits of a subject that the body names."""
    return await _change(call, replaces=False)


async def remove_limits(call: Call) -> object:
    """Let the limits of the settings apply to a subject again."""
    _, ledger = _quotas(call)
    subject = _subject(call)
    await ledger.change_limits(subject, {}, [*Quota], call.audit("set", AuditKind.QUOTA, subject))
    return None


async def _change(call: Call, *, replaces: bool) -> object:
    policy, ledger = _quotas(call)
    subject = _subject(call)
    body = (await call.json()).only(*(quota.value for quota in Quota))
    named = [quota for quota in Quota if body.has(quota.value)]
    limits = {quota: body.limit(quota.value) for quota in named if not body.is_default(quota.value)}
    if not policy.counts_now and any(limits.get(quota) is not None for quota in _NOT_COUNTED):
        raise ApiError(409, "neither quotas.bytes_stored nor quotas.uploads_at_once is set: nothing counts them")
    removed = [quota for quota in (Quota if replaces else named) if quota not in limits]
    await ledger.change_limits(subject, limits, removed, call.audit("set", AuditKind.QUOTA, subject))
    return await _view(call, subject, policy.limits, ledger)


async def _view(call: Call, subject: str, limits: QuotaLimits, ledger: QuotaLedger) -> object:
    policy, now = _quotas(call)[0], call.ports.clock()
    of_subject = await ledger.find_limits(subject)
    usage = await ledger.usage(subject, policy.periods(now))
    return {"subject": subject, "quotas": quota_views(policy, usage, limits, of_subject, now)}


def _quotas(call: Call) -> tuple[QuotaPolicy, QuotaLedger]:
    ports = call.ports
    if ports.quotas is None or ports.quota_ledger is None:
        raise ApiError(404, "quotas are off (quotas.enabled)")
    return ports.quotas, ports.quota_ledger


def _subject(call: Call) -> str:
    try:
        return parse_subject(call.path("subject"))
    except ValueError as error:
        raise ApiError(404 if isinstance(error, UnknownSubject) else 400, str(error)) from None


ROUTES = (
    ApiRoute("GET", "/api/quota", show_quota, Access.CLIENT),
    # An owner may have any printable characters, such as those of a URL.
    ApiRoute("GET", "/api/quotas/{subject:path}", show_quotas, Verb.OBSERVE),
    ApiRoute("PUT", "/api/quotas/{subject:path}", replace_limits, Verb.OPERATE),
    ApiRoute("PATCH", "/api/quotas/{subject:path}", change_limits, Verb.OPERATE),
    ApiRoute("DELETE", "/api/quotas/{subject:path}", remove_limits, Verb.OPERATE, status=204),
)
