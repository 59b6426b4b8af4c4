"""Sessions: a client announces a file, sends its numbered chunks in any order, and finalises the session.

Each chunk is a partial upload, and the file their final upload, which has the id of its session. So quotas, limits,
hooks, validation and events hold as for every other upload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tusd_py.cancellation import finish_despite_cancel
from tusd_py.contracts.body import RequestBody
from tusd_py.contracts.locker import LockTimeout
from tusd_py.contracts.upload_sessions import UploadSessions
from tusd_py.model.caller import Caller
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.model.upload_session import SessionStatus, StoredChunk, UploadSession
from tusd_py.protocol import rules
from tusd_py.protocol.errors import TooManyEmptySessions, TooManyEmptyUploads, TusError
from tusd_py.protocol.requests import BodyInfo, Create
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.create import create
from tusd_py.uploads.locking import locked
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.terminate import terminate_locked
from tusd_py.uploads.type_limits import ensure_type_allowed

_BATCH = 200
# A session whose expiry would move by less is not saved again: chunks may come many times a second.
_EXTENDED_BY_LEAST = timedelta(minutes=1)
_LOOKED_AT_AGAIN = timedelta(days=1)

_STATUSES: Mapping[Status, SessionStatus] = {
    Status.UPLOADING: SessionStatus.ASSEMBLING,
    Status.READY: SessionStatus.COMPLETED,
    Status.MOVED: SessionStatus.COMPLETED,
    Status.REJECTED: SessionStatus.FAILED,
    Status.FAILED: SessionStatus.FAILED,
    Status.EXPIRED: SessionStatus.ENDED,
    Status.TERMINATED: SessionStatus.ENDED,
}


class SessionFinalized(Exception):
    """The session takes no chunks any more."""


class SessionExpired(Exception):
    """The session has expired before it was finalised."""


class SessionDeleted(Exception):
    """The session was deleted while the request waited for it."""


class WrongLength(Exception):
    """A chunk, or all chunks together, have another length than the session says; the text is for the client."""


class ChunksMissing(Exception):
    """The session cannot be finalised yet."""

    def __init__(self, missing: Sequence[int]) -> None:
        super().__init__("1 chunk is missing" if len(missing) == 1 else f"{len(missing)} chunks are missing")
        self.missing = missing


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session with its final upload, if there is one. ``received`` are the indexes of the stored chunks, in order."""

    session: UploadSession
    status: SessionStatus
    upload: Upload | None
    received: Sequence[int]


async def create_session(ports: Ports, request: Create, session: UploadSession, caller: Caller) -> None:
    """Record a session for the file that ``request`` describes. Raises ``TusError``: too large, too many, its type."""
    rules.create(request, ports.policy.limits_for(caller.principal))
    # Its chunks have no type, and the whole is looked at when all of them have been sent.
    ensure_type_allowed(caller.principal, request.metadata_header)
    try:
        await ports.empty_sessions.ensure_allowed(caller.client, _sessions(ports).find_empty)
    except TooManyEmptyUploads:
        raise TooManyEmptySessions from None
    # A session counts once, whatever the number of its chunks.
    if ports.rates.creations is not None:
        await ports.rates.creations.ensure_allowed(caller.owner, caller.client)
    await _sessions(ports).insert(session)
    ports.empty_sessions.add(caller.client, session.id)


async def put_chunk(
    ports: Ports, session: UploadSession, index: int, info: BodyInfo, caller: Caller, body: RequestBody
) -> bool:
    """Store a chunk, in the place of an earlier one with this index if there is one; return whether there was none.

    A chunk whose body breaks off is not kept. Raises ``SessionFinalized``, ``SessionExpired``, ``WrongLength``, or as
    ``create``.
    """
    await _ensure_open(ports, session)
    expected = session.length_of(index)
    length = expected if info.length is None else info.length
    if expected is not None and length != expected:
        raise WrongLength(f"chunk {index} of this session has {expected} bytes")
    if length is not None and length > session.length:
        raise WrongLength(f"the whole file has {session.length} bytes")
    request = Create(length=length, kind=Kind.PARTIAL, concat_header="partial", body=info, is_last=True)
    try:
        upload = (await create(ports, request, caller, body)).upload
    except TusError as refusal:
        if refusal.upload is not None:
            await _discard(ports, refusal.upload.id, caller)
        raise
    sessions = _sessions(ports)
    # Otherwise two requests for one chunk could both create an upload, and one of the two would be left.
    async with locked(ports, task_key(TaskKind.CHUNK, f"{session.id}-{index}")):
        earlier = await sessions.chunk(session.id, index)
        is_put = await sessions.put_chunk(session.id, index, upload.id)
    if not is_put:
        await _discard(ports, upload.id, caller)
        raise SessionFinalized
    if earlier is not None:
        await _discard(ports, earlier, caller)
    expires_at = session_expiry(ports)
    if expires_at is None or session.expires_at is None or expires_at - session.expires_at > _EXTENDED_BY_LEAST:
        await sessions.extend(session.id, expires_at)
    return earlier is None


async def find_state(ports: Ports, session: UploadSession) -> SessionState:
    """The session with its stored chunks and the upload that it was finalised to."""
    upload = await ports.records.find(session.id)
    if upload is not None:
        return SessionState(session, status_of(upload), upload, range(session.chunk_count))
    received = [chunk.position for chunk in await _sessions(ports).stored_chunks(session.id)]
    return SessionState(session, SessionStatus.OPEN, None, received)


