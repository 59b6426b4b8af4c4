"""``/api/sessions``: files in numbered chunks, for clients of chunk services."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import JSONResponse, Response

from tusd_py.model.ids import is_upload_id
from tusd_py.model.principal import Verb
from tusd_py.model.upload import Kind, Upload
from tusd_py.model.upload_session import CHUNKS_MAX, SessionStatus, UploadSession
from tusd_py.protocol.checksum import parse_checksum
from tusd_py.protocol.errors import AccessDenied, ChecksumMismatch, TusError
from tusd_py.protocol.metadata import format_metadata, parse_metadata
from tusd_py.protocol.requests import BodyInfo, Create
from tusd_py.uploads import sessions as use_cases
from tusd_py.uploads.authorize import authorize
from tusd_py.uploads.sessions import (
    ChunksMissing,
    SessionDeleted,
    SessionExpired,
    SessionFinalized,
    SessionState,
    WrongLength,
)
from tusd_py.views import format_time
from tusd_py.web.api.call import Access, ApiRoute, Call, available
from tusd_py.web.api.cursors import format_cursor, parse_cursor
from tusd_py.web.api.problems import ApiError, problem_response, refusal
from tusd_py.web.api.request_bodies import BodyOpener, EarlyResponse
from tusd_py.web.errors import TABLE, to_refusal
from tusd_py.web.request_body import AsgiBody

_NAME_CHARACTERS_MAX = 255
_METADATA_BYTES_MAX = 8192
#: What a request with a body may be refused for, before all of it has arrived.
_REFUSALS: tuple[type[Exception], ...] = (ApiError, TusError, SessionFinalized, SessionExpired, WrongLength, *TABLE)
#: How many sessions a page of a filtered list examines.
_EXAMINED = 200


async def create_session(call: Call) -> object:
    """Announce a file and its chunks."""
    store = available(call.ports.upload_sessions, "records are kept in memory; sessions need a database (records.url)")
    body = (await call.json()).only("file_name", "file_size", "chunk_count", "chunk_size", "metadata")
    file_name = body.text("file_name", characters_max=_NAME_CHARACTERS_MAX)
    length, count = body.number("file_size"), body.number("chunk_count", least=1, most=CHUNKS_MAX)
    chunk_size = body.number("chunk_size", least=1) if "chunk_size" in body else None
    if chunk_size is not None and max(1, -(-length // chunk_size)) != count:
        raise ApiError(400, f"{length} bytes in chunks of {chunk_size} are not {count} chunks")
    values = {"filename": file_name, **body.text_map("metadata", {})}
    header = format_metadata({key: value.encode() for key, value in values.items()})
    if len(header) > _METADATA_BYTES_MAX:
        raise ApiError(400, f"the metadata may have at most {_METADATA_BYTES_MAX} bytes when they are encoded")
    parse_metadata(header)
    request = Create(length=length, metadata_header=header)
    caller = await authorize(call.ports, request, call.caller())
    session = UploadSession(
        id=call.ports.new_id(),
        owner=caller.owner,
        metadata_header=header,
        length=length,
        chunk_count=count,
        chunk_size=chunk_size,
        created_at=call.ports.clock(),
        expires_at=use_cases.session_expiry(call.ports),
    )
    await use_cases.create_session(call.ports, request, session, caller)
    session = await store.find(session.id) or session
    content = _view(call, SessionState(session, SessionStatus.OPEN, None, ()))
    headers = {"location": f"{call.request.scope.get('root_path', '')}/api/sessions/{session.id}"}
    return JSONResponse(content, 201, headers=headers)


async def show_session(call: Call) -> object:
    return _view(call, await use_cases.find_state(call.ports, await _session(call, Verb.INSPECT)))


async def list_sessions(call: Call) -> object:
    """Sessions, newest first: the principal's own, or those of all owners if its roles allow that."""
    if not call.may(Verb.INSPECT):
        raise AccessDenied
    query, limit = call.query, call.query.limit()
    wanted = query.choices("status", SessionStatus) or list(SessionStatus)
    owner = None if call.policy is None else call.policy.only_listed_owner(call.principal)
    after = None
    if "cursor" in query:
        at, last = parse_cursor(query.text("cursor", 4096), "sessions", int, str)
        after = (int(at), str(last))
    store = available(call.ports.upload_sessions, "records are kept in memory; sessions need a database (records.url)")
    examined = limit if len(wanted) == len(SessionStatus) else max(limit, _EXAMINED)
    found = await store.page(owner=owner, after=after, limit=examined + 1)
    uploads = await call.ports.records.find_all([each.id for each in found])
    content: list[object] = []
    following = None
    for place, (session, upload) in enumerate(zip(found, uploads, strict=True), 1):
        if use_cases.status_of(upload) in wanted:
            content.append(_summary(call, session, upload))
        if place < len(found) and (len(content) == limit or place == examined):
            following = format_cursor("sessions", int(session.created_at.timestamp() * 1_000_000), session.id)
            break
    return {"sessions": content, "next": following}


