"""The disk sink beyond its contract: batches, hops to threads, open files, failing disks."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.store import KIB, MIB, an_upload, cut
from tests.support.content import content
from tests.support.file_steps import record_steps
from tusd_py.contracts.store import StoreFull, StoreUnavailable
from tusd_py.storage.disk.directory import UploadDirectory
from tusd_py.storage.disk.writer import BATCH_BYTES_MAX, OBSERVED_BYTES, DiskSink
from tusd_py.threads import ThreadPool


class CountedThreads(ThreadPool):
    """Counts its calls. They wait until ``may_run`` is set."""

    def __init__(self) -> None:
        super().__init__(2, "counted")
        self.hops = 0
        self.may_run = threading.Event()
        self.may_run.set()

    def submit(self, work: Any, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        self.hops += 1

        def run_when_allowed() -> Any:
            self.may_run.wait(20)
            return work(*args, **kwargs)

        return super().submit(run_when_allowed)


class FailingDirectory(UploadDirectory):
    """A directory whose ``sync`` fails while ``broken`` is set."""

    broken = False

    def sync(self) -> None:
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        super().sync()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[FailingDirectory]:
    directory = FailingDirectory(tmp_path / "uploads", 0o640)
    yield directory
    directory.close()


def open_descriptors(directory: UploadDirectory) -> int:
    """The number of files in the directory that this process has open."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(str(directory.path) + "/" in os.readlink(link) for link in links if os.path.lexists(link))


@pytest.mark.anyio
async def test_small_body_is_one_hop(directory: FailingDirectory) -> None:
    """A small body, written, made durable and closed, costs one hop to a thread and leaves no open file."""
    threads = CountedThreads()
    sink = DiskSink(directory, threads, an_upload())
    await sink.write([b"small", b" body"])
    assert await sink.flush(durable=True) == 10
    await sink.close()
    assert threads.hops == 1
    assert open_descriptors(directory) == 0
    await threads.close()


@pytest.mark.anyio
async def test_large_body_is_one_hop_per_mebibyte(directory: FailingDirectory) -> None:
    """Batches grow to 1 MiB: a large body in small pieces costs little more than one hop for each."""
    threads = CountedThreads()
    sink = DiskSink(directory, threads, an_upload())
    for piece in cut(bytes(32 * MIB), 64 * KIB):
        await sink.write([piece])
    await sink.flush()
    await sink.close()
    assert threads.hops <= 32 + 6
    await threads.close()


@pytest.mark.anyio
async def test_write_waits_only_with_two_full_batches(directory: FailingDirectory) -> None:
    """While one batch is written another is gathered; only when that is full too does ``write`` wait."""
    threads = CountedThreads()
    threads.may_run.clear()
    sink = DiskSink(directory, threads, an_upload())
    body = bytes(content(31, 2 * MIB))
    await asyncio.wait_for(sink.write([body[:MIB]]), 5)
    pieces = cut(body[MIB:], 64 * KIB)
    for piece in pieces[:-1]:
        await asyncio.wait_for(sink.write([piece]), 5)
    last = asyncio.create_task(sink.write([pieces[-1]]))
    await asyncio.wait([last], timeout=0.05)
    assert not last.done()
    assert sink.persisted_offset == 0
    threads.may_run.set()
    await last
    assert await sink.flush() == len(body)
    await sink.close()
    assert (directory.path / "an-upload").read_bytes() == body
    await threads.close()


@pytest.mark.anyio
async def test_slow_upload_has_no_open_file_between_flushes(directory: FailingDirectory) -> None:
    """A slow upload writes batches of 64 KiB, and between flushes it has no file open."""
    threads = CountedThreads()
    sink = DiskSink(directory, threads, an_upload())
    for number in range(1, 4):
        await sink.write([bytes(40 * KIB)])
        await sink.write([bytes(40 * KIB)])
        assert threads.hops == 2 * number - 1
        assert await sink.flush() == number * 80 * KIB
        assert open_descriptors(directory) == 0
    await sink.close()
    assert threads.hops <= 6
    await threads.close()


