"""``/api/events``: what has happened to uploads."""

from __future__ import annotations

from tusd_py.model.principal import Verb
from tusd_py.views import event_view
from tusd_py.web.api.call import ApiRoute, Call
from tusd_py.web.api.cursors import format_cursor, parse_cursor
from tusd_py.web.api.jobs import job_queue


async def list_events(call: Call) -> object:
    """Events in order: the newest, or with ``after`` those that follow this place."""
    query = call.query
    after = query.number("after", 0)
    if "cursor" in query:
        after = max(after, int(parse_cursor(query.text("cursor"), "events", int)[0]))
    events = await job_queue(call).list_events(
        after=after,
        upload_id=query.text("upload"),
        newest="after" not in query and "cursor" not in query,
        limit=query.limit(),
    )
    # Also at the end: more events will follow.
    last = events[-1][0] if events else after
    content = [{"place": place, **event_view(event)} for place, event in events]
    return {"events": content, "next": format_cursor("events", last)}


ROUTES = (ApiRoute("GET", "/api/events", list_events, Verb.OBSERVE, query=("after", "upload", "limit", "cursor")),)