async def list_chunks(call: Call) -> object:
    """Which chunks are stored."""
    session = await _session(call, Verb.INSPECT)
    received = list((await use_cases.find_state(call.ports, session)).received)
    missing = sorted(set(range(session.chunk_count)).difference(received))
    return {"chunk_count": session.chunk_count, "received": received, "missing": missing}


async def put_chunk(call: Call) -> object:
    """Store the body as a chunk."""
    opener = available(call.context.bodies, "this application takes no chunks")
    with opener.opened(call.request) as body:
        try:
            return await _put_chunk(call, opener, body)
        except _REFUSALS as failure:
            error = _problem(failure)
            response = problem_response(error) if isinstance(error, ApiError) else refusal(error)
            if body.is_ended:
                return response
            body.close()
            announced = _content_length(call)
            unread = None if announced is None else announced - body.bytes_received
            expects = call.request.headers.get("expect", "").lower() == "100-continue"
            return EarlyResponse(response, unread, may_read=body.was_read or not expects)


async def finalize_session(call: Call) -> object:
    """Put the chunks together; 202 while that, or what follows, is not done."""
    session = await _session(call, Verb.APPEND)
    try:
        caller = await authorize(call.ports, Create(length=None, kind=Kind.FINAL), call.caller())
        upload = await use_cases.finalize(call.ports, session, replace(caller, owner=session.owner))
    except (ChunksMissing, SessionDeleted, SessionExpired, WrongLength) as failure:
        raise _session_error(failure) from None
    status = use_cases.status_of(upload)
    is_pending = status in (SessionStatus.ASSEMBLING, SessionStatus.PROCESSING)
    content = _view(call, SessionState(session, status, upload, range(session.chunk_count)))
    return JSONResponse(content, 202 if is_pending else 200)


async def delete_session(call: Call) -> object:
    call.ensure_switched_on(call.ports.policy.limits.termination, "uploads.termination")
    session = await _session(call, Verb.TERMINATE)
    await use_cases.delete_session(call.ports, session, call.caller())
    return None


async def _put_chunk(call: Call, opener: BodyOpener, body: AsgiBody) -> Response:
    session = await _session(call, Verb.APPEND)
    index = call.path_number("index", "a chunk is named by its number, from 0 on")
    if index >= session.chunk_count:
        raise ApiError(404, f"the chunks of this session have the numbers 0 to {session.chunk_count - 1}")
    if call.request.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise ApiError(415, "the body must not be compressed")
    header = call.request.headers.get("upload-checksum")
    checksum = None if header is None else parse_checksum(header)
    info = BodyInfo(length=_content_length(call), checksum=checksum)
    request = Create(length=info.length, kind=Kind.PARTIAL, body=info)
    caller = await authorize(call.ports, request, call.caller())
    caller = replace(caller, owner=session.owner)
    # All chunks of a session have the pace of one upload.
    with opener.paced(body, call.ports.rates.bandwidth, caller, session.id) as paced_body:
        is_new = await use_cases.put_chunk(call.ports, session, index, info, caller, paced_body)
    content = {"session_id": session.id, "index": index, "size": body.bytes_received}
    return JSONResponse(content, 201 if is_new else 200)


