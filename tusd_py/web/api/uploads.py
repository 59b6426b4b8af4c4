"""``/api/uploads``: lists of uploads, and what belongs to one of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tusd_py.model.ids import known_id
from tusd_py.model.principal import Verb
from tusd_py.model.upload import Status
from tusd_py.protocol.errors import AccessDenied
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.listing import FAR, PageKey, UploadFilter, microseconds, name_key
from tusd_py.protocol.outcomes import Content
from tusd_py.protocol.parsing import parse_download
from tusd_py.protocol.requests import Terminate
from tusd_py.protocol.responses import Formatter, ResponseContext
from tusd_py.uploads.authorize import authorize
from tusd_py.uploads.download import download
from tusd_py.uploads.terminate import terminate
from tusd_py.views import event_view, job_view, metadata_view, upload_view
from tusd_py.web.api.call import Access, ApiRoute, Call, unknown_upload
from tusd_py.web.api.cursors import LIMIT_MAX, format_cursor, parse_cursor
from tusd_py.web.api.jobs import job_queue
from tusd_py.web.response_body import BodySender

_NAME_CHARACTERS_MAX = 255
#: How long a client of another HTTP server than our own may take nothing of a download.
_IDLE_SECONDS = 60.0


async def list_uploads(call: Call) -> object:
    """Uploads that the principal may inspect: its own, or those of all owners if its roles allow that."""
    if not call.may(Verb.INSPECT):
        raise AccessDenied
    query = call.query
    statuses = query.choices("status", Status)
    wanted = UploadFilter(
        statuses=frozenset(statuses or Status),
        owner=query.text("owner") if "owner" in query else None,
        created_from=microseconds(query.instant("created_from"), 0),
        created_before=microseconds(query.instant("created_before"), FAR),
        name_prefix=name_key(query.text("name", _NAME_CHARACTERS_MAX)),
        declared_type=query.text("declared_type").lower(),
        detected_type=query.text("detected_type").lower(),
        grant=query.text("grant"),
    )
    limit = query.limit()
    own = None if call.policy is None else call.policy.only_listed_owner(call.principal)
    if own is not None:
        if wanted.owner not in (None, own):
            return {"uploads": [], "next": None}
        wanted = replace(wanted, owner=own)
    kind = "name" if wanted.is_by_name else "time"
    after = None
    if "cursor" in query:
        first = str if wanted.is_by_name else int
        after = cast("PageKey", tuple(parse_cursor(query.text("cursor", 4096), kind, first, str)))
    page = await call.ports.records.search(wanted, limit, after)
    following = None if page.next is None else format_cursor(kind, *page.next)
    return {"uploads": [upload_view(upload) for upload in page.uploads], "next": following}


async def show_upload(call: Call) -> object:
    return upload_view(await call.visible_upload(call.path("upload_id")))


async def show_metadata(call: Call) -> object:
    upload = await call.visible_upload(call.path("upload_id"))
    return {"metadata": metadata_view(upload), "header": upload.metadata_header or ""}


async def list_parts(call: Call) -> object:
    """The partial uploads of a final upload, in order; a part that is gone has only its id."""
    upload = await call.visible_upload(call.path("upload_id"))
    position, limit = 0, call.query.limit()
    if "cursor" in call.query:
        position = int(parse_cursor(call.query.text("cursor"), "parts", int)[0])
    ids = upload.parts[position : position + limit]
    found = await call.ports.records.find_all(ids)
    parts = [{"id": each} if part is None else upload_view(part) for each, part in zip(ids, found, strict=True)]
    has_more = position + limit < len(upload.parts)
    return {"parts": parts, "next": format_cursor("parts", position + limit) if has_more else None}


async def list_upload_events(call: Call) -> object:
    """The events of the upload, oldest first."""
    upload = await call.visible_upload(call.path("upload_id"))
    events = await job_queue(call).list_events(upload_id=upload.id, after=0, limit=LIMIT_MAX)
    return {"events": [{"place": place, **event_view(event)} for place, event in events]}


async def list_upload_jobs(call: Call) -> object:
    """The jobs of the upload, newest first."""
    upload = await call.visible_upload(call.path("upload_id"))
    jobs = await job_queue(call).list_jobs(upload_id=upload.id, limit=LIMIT_MAX)
    return {"jobs": [job_view(job) for job in jobs]}


async def delete_upload(call: Call) -> object:
    """End the upload, exactly as DELETE of its URL does, with the same hooks."""
    call.ensure_switched_on(call.ports.policy.limits.termination, "uploads.termination")
    upload_id = known_id(call.path("upload_id"))
    if upload_id is None:
        raise unknown_upload()
    request = Terminate(upload_id=upload_id)
    caller = await authorize(call.ports, request, call.caller())
    await terminate(call.ports, request, caller)
    return None


async def download_upload(call: Call) -> object:
    """The bytes, as GET of the upload's URL sends them; browsers always save them."""
    call.ensure_switched_on(call.ports.policy.limits.downloads, "uploads.downloads")
    upload_id = known_id(call.path("upload_id"))
    if upload_id is None:
        raise unknown_upload()
    request = parse_download(Headers(call.request.scope["headers"]), upload_id)
    await authorize(call.ports, request, call.caller())
    outcome = await download(call.ports, request)
    formatter = Formatter(limits=call.ports.policy.limits, extensions=(), inline_types=frozenset())
    response = formatter.format_outcome(outcome, ResponseContext("GET", "GET"))
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
    return _ContentResponse(response.status, fields, outcome.body)


class _ContentResponse(Response):
    """Sends the content of an upload, by zero-copy where store and server support it."""

    def __init__(self, status: int, headers: Mapping[str, str], content: Content | None) -> None:
        super().__init__(status_code=status, headers=headers)
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._content is None:
            await super().__call__(scope, receive, send)
            return
        async with aclosing(self._content):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            acquire = scope.get("extensions", {}).get("tusd_py", {}).get("acquire_send_socket")
            await BodySender(receive, send, _IDLE_SECONDS, acquire).run(self._content)


_FILTERS = ("status", "owner", "created_from", "created_before", "name", "declared_type", "detected_type", "grant")

ROUTES = (
    ApiRoute("GET", "/api/uploads", list_uploads, Access.PRINCIPAL, query=(*_FILTERS, "limit", "cursor")),
    ApiRoute("GET", "/api/uploads/{upload_id}", show_upload, Access.PRINCIPAL),
    ApiRoute("DELETE", "/api/uploads/{upload_id}", delete_upload, Access.PRINCIPAL, status=204),
    ApiRoute("GET", "/api/uploads/{upload_id}/metadata", show_metadata, Access.PRINCIPAL),
    ApiRoute("GET", "/api/uploads/{upload_id}/content", download_upload, Access.PRINCIPAL),
    ApiRoute("GET", "/api/uploads/{upload_id}/parts", list_parts, Access.PRINCIPAL, query=("limit", "cursor")),
    ApiRoute("GET", "/api/uploads/{upload_id}/events", list_upload_events, Access.PRINCIPAL),
    ApiRoute("GET", "/api/uploads/{upload_id}/jobs", list_upload_jobs, Verb.OBSERVE),
)
