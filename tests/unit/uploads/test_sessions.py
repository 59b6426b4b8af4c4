"""Sessions in chunks: their number for each client, chunks put again, a failed finalisation, and their expiry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.harness import CALLER, FakeBody, UploadsHarness
from tests.support.processing import with_ports
from tusd_py.contracts.store import StoreError
from tusd_py.model.principal import Principal, PrincipalLimits, Role
from tusd_py.model.upload import Upload
from tusd_py.model.upload_session import SessionStatus, UploadSession
from tusd_py.protocol.errors import TooManyEmptySessions, TypeNotAllowed, UploadRejected
from tusd_py.protocol.requests import BodyInfo, Create
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.uploads import sessions as use_cases
from tusd_py.uploads.client_limits import EmptyUploads
from tusd_py.uploads.expire import sweep
from tusd_py.uploads.policy import UploadPolicy
from tusd_py.uploads.sessions import ChunksMissing, SessionExpired, SessionFinalized

pytestmark = pytest.mark.anyio

DAY = 86400.0


@dataclass
class Sessions:
    """The use cases of sessions, over a database and a store in memory."""

    harness: UploadsHarness
    database: SqlDatabase

    async def create(
        self,
        length: int = 6,
        chunk_count: int = 3,
        client: str = "192.0.2.1",
        metadata_header: str | None = None,
        principal: Principal | None = None,
    ) -> UploadSession:
        ports = self.harness.ports
        session = UploadSession(
            id=ports.new_id(),
            owner="",
            metadata_header=metadata_header,
            length=length,
            chunk_count=chunk_count,
            chunk_size=None,
            created_at=ports.clock(),
            expires_at=use_cases.session_expiry(ports),
        )
        request = Create(length=length, metadata_header=metadata_header)
        caller = replace(CALLER, client=client, principal=principal)
        await use_cases.create_session(ports, request, session, caller)
        return session

    async def put(self, session: UploadSession, index: int, content: bytes) -> bool:
        info = BodyInfo(length=len(content), checksum=None)
        session = await self.find(session)
        return await use_cases.put_chunk(self.harness.ports, session, index, info, CALLER, FakeBody(content))

    async def finalize(self, session: UploadSession) -> Upload:
        return await use_cases.finalize(self.harness.ports, await self.find(session), CALLER)

    async def state(self, session: UploadSession) -> use_cases.SessionState:
        return await use_cases.find_state(self.harness.ports, await self.find(session))

    async def find(self, session: UploadSession) -> UploadSession:
        found = await self.database.upload_sessions.find(session.id)
        assert found is not None
        return found


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[Sessions]:
    database = await SqlDatabase.open(f"sqlite:///{tmp_path}/records.sqlite3")
    policy = UploadPolicy(unfinished_seconds=7 * DAY, finished_seconds=30 * DAY)
    harness = UploadsHarness(records=database.records, policy=policy)
    with_ports(harness, upload_sessions=database.upload_sessions)
    yield Sessions(harness, database)
    await harness.drain()
    await database.close()


class TestCreateSession:
    async def test_sessions_without_a_chunk_per_client_503(self, sessions: Sessions) -> None:
        """A client at its limit is refused, another one is not; a chunk, a deletion or a file makes room."""
        with_ports(sessions.harness, empty_sessions=EmptyUploads(3))
        made = [await sessions.create() for _ in range(3)]
        with pytest.raises(TooManyEmptySessions):
            await sessions.create()
        assert len(await sessions.database.upload_sessions.page(owner=None, after=None, limit=9)) == 3
        await sessions.create(client="192.0.2.2")
        await sessions.put(made[0], 0, b"ab")
        await use_cases.delete_session(sessions.harness.ports, made[1], CALLER)
        assert await sessions.database.upload_sessions.find_empty([each.id for each in made]) == {made[2].id}

    async def test_clients_that_put_chunks_are_not_limited(self, sessions: Sessions) -> None:
        """Sessions with a chunk do not count, however many there are."""
        with_ports(sessions.harness, empty_sessions=EmptyUploads(3))
        for _ in range(12):
            await sessions.put(await sessions.create(), 0, b"ab")

    async def test_type_that_the_credentials_do_not_allow_415(self, sessions: Sessions) -> None:
        """Its creation is refused, as that of an upload: not only its end, after all chunks have been sent."""
        limits = PrincipalLimits(types=("image/*",))
        principal = Principal(subject="alice", roles=frozenset({Role.UPLOADER}), method="api_key", limits=limits)
        for header in (None, "filetype dGV4dC9wbGFpbg=="):
            with pytest.raises(TypeNotAllowed):
                await sessions.create(metadata_header=header, principal=principal)
        session = await sessions.create(metadata_header="filetype aW1hZ2UvcG5n", principal=principal)
        assert (await sessions.state(session)).status is SessionStatus.OPEN


class TestPutChunk:
    async def test_equal_chunk_again_replaces_200(self, sessions: Sessions) -> None:
        """A chunk whose answer was lost is sent again: the session has it once, and no upload of the first stays."""
        session = await sessions.create(chunk_count=1)
        assert [await sessions.put(session, 0, b"abcdef") for _ in range(3)] == [True, False, False]
        chunks = await sessions.database.upload_sessions.chunks(session.id)
        await sessions.finalize(session)
        await sessions.harness.drain()
        living = [each.id for each in await sessions.database.records.page("", 10)]
        assert (await sessions.harness.content(session.id), living) == (b"abcdef", [session.id])
        assert len(chunks) == 1

    async def test_one_chunk_is_read_however_many_there_are(self, sessions: Sessions) -> None:
        """A PUT asks the database for its own chunk only."""

        class OneAtATime:
            def __init__(self, wrapped: object) -> None:
                self.wrapped = wrapped

            def __getattr__(self, name: str) -> object:
                assert name != "chunks", "all chunks of a session were read"
                return getattr(self.wrapped, name)

        session = await sessions.create()
        with_ports(sessions.harness, upload_sessions=OneAtATime(sessions.database.upload_sessions))
        assert await sessions.put(session, 0, b"ab")
        assert not await sessions.put(session, 0, b"ab")


class TestFinalize:
    @pytest.mark.parametrize("failure", [UploadRejected(), StoreError("disk full")])
    async def test_session_takes_chunks_again_after_a_failure(self, sessions: Sessions, failure: Exception) -> None:
        """If the file cannot be created the session is open again: a chunk can be replaced, and it can be finalised."""
        session = await sessions.create()
        for index in range(3):
            await sessions.put(session, index, b"ab")
        ports = sessions.harness.ports

        class FailingStore:
            def __getattr__(self, name: str) -> object:
                async def fail(*_: object, **__: object) -> None:
                    raise failure

                return fail if name in ("create", "concatenate") else getattr(ports.store, name)

        with_ports(sessions.harness, store=FailingStore())
        with pytest.raises(type(failure)):
            await sessions.finalize(session)
        with_ports(sessions.harness, store=ports.store)
        assert (await sessions.find(session)).finalized_at is None
        assert not await sessions.put(session, 1, b"cd")
        await sessions.finalize(session)
        assert await sessions.harness.content(session.id) == b"abcdab"

    async def test_session_that_a_crash_left_closed_opens_again_409(self, sessions: Sessions) -> None:
        """Finalised, but without a file, and a chunk is gone since: the next attempt says so and opens the session."""
        session = await sessions.create()
        for index in range(2):
            await sessions.put(session, index, b"ab")
        await sessions.database.upload_sessions.finalize(session.id, sessions.harness.clock())
        with pytest.raises(SessionFinalized):
            await sessions.put(session, 2, b"ab")
        with pytest.raises(ChunksMissing):
            await sessions.finalize(session)
        assert await sessions.put(session, 2, b"ab")
        await sessions.finalize(session)

    async def test_session_with_a_file_stays_closed(self, sessions: Sessions) -> None:
        """A session is never opened again once its file is recorded."""
        session = await sessions.create(2, 1)
        await sessions.put(session, 0, b"ab")
        await sessions.finalize(session)
        await sessions.database.upload_sessions.reopen(session.id)
        assert (await sessions.find(session)).finalized_at is not None
        with pytest.raises(SessionFinalized):
            await sessions.put(session, 0, b"cd")


class TestPruneSessions:
    async def test_session_expires_after_its_last_chunk_410(self, sessions: Sessions) -> None:
        """Each chunk gives it the time of an unfinished upload; then it takes nothing, and it is deleted."""
        session = await sessions.create()
        sessions.harness.clock.move(6 * DAY)
        await sessions.put(session, 0, b"ab")
        sessions.harness.clock.move(6 * DAY)
        await sweep(sessions.harness.ports)
        await use_cases.prune_sessions(sessions.harness.ports)
        assert (await sessions.state(session)).received == [0]
        sessions.harness.clock.move(2 * DAY)
        with pytest.raises(SessionExpired):
            await sessions.put(session, 1, b"ab")
        with pytest.raises(SessionExpired):
            for index in (1, 2):
                await sessions.database.upload_sessions.put_chunk(session.id, index, "x")
            await sessions.finalize(session)
        await sweep(sessions.harness.ports)
        await use_cases.prune_sessions(sessions.harness.ports)
        assert await sessions.database.upload_sessions.find(session.id) is None
        assert await sessions.database.upload_sessions.chunks(session.id) == {}
        assert await sessions.database.records.page("", 10) == []

    async def test_completed_session_stays_as_long_as_its_file(self, sessions: Sessions) -> None:
        """The session of a file that exists is kept, and goes with it."""
        session = await sessions.create(2, 1)
        await sessions.put(session, 0, b"ab")
        await sessions.finalize(session)
        sessions.harness.clock.move(8 * DAY)
        await use_cases.prune_sessions(sessions.harness.ports)
        assert (await sessions.state(session)).status is SessionStatus.COMPLETED
        sessions.harness.clock.move(40 * DAY)
        await sweep(sessions.harness.ports)
        await use_cases.prune_sessions(sessions.harness.ports)
        assert await sessions.database.upload_sessions.find(session.id) is None

    async def test_many_expired_sessions_go_in_one_pass(self, sessions: Sessions) -> None:
        """More than one batch is deleted; those that live stay."""
        with_ports(sessions.harness, unfinished_seconds=10)
        for _ in range(450):
            await sessions.create()
        sessions.harness.clock.move(20)
        kept = await sessions.create()
        await use_cases.prune_sessions(sessions.harness.ports)
        left = await sessions.database.upload_sessions.page(owner=None, after=None, limit=500)
        assert [each.id for each in left] == [kept.id]
