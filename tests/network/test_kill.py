"""``kill -9`` during uploads: nothing acknowledged is lost, nothing unstored is claimed, little is sent twice."""

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
from tests.support.stored import assert_stored, upload_id
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(120)

Start = Callable[..., RunningServer]

# kill -9 may lose the bytes of the last second, or the last 64 MiB.
LOST_SECONDS = 1.0
LOST_BYTES = 64 * MIB
# How late a save that is due may be on a busy machine.
LATE_SECONDS = 0.75


# What one burst brings before the next check for a save: bytes read ahead (1 MiB, and twice what one
# read of the loop brings), 4 MiB of a zero-copy transfer, and the size of one call (1 MiB).
BURST_BYTES = 7 * MIB
# Bytes in memory: in the server those read ahead, the two batches of a sink (1 MiB each, and what one read brings) and
# a pipe; in the client two pieces.
IN_FLIGHT_BYTES = 7 * MIB

RATE = 1.0 * MIB


@dataclass(frozen=True)
class Killed:
    """One upload at the moment the server was killed."""

    moment: float
    position: int  # sent so far by the running request
    position_before: int  # sent by it already when the last second began
    good: int  # bytes on disk that are those of the content
    upload: PatientUpload

    def lost(self) -> int | None:
        """Bytes to send again, from what the restarted server claims; None when the upload was complete before."""
        claim = self.upload.first_reported_after(self.moment)
        if claim is None:
            return None
        assert claim.offset <= self.good, f"claimed {claim.offset}, while {self.good} good bytes were stored"
        return max(0, self.position - claim.offset)

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
        assert time.monotonic() < deadline, "processes of a killed server live on"
        time.sleep(0.005)
    return standing(server, uploads)


def standing(server: RunningServer, uploads: list[PatientUpload]) -> list[Killed]:
    """How each upload stands right after the kill: in the client, and on the disk."""
    moment = time.monotonic()
    killed = []
    for upload in uploads:
        if upload.url is not None:
            path = server.data_dir / "uploads" / upload_id(upload.url)
            good = common_prefix(path.read_bytes() if path.exists() else b"", upload.content)
            before = upload.position_at(moment - LOST_SECONDS - LATE_SECONDS)
            killed.append(Killed(moment, upload.position, before, good, upload))
    return killed


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_five_times_during_twenty_uploads(start: Start, workers: int) -> None:
    """All 20 complete; after no kill was more claimed than stored, nor more lost than the last second brought."""
    flags = [] if workers == 1 else ["--processes", str(workers)]
    dice = random.Random(workers)
    data = [content(number, 16 * MIB + number * 99_991) for number in range(20)]

    async def run() -> tuple[RunningServer, list[PatientUpload], list[Killed]]:
        server = start(*flags)
        port = server.port
        uploads = [PatientUpload(server.url, piece, rate=RATE) for piece in data]
        killed: list[Killed] = []
        async with asyncio.TaskGroup() as group:
            for upload in uploads:
                group.create_task(upload.run())
            for _ in range(5):
                await asyncio.sleep(dice.uniform(2.2, 2.8))
                killed += kill(server, uploads)
                server = await asyncio.to_thread(start, *flags, port=port)
            for upload in uploads:
                upload.rate = float("inf")
        return server, uploads, killed

    server, uploads, killed = asyncio.run(run())
    # Guards of this test itself: uploads were running at every kill, for longer than what may be lost.
    assert len(killed) == 100
    assert sum(one.lost() is not None and one.position_before > 0 for one in killed) > 80
    lost = [one.assert_little_lost() for one in killed]
    for upload in uploads:
        assert upload.url is not None
        assert_stored(server, upload.url, upload.content)
    print(f"lost by a kill: at most {max(lost):,}, on average {sum(lost) // len(lost):,} of {RATE:,.0f} bytes a second")
    assert server.stop() == 0


@pytest.mark.parametrize("start", ["zero-copy", "read"], indirect=True)
def test_killed_at_full_speed(start: Start) -> None:
    """Of an upload that runs as fast as it can, a kill costs at most 64 MiB, what one burst brings, and what had not
    come to the file: every byte is accounted for."""
    data = memoryview(b"".join(content(number, 32 * MIB) for number in range(8)))

    async def run() -> tuple[RunningServer, PatientUpload, Killed, int, int]:
        server = start()
        upload = PatientUpload(server.url, data)
        running = asyncio.create_task(upload.run())
        # Two saves have been, the third is about to be due: now there is most to lose.
        while upload.position < 3 * LOST_BYTES:
            assert not running.done()
            await asyncio.sleep(0)
        # First it stands still, so that what is under way can be counted: nothing is sent either until we wait again.
        server.process.send_signal(signal.SIGSTOP)
        under_way = bytes_in_the_kernel(server.port, upload.own_port)
        (killed,) = kill(server, [upload])
        assert upload.url is not None
        stored = (server.data_dir / "uploads" / upload_id(upload.url)).stat().st_size
        server = await asyncio.to_thread(start, port=server.port)
        await running
        return server, upload, killed, stored, under_way

    server, upload, killed, stored, under_way = asyncio.run(run())
    lost = killed.lost()
    assert lost is not None
    unrecorded = stored - (killed.position - lost)
    in_hands = killed.position - stored - under_way
    print(
        f"lost {lost:,} of {killed.position:,}: unrecorded {unrecorded:,}, in hands {in_hands:,}, kernel {under_way:,}"
    )
    assert unrecorded <= LOST_BYTES + BURST_BYTES < killed.position
    assert in_hands <= IN_FLIGHT_BYTES
    assert upload.url is not None
    assert_stored(server, upload.url, data)


def received_by(worker: int, server: RunningServer, uploads: list[PatientUpload]) -> bool:
    """Whether the running PATCH of each upload is in this worker's hands."""
    sides = [server_side(server.port, upload.own_port) for upload in uploads if upload.position]
    return len(sides) == len(uploads) and all(side and owner(side.inode, [worker]) for side in sides)


def test_one_process_killed(start: Start) -> None:
    """When one of two workers is killed, its uploads go on elsewhere, those of the other notice nothing, and a new
    worker takes its place."""
    data = [content(number, 6 * MIB + number * 99_991) for number in range(20)]

    async def run() -> tuple[RunningServer, list[PatientUpload], list[Killed]]:
        server = start("--processes", "2")
        uploads = [PatientUpload(server.url, piece, rate=RATE) for piece in data]
        victim, survivor = server_processes(server)
        async with asyncio.TaskGroup() as group:
            for worker, its_uploads in ((victim, uploads[:10]), (survivor, uploads[10:])):
                with alone(worker, server):
                    for upload in its_uploads:
                        group.create_task(upload.run())
                    await eventually(
                        partial(received_by, worker, server, its_uploads), "this worker receives its ten uploads"
                    )
            await asyncio.sleep(2.4)
            os.kill(victim, signal.SIGKILL)
            killed = standing(server, uploads[:10])
            await eventually(
                lambda: len(set(server_processes(server)) - {victim}) == 2, "a new worker takes the killed one's place"
            )
            for upload in uploads:
                upload.rate = float("inf")
        return server, uploads, killed

    server, uploads, killed = asyncio.run(run())
    assert all(one.position_before for one in killed)
    lost = [one.assert_little_lost() for one in killed]
    assert all(upload.broken for upload in uploads[:10])
    assert [upload.broken for upload in uploads[10:]] == [0] * 10
    for upload in uploads:
        assert upload.url is not None
        assert_stored(server, upload.url, upload.content)
    print(f"lost at most {max(lost):,} bytes")
    assert server.stop() == 0