def status_of(upload: Upload | None) -> SessionStatus:
    """The status of a session whose final upload is ``upload``; ``None`` before it is finalised."""
    if upload is None:
        return SessionStatus.OPEN
    if upload.status is Status.PROCESSING:
        return SessionStatus.PROCESSING if upload.is_complete else SessionStatus.ASSEMBLING
    return _STATUSES[upload.status]


async def finalize(ports: Ports, session: UploadSession, caller: Caller) -> Upload:
    """Put the chunks together, at once or in the background; again, it returns the upload that there is.

    After a crash it is repeated safely: the upload has the id of the session, so there is one at most. After a failure
    the session takes chunks again. Raises ``ChunksMissing``, ``WrongLength``, ``SessionExpired``, ``SessionDeleted``,
    ``LockTimeout`` or as ``create``.
    """
    lock = await ports.locker.try_acquire(task_key(TaskKind.FINALIZE, session.id))
    if lock is None:
        raise LockTimeout(f"session {session.id} is being finalised by another request")
    try:
        if await _sessions(ports).find(session.id) is None:
            raise SessionDeleted  # its file must not come into being after that
        found = await ports.records.find(session.id)
        if found is not None:
            return found
        if session.expires_at is not None and session.expires_at <= ports.clock():
            raise SessionExpired
        try:
            return await _create_file(ports, session, caller)
        except BaseException:
            # Also one that an earlier attempt has closed before a crash.
            await finish_despite_cancel(_sessions(ports).reopen(session.id))
            raise
    finally:
        await lock.release()


async def _create_file(ports: Ports, session: UploadSession, caller: Caller) -> Upload:
    """Close the session and create the final upload of its chunks."""
    await _ensure_complete(ports, session)
    await _sessions(ports).finalize(session.id, ports.clock())
    # Once more: a chunk may have been replaced until now.
    parts = tuple(chunk.upload_id for chunk in await _ensure_complete(ports, session))
    request = Create(length=None, kind=Kind.FINAL, metadata_header=session.metadata_header, parts=parts)
    return (await create(_for_final(ports, session), request, caller, _NoBody())).upload


async def delete_session(ports: Ports, session: UploadSession, caller: Caller) -> None:
    """Delete the session, its file and its chunks. Raises ``LockTimeout``."""
    sessions = _sessions(ports)
    async with locked(ports, task_key(TaskKind.FINALIZE, session.id)):
        await sessions.finalize(session.id, ports.clock())  # no chunk is put from now on
        chunks = await sessions.chunks(session.id)
        await _discard(ports, session.id, caller)
        await sessions.delete(session.id)

    async def discard_chunks() -> None:
        for upload_id in chunks.values():
            await _discard(ports, upload_id, caller)

    # What a crash leaves behind expires.
    ports.background.spawn(task_key(TaskKind.DELETE_PARTS, session.id), discard_chunks())


async def prune_sessions(ports: Ports) -> None:
    """Delete what is recorded of sessions that have expired. Their chunks expire as all uploads do."""
    if ports.upload_sessions is None:
        return
    while expired := await ports.upload_sessions.expired(ports.clock(), _BATCH):
        for session in expired:
            upload = await ports.records.find(session.id)
            if upload is None or upload.has_ended:
                await ports.upload_sessions.delete(session.id)
            else:
                # As long as its file.
                latest = max(upload.expires_at or ports.clock(), ports.clock() + _LOOKED_AT_AGAIN)
                await ports.upload_sessions.extend(session.id, latest)
        if len(expired) < _BATCH:
            return


class _NoBody:
    """The body of a request that brings no bytes."""

    async def read(self, wait_seconds: float | None = None, bytes_min: int = 1) -> Sequence[bytes] | None:
        return ()

    def trailers(self) -> Sequence[tuple[bytes, bytes]]:
        return ()

    def stop(self, reason: Exception) -> None:
        return


def _for_final(ports: Ports, session: UploadSession) -> Ports:
    """Ports that create the final upload with the id of its session, and delete its chunks once it has their bytes."""
    policy = replace(ports.policy, delete_concatenated_parts=True)
    rates = replace(ports.rates, creations=None)  # counted when the session was created
    return replace(ports, new_id=lambda: session.id, policy=policy, rates=rates)


async def _ensure_open(ports: Ports, session: UploadSession) -> None:
    if session.finalized_at is not None:
        raise SessionFinalized
    if session.expires_at is not None and session.expires_at <= ports.clock():
        raise SessionExpired


async def _ensure_complete(ports: Ports, session: UploadSession) -> Sequence[StoredChunk]:
    """All chunks, in their order. Those that have expired since they were put are missing again."""
    chunks = await _sessions(ports).stored_chunks(session.id)
    if len(chunks) < session.chunk_count:
        raise ChunksMissing(sorted({*range(session.chunk_count)}.difference(chunk.position for chunk in chunks)))
    total = sum(chunk.length for chunk in chunks)
    if total != session.length:
        raise WrongLength(f"the chunks have {total} bytes together, but the file has {session.length}")
    return chunks


async def _discard(ports: Ports, upload_id: str, caller: Caller) -> None:
    """Terminate the upload unless it has ended or an unfinished final upload needs it."""
    async with locked(ports, upload_id):
        upload = await ports.records.find(upload_id)
        if upload is None or upload.has_ended or await ports.records.finals_waiting(upload_id):
            return
        await terminate_locked(ports, upload, caller)


def session_expiry(ports: Ports) -> datetime | None:
    """When a session expires to which nothing happens from now on."""
    seconds = ports.policy.unfinished_seconds
    return ports.clock() + timedelta(seconds=seconds) if seconds else None


def _sessions(ports: Ports) -> UploadSessions:
    assert ports.upload_sessions is not None, "routes of sessions need a database"
    return ports.upload_sessions