def _content_length(call: Call) -> int | None:
    text = call.request.headers.get("content-length", "")
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    return None if "transfer-encoding" in call.request.headers else 0


def _problem(failure: Exception) -> ApiError | TusError:
    if isinstance(failure, ApiError):
        return failure
    if isinstance(failure, SessionFinalized | SessionExpired | WrongLength):
        return _session_error(failure)
    if isinstance(failure, ChecksumMismatch):
        return ApiError(400, str(failure), failure.code)  # its own status, 460, exists only in tus
    return to_refusal(failure, "")


def _session_error(failure: Exception) -> ApiError:
    if isinstance(failure, ChunksMissing):
        return ApiError(409, str(failure), "ERR_CHUNKS_MISSING", members={"missing": list(failure.missing)})
    if isinstance(failure, SessionDeleted):
        return _unknown_session()
    if isinstance(failure, SessionFinalized):
        return ApiError(409, "this session is finalised: it takes no chunks any more", "ERR_SESSION_FINALIZED")
    if isinstance(failure, SessionExpired):
        return ApiError(410, "this session has expired; create a new one", "ERR_SESSION_EXPIRED")
    return ApiError(409, str(failure), "ERR_WRONG_LENGTH")


async def _session(call: Call, verb: Verb) -> UploadSession:
    """The session, if the principal may do this to it. Raises the same error for foreign and unknown ones."""
    store = available(call.ports.upload_sessions, "records are kept in memory; sessions need a database (records.url)")
    session_id = call.path("session_id")
    session = await store.find(session_id) if is_upload_id(session_id) else None
    if session is None or not call.may(Verb.INSPECT, _as_upload(session)):
        raise _unknown_session()
    if not call.may(verb, _as_upload(session)):
        raise AccessDenied
    return session


def _unknown_session() -> ApiError:
    return ApiError(404, "no session has this id")


def _as_upload(session: UploadSession) -> Upload:
    """The session as an upload of the same owner: the access policy decides about uploads."""
    at = session.created_at
    return Upload(id=session.id, owner=session.owner, length=session.length, created_at=at, updated_at=at)


def _view(call: Call, state: SessionState) -> dict[str, object]:
    return {**_summary(call, state.session, state.upload), "received_count": len(state.received)}


def _summary(call: Call, session: UploadSession, upload: Upload | None) -> dict[str, object]:
    metadata = {key: value.decode() for key, value in parse_metadata(session.metadata_header).items()}
    url = None if upload is None else call.context.locate(call.request.scope) + session.id
    return {
        "id": session.id,
        "status": use_cases.status_of(upload).value,
        "file_name": metadata.pop("filename", ""),
        "file_size": session.length,
        "chunk_count": session.chunk_count,
        "chunk_size": session.chunk_size,
        "metadata": metadata,
        "owner": session.owner,
        "created_at": format_time(session.created_at),
        "expires_at": format_time(session.expires_at),
        "upload_id": None if upload is None else upload.id,
        "upload_url": url,
    }


ROUTES = (
    ApiRoute("POST", "/api/sessions", create_session, Access.CLIENT, status=201),
    ApiRoute("GET", "/api/sessions", list_sessions, Access.PRINCIPAL, query=("status", "limit", "cursor")),
    ApiRoute("GET", "/api/sessions/{session_id}", show_session, Access.CLIENT),
    ApiRoute("DELETE", "/api/sessions/{session_id}", delete_session, Access.CLIENT, status=204),
    ApiRoute("GET", "/api/sessions/{session_id}/chunks", list_chunks, Access.CLIENT),
    ApiRoute("PUT", "/api/sessions/{session_id}/chunks/{index}", put_chunk, Access.CLIENT, status=201),
    ApiRoute("POST", "/api/sessions/{session_id}/finalize", finalize_session, Access.CLIENT),
)
