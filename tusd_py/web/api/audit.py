"""``/api/audit``: the entries of the audit log, for administrators."""

from __future__ import annotations

from tusd_py.model.audit import AuditFilter, AuditKind, AuditOutcome
from tusd_py.model.principal import Verb
from tusd_py.views import audit_view
from tusd_py.web.api.call import ApiRoute, Call, available
from tusd_py.web.api.cursors import NUMBER_MAX
from tusd_py.web.api.problems import ApiError


async def list_entries(call: Call) -> object:
    """Entries that match, newest first."""
    query = call.query
    trail = available(call.ports.audit, "the audit log is off (audit.enabled)")
    kinds, outcomes = query.choices("kind", AuditKind), query.choices("outcome", AuditOutcome)
    if len(kinds) > 1 or len(outcomes) > 1:
        raise ApiError(400, "kind and outcome may be given once each")
    matching = AuditFilter(
        subject=query.text("subject"),
        verb=query.text("verb"),
        kind=kinds[0] if kinds else None,
        object_id=query.text("id"),
        outcome=outcomes[0] if outcomes else None,
        address=query.text("address"),
        since=query.instant("since"),
        until=query.instant("until"),
    )
    before = query.number("before", NUMBER_MAX)
    page = await trail.log.search(matching, before=None if before == NUMBER_MAX else before, limit=query.limit())
    return {"entries": [audit_view(recorded) for recorded in page.entries], "next": page.next}


_FILTERS = ("subject", "verb", "kind", "id", "outcome", "address", "since", "until")

ROUTES = (ApiRoute("GET", "/api/audit", list_entries, Verb.OPERATE, query=(*_FILTERS, "before", "limit")),)
