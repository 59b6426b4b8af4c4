"""``kill -9`` during uploads: no acknowledged byte is lost, no missing byte is reported, few are sent twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from tests.support.client import PatientUpload
from tests.support.content import MIB, common_prefix, content
from tests.support.server import RunningServer
from tests.support.sockets import alone, bytes_in_the_kernel, owner, processes, server_processes, server_side
from tests.support.stacks import every_stack
from tests.support.stored import assert_stored, upload_id
from tests.support.waiting import eventually

pytestmark = [pytest.mark.timeout(240), every_stack]

Start = Callable[..., RunningServer]

# kill -9 may lose the bytes of the last second, or the last 64 MiB.
LOST_SECONDS = 1.0
LOST_BYTES = 64 * MIB
# How late a save that is due may be on a busy machine.
LATE_SECONDS = 0.75
# A save waits for S3, and meanwhile the kernel receives more.
LATE_ON_S3_SECONDS = 4.0
# On S3 also the parts that are being sent or gathered.
IN_PARTS_BYTES = 40 * MIB


# What one burst adds before the next check for a save: bytes read ahead (1 MiB, and twice one read of the event loop),
# 4 MiB of a zero-copy transfer, and the size of one call (1 MiB).
BURST_BYTES = 7 * MIB
# Bytes in memory: in the server those read ahead, the two batches of a sink (1 MiB each, and one read) and a pipe; in
# the client two pieces.
IN_FLIGHT_BYTES = 7 * MIB

RATE = 1.0 * MIB


@dataclass(frozen=True)
class Killed:
    """One upload at the moment the server was killed."""

    killed_at: float
    position: int  # sent so far by the running request
    position_before: int  # sent by it already when the last second began
    good: int  # bytes on disk that are those of the content
    upload: PatientUpload

    def lost(self) -> int | None:
        """Bytes to send again, by the offset that the next server reports; None if the upload was complete before."""
        report = self.upload.first_reported_after(self.killed_at)
        if report is None:
            return None
        assert report.offset <= self.good, f"reported {report.offset}, while {self.good} good bytes were stored"
        return max(0, self.position - report.offset)

    def assert_little_lost(self) -> int:
        lost = self.lost()
        if lost is None:
            return 0
        last_second = self.position - self.position_before
        assert lost <= last_second, f"lost {lost:,}, last second {last_second:,}"
        return lost


def kill(server: RunningServer, uploads: list[PatientUpload]) -> list[Killed]:
    """Kill every process of the server."""
    server.kill()
    deadline = time.monotonic() + 10
    while processes(server.process.pid):
        assert time.monotonic() < deadline, "processes of a killed server are still running"
        time.sleep(0.005)
    return states_after_kill(server, uploads)


def states_after_kill(server: RunningServer, uploads: list[PatientUpload]) -> list[Killed]:
    """The state of each upload right after the kill: in the client, and on the disk."""
    killed_at = time.monotonic()
    killed = []
    for upload in uploads:
        if upload.url is not None:
            good = stored_bytes(server, upload)
            before = upload.position_at(killed_at - LOST_SECONDS - late_seconds(server))
            killed.append(Killed(killed_at, upload.position, before, good, upload))
    return killed


def late_seconds(server: RunningServer) -> float:
    return LATE_SECONDS if server.is_on_disk else LATE_ON_S3_SECONDS


def rate_of(server: RunningServer) -> float:
    """So slow that uploads go on for longer than what may be lost."""
    return RATE if server.is_on_disk else RATE / 3


def stored_bytes(server: RunningServer, upload: PatientUpload) -> int:
    """Bytes in the file that are those of the content. What S3 has not completed cannot be read: all that were sent."""
    assert upload.url is not None
    if not server.is_on_disk:
        return upload.sent
    path = server.data_dir / "uploads" / upload_id(upload.url)
    return common_prefix(path.read_bytes() if path.exists() else b"", upload.content)


@pytest.mark.parametrize(
    ("processes_count", "uploads_count", "kills"),
    [
        (2, 10, 2),
        pytest.param(1, 20, 5, marks=pytest.mark.long),
        pytest.param(2, 20, 5, marks=pytest.mark.long),
    ],
)
@pytest.mark.anyio
async def test_killed_during_many_uploads(start: Start, processes_count: int, uploads_count: int, kills: int) -> None:
    """All complete; no reported offset exceeds the stored bytes, and no kill loses more than the last second."""
    flags = [] if processes_count == 1 else ["--processes", str(processes_count)]
    dice = random.Random(processes_count)
    data = [content(number, 16 * MIB + number * 99_991) for number in range(uploads_count)]

    server = start(*flags)
    port = server.port
    uploads = [PatientUpload(server.url, piece, rate=rate_of(server)) for piece in data]
    killed: list[Killed] = []
    async with asyncio.TaskGroup() as group:
        for upload in uploads:
            group.create_task(upload.run())
        for _ in range(kills):
            await asyncio.sleep(LOST_SECONDS + late_seconds(server) + dice.uniform(0.45, 1.05))
            killed += kill(server, uploads)
            server = await asyncio.to_thread(start, *flags, port=port)
        for upload in uploads:
            upload.rate = float("inf")
    # Guards of this test itself: uploads were running at every kill, for longer than what may be lost.
    assert len(killed) == kills * uploads_count
    assert sum(one.lost() is not None and one.position_before > 0 for one in killed) > 0.8 * len(killed)
    lost = [one.assert_little_lost() for one in killed]
    for upload in uploads:
        assert upload.url is not None
        assert_stored(server, upload.url, upload.content)
    average, rate = sum(lost) // len(lost), rate_of(server)
    print(f"lost by a kill: at most {max(lost):,}, on average {average:,} of {rate:,.0f} bytes a second")
    assert server.stop() == 0


@pytest.mark.parametrize("start", ["zero-copy", pytest.param("read", marks=pytest.mark.long)], indirect=True)
@pytest.mark.anyio
async def test_killed_at_full_speed(start: Start) -> None:
    """At full speed a kill loses at most 64 MiB, one burst, and the bytes that were not in the file yet.

    Every byte is accounted for.
    """
    data = memoryview(b"".join(content(number, 32 * MIB) for number in range(8)))

    server = start()
    upload = PatientUpload(server.url, data)
    running = asyncio.create_task(upload.run())
    # Two saves were made and the third is almost due: now a kill loses most.
    while upload.position < 3 * LOST_BYTES:
        assert not running.done()
        await asyncio.sleep(0)
    # Stopped first, so that the bytes under way can be counted: nothing is sent either until this test awaits again.
    server.process.send_signal(signal.SIGSTOP)
    under_way = bytes_in_the_kernel(server.port, upload.own_port)
    (killed,) = kill(server, [upload])
    assert upload.url is not None
    stored = (server.data_dir / "uploads" / upload_id(upload.url)).stat().st_size if server.is_on_disk else None
    server = await asyncio.to_thread(start, port=server.port)
    await running
    lost = killed.lost()
    assert lost is not None
    assert_stored(server, upload.url, data)
    if stored is None:
        assert lost - under_way <= LOST_BYTES + BURST_BYTES + IN_PARTS_BYTES < killed.position
        return
    unrecorded = stored - (killed.position - lost)
    in_memory = killed.position - stored - under_way
    print(
        f"lost {lost:,} of {killed.position:,}: "
        f"unrecorded {unrecorded:,}, in memory {in_memory:,}, in the kernel {under_way:,}"
    )
    assert unrecorded <= LOST_BYTES + BURST_BYTES < killed.position
    assert in_memory <= IN_FLIGHT_BYTES


def received_by(process_id: int, server: RunningServer, uploads: list[PatientUpload]) -> bool:
    """Whether this server process receives the running PATCH of each upload."""
    sides = [server_side(server.port, upload.own_port) for upload in uploads if upload.position]
    return len(sides) == len(uploads) and all(side and owner(side.inode, [process_id]) for side in sides)


@pytest.mark.anyio
async def test_one_process_killed(start: Start) -> None:
    """When one of two server processes is killed, its uploads continue elsewhere and it is replaced.

    The uploads of the other process are not interrupted.
    """
    data = [content(number, 6 * MIB + number * 99_991) for number in range(20)]

    server = start("--processes", "2")
    uploads = [PatientUpload(server.url, piece, rate=rate_of(server)) for piece in data]
    victim, survivor = server_processes(server)
    async with asyncio.TaskGroup() as group:
        for process_id, its_uploads in ((victim, uploads[:10]), (survivor, uploads[10:])):
            with alone(process_id, server):
                for upload in its_uploads:
                    group.create_task(upload.run())
                await eventually(
                    partial(received_by, process_id, server, its_uploads), "this process receives its ten uploads"
                )
        await asyncio.sleep(LOST_SECONDS + late_seconds(server) + 0.65)
        os.kill(victim, signal.SIGKILL)
        killed = states_after_kill(server, uploads[:10])
        await eventually(
            lambda: len(set(server_processes(server)) - {victim}) == 2, "a new process replaces the killed one"
        )
        for upload in uploads:
            upload.rate = float("inf")
    assert all(one.position_before for one in killed)
    lost = [one.assert_little_lost() for one in killed]
    assert all(upload.broken for upload in uploads[:10])
    assert [upload.broken for upload in uploads[10:]] == [0] * 10
    for upload in uploads:
        assert upload.url is not None
        assert_stored(server, upload.url, upload.content)
    print(f"lost at most {max(lost):,} bytes")
    assert server.stop() == 0