class PiecesReader:
    """Yields one of ``pieces`` per call, then raises ``failure`` or ends the burst. Calls wait for ``may_run``."""

    pieces: Sequence[bytes] = ()
    bytes_max = 2**30
    bytes_read = 0

    def __init__(self, *pieces: bytes, failure: OSError | None = None, can_splice: bool = True) -> None:
        self._left = list(pieces)
        self._failure = failure
        self.can_splice = can_splice
        self.may_run = threading.Event()
        self.may_run.set()

    def splice(self, descriptor: int, offset: int) -> int:
        self.may_run.wait(20)
        if self._left:
            return os.pwrite(descriptor, self._left.pop(0), offset)
        if self._failure is not None:
            raise self._failure
        return 0

    def read_into(self, buffer: memoryview) -> int:
        self.may_run.wait(20)
        if not self._left:
            return 0
        piece = self._left.pop(0)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        assert not self._left


class LateObserver:
    """Reads the bytes only when its future is awaited, as late as the contract allows."""

    def __init__(self) -> None:
        self.seen = b""
        self.is_waiting = False

    def __call__(self, piece: memoryview) -> Future[None]:
        assert not self.is_waiting, "the future of the previous call was not awaited"
        self.is_waiting = True
        return _LateFuture(self, piece)


class _LateFuture(Future[None]):
    def __init__(self, observer: LateObserver, piece: memoryview) -> None:
        super().__init__()
        self._observer, self._piece = observer, piece

    def result(self, timeout: float | None = None) -> None:
        self._observer.seen += self._piece
        self._observer.is_waiting = False


@pytest.mark.parametrize("is_observed", [False, True])
@pytest.mark.anyio
async def test_transfer_through_buffers(directory: FailingDirectory, is_observed: bool) -> None:
    """If bytes cannot be spliced or are observed, file and observer get every one in order."""
    threads = CountedThreads()
    sink = DiskSink(directory, threads, an_upload())
    pieces = [bytes(content(number, OBSERVED_BYTES - number)) for number in range(7)]
    observer = LateObserver()
    await sink.write([b"before"])
    await sink.transfer(PiecesReader(*pieces, can_splice=is_observed), observer if is_observed else None)
    expected = b"before" + b"".join(pieces)
    assert await sink.flush() == len(expected)
    assert (directory.path / "an-upload").read_bytes() == expected
    assert observer.seen == (b"".join(pieces) if is_observed else b"")
    await sink.close()
    await threads.close()


@pytest.mark.anyio
async def test_failing_file_waits_for_the_observer(directory: FailingDirectory) -> None:
    """The buffers are reused, so the observer must have finished with them even if the write failed."""

    class ReadOnly(FailingDirectory):
        def open_for_writing(self, upload_id: str, offset: int) -> tuple[int, int]:
            (self.path / upload_id).touch()
            return os.open(self.path / upload_id, os.O_RDONLY), 0

    threads = CountedThreads()
    read_only = ReadOnly(directory.path, 0o640)
    sink = DiskSink(read_only, threads, an_upload())
    observer = LateObserver()
    with pytest.raises(StoreUnavailable):
        await sink.transfer(PiecesReader(b"seen"), observer)
    assert (observer.seen, observer.is_waiting, sink.persisted_offset) == (b"seen", False, 0)
    await sink.close()
    read_only.close()
    await threads.close()


@pytest.mark.anyio
async def test_transfer_between_writes(directory: FailingDirectory) -> None:
    """Written, transferred and written again, the bytes are in that order, and the offset counts all of them."""
    threads, transferring = CountedThreads(), CountedThreads()
    sink = DiskSink(directory, threads, an_upload(), transferring)
    await sink.write([b"one "])
    await sink.transfer(PiecesReader(b"two ", b"three "))
    assert sink.persisted_offset == 14
    await sink.transfer(PiecesReader())
    await sink.write([b"four"])
    assert await sink.flush(durable=True) == 18
    assert (directory.path / "an-upload").read_bytes() == b"one two three four"
    # Transfers use threads of their own.
    assert (transferring.hops, threads.hops) == (2, 1)
    assert open_descriptors(directory) == 0
    await sink.close()
    await threads.close()
    await transferring.close()


