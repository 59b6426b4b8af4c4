"""``/api/events``: what has happened to uploads."""

from __future__ import annotations

from tusd_py.model.principal import Verb
from tusd_py.views import event_view
from tusd_py.web.api.call import ApiRoute, Call
from tusd_py.web.api.jobs import job_queue


async def list_events(call: Call) -> object:
    """Events in order: the newest, or with ``after`` those that follow this place."""
    events = await job_queue(call).list_events(
        after=call.query.number("after", 0),
        upload_id=call.query.text("upload"),
        newest="after" not in call.query,
        limit=call.query.limit(),
    )
    return {"events": [{"place": place, **event_view(event)} for place, event in events]}


ROUTES = (ApiRoute("GET", "/api/events", list_events, Verb.OBSERVE, query=("after", "upload", "limit")),)
