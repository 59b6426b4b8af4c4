"""The use cases over the shipped in-memory backends, with a manual clock and request bodies given as lists."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from tusd_py.access.local_counter import LocalCounter
from tusd_py.access.rates import LoginRate, Rates
from tusd_py.contracts.body import BodyAborted
from tusd_py.contracts.hooks import HookFunctions
from tusd_py.contracts.locker import Locker
from tusd_py.contracts.progress import ProgressListener
from tusd_py.contracts.records import Records
from tusd_py.contracts.store import Store
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.locking.memory import MemoryLocker
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import Subscription
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.outcomes import Appended, Created, Inspected, Terminated
from tusd_py.protocol.requests import Append, BodyInfo, Create, Inspect, Terminate
from tusd_py.protocol.rules import Limits
from tusd_py.records.memory import MemoryRecords
from tusd_py.storage.memory import MemoryStore
from tusd_py.uploads.append import append
from tusd_py.uploads.background import Background
from tusd_py.uploads.client_limits import ConcatenationSlots, EmptyUploads
from tusd_py.uploads.create import create
from tusd_py.uploads.inspect import inspect
from tusd_py.uploads.policy import UploadPolicy
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.terminate import terminate

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
CALLER = Caller(remote_address="127.0.0.1:1", method="POST", target="/files/", headers=[])

NO_RATES = Rates(counter=LocalCounter(), logins=LoginRate(counter=LocalCounter()))

Piece = bytes | Exception | asyncio.Event


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime = EPOCH) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class FakeBody:
    """A request body of ``pieces``, one per read: bytes, an exception to raise, or an event to wait for first."""

    def __init__(self, *pieces: Piece) -> None:
        self._pieces = list(pieces)
        self._stopped = asyncio.Event()
        self._reason: Exception | None = None
        self.trailing: list[tuple[bytes, bytes]] = []

    async def read(self, wait_seconds: float | None = None, bytes_min: int = 1) -> Sequence[bytes] | None:
        await asyncio.sleep(0)
        if self._reason is not None:
            raise self._reason
        if not self._pieces:
            return ()
        piece = self._pieces[0]
        if isinstance(piece, asyncio.Event):
            if not await self._wait(piece, wait_seconds):
                return None
            self._pieces.pop(0)
            return await self.read(wait_seconds)
        if isinstance(piece, Exception):
            raise piece
        self._pieces.pop(0)
        return [piece]

    def trailers(self) -> Sequence[tuple[bytes, bytes]]:
        return self.trailing

    def stop(self, reason: Exception) -> None:
        if self._reason is None:
            self._reason = reason
            self._stopped.set()

    async def _wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        tasks = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._stopped.wait())}
        _, waiting = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return event.is_set() or self._stopped.is_set()


class RecordingListener:
    """Records its calls. ``can_announce`` is what it says of the client: whether it has received the URL."""

    def __init__(self, *, can_announce: bool = True) -> None:
        self.can_announce = can_announce
        self.created_ids: list[str] = []
        self.offsets: list[int] = []

    def on_created(self, upload: Upload) -> bool:
        self.created_ids.append(upload.id)
        return self.can_announce

    def on_saved(self, upload: Upload) -> None:
        self.offsets.append(upload.offset)


def cut(*pieces: bytes) -> FakeBody:
    """A body whose connection breaks after ``pieces``."""
    return FakeBody(*pieces, BodyAborted())


@dataclass
class UploadsHarness:
    """The use cases of one server. ``restart`` keeps what survives a crash: records and bytes, nothing else."""

    records: Records = field(default_factory=MemoryRecords)
    store: Store = field(default_factory=lambda: MemoryStore(bytes_max=2**30))
    locker: Locker = field(default_factory=MemoryLocker)
    clock: Clock = field(default_factory=Clock)
    limits: Limits = field(default_factory=Limits)
    policy: UploadPolicy = field(default_factory=UploadPolicy)
    functions: HookFunctions = field(default_factory=dict)
    hooked: list[tuple[Hook, bool]] = field(default_factory=list)
    completed: list[Upload] = field(default_factory=list)
    subscriptions: tuple[Subscription, ...] = ()
    concatenations_max: int = 4
    empty_uploads_max: int = 0
    caller: Caller = CALLER
    ids: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        handler = CallableHooks(self.functions, 5.0, lambda hook, failed: self.hooked.append((hook, failed)))
        self.ports = Ports(
            records=self.records,
            store=self.store,
            locker=self.locker,
            hooks=handler,
            clock=self.clock,
            new_id=lambda: f"u{next(self.ids)}",
            policy=replace(self.policy, limits=self.limits, subscriptions=self.subscriptions),
            background=Background(),
            opened_at=self.clock(),
            count_complete=self.completed.append,
            concatenations=ConcatenationSlots(self.concatenations_max),
            empty_uploads=EmptyUploads(self.empty_uploads_max),
            empty_sessions=EmptyUploads(self.empty_uploads_max),
            rates=NO_RATES,
        )

    async def open_ports(self) -> Ports:
        """As ``Service.ports``, for routes."""
        return self.ports

    async def create(
        self,
        length: int | None,
        *pieces: bytes,
        body: FakeBody | None = None,
        kind: Kind = Kind.REGULAR,
        parts: Sequence[str] = (),
        metadata: str | None = None,
        checksum: Checksum | None = None,
        content_length: int | None = None,
        is_last: bool | None = None,
        keep_partial: bool = False,
        discard_on_mismatch: bool = False,
        listener: ProgressListener | None = None,
    ) -> Created:
        info = BodyInfo(
            length=content_length, checksum=checksum, keep_partial=keep_partial, discard_on_mismatch=discard_on_mismatch
        )
        headers = {Kind.REGULAR: None, Kind.PARTIAL: "partial", Kind.FINAL: "final;" + " ".join(parts)}
        request = Create(
            length=length,
            kind=kind,
            metadata_header=metadata,
            concat_header=headers[kind],
            parts=tuple(parts),
            body=info if pieces or body is not None else None,
            is_last=is_last,
        )
        return await create(self.ports, request, self.caller, body or FakeBody(*pieces), listener)

    async def append(
        self,
        upload_id: str,
        offset: int,
        *pieces: bytes,
        body: FakeBody | None = None,
        length: int | None = None,
        checksum: Checksum | None = None,
        content_length: int | None = None,
        is_last: bool | None = None,
        keep_partial: bool = False,
        listener: ProgressListener | None = None,
    ) -> Appended:
        info = BodyInfo(length=content_length, checksum=checksum, keep_partial=keep_partial)
        request = Append(upload_id=upload_id, offset=offset, length=length, body=info, is_last=is_last)
        return await append(self.ports, request, CALLER, body or FakeBody(*pieces), listener)

    async def inspect(self, upload_id: str, *, length_completes: bool = False) -> Inspected:
        request = Inspect(upload_id=upload_id, length_completes=length_completes)
        return await inspect(self.ports, request, CALLER)

    async def terminate(self, upload_id: str) -> Terminated:
        return await terminate(self.ports, Terminate(upload_id=upload_id), CALLER)

    async def record(self, upload_id: str) -> Upload | None:
        return await self.records.find(upload_id)

    async def content(self, upload_id: str) -> bytes:
        """The bytes up to the recorded offset, read from the store."""
        upload = await self.records.find(upload_id)
        assert upload is not None
        return b"".join([piece async for piece in self.store.read(upload, 0, upload.offset)])

    async def drain(self) -> None:
        """Wait for all background work."""
        await self.ports.background.drain(10)