@pytest.mark.anyio
async def test_disk_full_during_a_transfer(directory: FailingDirectory) -> None:
    """``StoreFull`` for this and every later call; a little space is released, and the offset is correct."""
    threads = CountedThreads()
    sink = DiskSink(directory, threads, an_upload())
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StoreFull):
        await sink.transfer(PiecesReader(bytes(MIB), b"x", failure=full))
    with pytest.raises(StoreFull):
        await sink.transfer(PiecesReader())
    assert MIB - 64 * KIB <= sink.persisted_offset < MIB
    await sink.close()
    assert (directory.path / "an-upload").stat().st_size == sink.persisted_offset
    await threads.close()


@pytest.mark.anyio
async def test_cancelled_transfer_waits_for_the_thread(directory: FailingDirectory) -> None:
    """The cancellation is raised only when the thread no longer uses the reader."""
    threads = CountedThreads()
    sink = DiskSink(directory, threads, an_upload())
    reader = PiecesReader(b"body")
    reader.may_run.clear()
    transferring = asyncio.create_task(sink.transfer(reader))
    await asyncio.wait([transferring], timeout=0.02)
    transferring.cancel()
    await asyncio.wait([transferring], timeout=0.05)
    assert not transferring.done()
    reader.may_run.set()
    with pytest.raises(asyncio.CancelledError):
        await transferring
    reader.close()
    assert sink.persisted_offset == 4
    await sink.close()
    await threads.close()


@pytest.mark.anyio
async def test_close_waits_for_the_thread(directory: FailingDirectory) -> None:
    """After ``close`` nothing is written, even if the request and ``close`` itself were cancelled."""
    threads = CountedThreads()
    threads.may_run.clear()
    sink = DiskSink(directory, threads, an_upload())
    await sink.write([bytes(BATCH_BYTES_MAX)])
    closing = asyncio.create_task(sink.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing], timeout=0.05)
    assert not closing.done()
    threads.may_run.set()
    await asyncio.gather(closing, return_exceptions=True)
    assert sink.persisted_offset == BATCH_BYTES_MAX
    await sink.close()
    assert open_descriptors(directory) == 0
    await threads.close()


@pytest.mark.anyio
async def test_durable_flush_syncs_the_file_and_once_its_name(
    directory: FailingDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``durable`` nothing waits for the disk."""
    threads, steps = CountedThreads(), record_steps(monkeypatch)
    sink = DiskSink(directory, threads, an_upload())
    await sink.write([b"written"])
    await sink.flush()
    assert steps == []
    await sink.flush(durable=True)
    assert steps == ["fsync an-upload", "fsync uploads"]
    await sink.flush(durable=True)
    await sink.write([b" later"])
    await sink.flush(durable=True)
    assert steps[2:] == ["fsync an-upload"]
    await sink.close()
    await threads.close()


@pytest.mark.anyio
async def test_failed_sync_reverts_to_the_last_flush(directory: FailingDirectory) -> None:
    """After a failed sync it is unknown which pages were lost: only what a flush returned still counts."""
    threads = CountedThreads()
    sink = DiskSink(directory, threads, an_upload())
    await sink.write([b"promised"])
    assert await sink.flush() == 8
    directory.broken = True
    await sink.write([b" and lost"])
    with pytest.raises(StoreUnavailable, match="Input/output"):
        await sink.flush(durable=True)
    assert sink.persisted_offset == 8
    with pytest.raises(StoreUnavailable):
        await sink.write([b"more"])
    await sink.close()
    directory.broken = False
    again = DiskSink(directory, threads, an_upload(offset=8))
    await again.write([b" anew"])
    assert await again.flush(durable=True) == 13
    await again.close()
    assert (directory.path / "an-upload").read_bytes() == b"promised anew"
    assert open_descriptors(directory) == 0
    await threads.close()


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from tests.contracts.store import an_upload
from tusd_py.contracts.store import StoreFull
from tusd_py.storage.disk.store import DiskStore

async def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    store = DiskStore(Path(sys.argv[1]))
    sink = store.open(an_upload())
    try:
        for _ in range(40):
            await sink.write([b"x" * 12_345])
        await sink.flush(durable=True)
    except StoreFull:
        print("full", sink.persisted_offset)
    await sink.close()
    await store.close()

asyncio.run(main())
"""


def test_file_size_limit_is_a_full_store(tmp_path: Path) -> None:
    """At the system's limit for file sizes the store is full, and every byte up to it counts."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout
    assert output == "full 300000\n"
    assert (tmp_path / "an-upload").read_bytes() == b"x" * 300_000
