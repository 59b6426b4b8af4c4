"""Takeover of a stalled PATCH: the next request for the upload is served at once, with the true offset."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from tests.support.client import TUS, Answer, Connection, create, patch_headers, request
from tests.support.content import content
from tests.support.server import RunningServer
from tests.support.sockets import accepted_by, all_read, server_processes
from tests.support.stacks import every_stack, quick_on_every_stack
from tests.support.stored import assert_stored, head, upload_id

pytestmark = [pytest.mark.timeout(120), every_stack]

Start = Callable[..., RunningServer]

TRIES = 6
TRIES_LONG = 20
LENGTH = 900_000
#: More than the server reads before the request has its lock: when it has read all, the request has it.
STALLED_AT = 700_000
ANSWERED_AT = 800_000
#: A poll, a lease or a retry of a client would take longer. The benchmarks measure how fast it is (under 0.1 s).
MEDIAN_SECONDS = 1.0


@dataclass(frozen=True)
class Takeover:
    """The answers to both requests, and how long the newcomer waited."""

    seconds: float
    newcomer: Answer
    holder: Answer
    url: str


async def take_over(server: RunningServer, method: str, holder: Connection, newcomer: Connection) -> Takeover:
    """Let ``holder`` stall in a PATCH, send ``method`` with ``newcomer``, then send the holder's late bytes."""
    data = content(1, LENGTH)
    url = await create(server.url, LENGTH)
    await holder.send_head("PATCH", url, patch_headers(0, LENGTH))
    await holder.send(data[:STALLED_AT])
    await all_read(server.port, holder.own_port)
    started = time.perf_counter()
    if method == "PATCH":
        answer = await newcomer.request("PATCH", url, patch_headers(STALLED_AT), data[STALLED_AT:ANSWERED_AT])
    else:
        answer = await newcomer.request(method, url, TUS)
    seconds = time.perf_counter() - started
    # Other bytes than those of the upload: if any of them were stored, its SHA-256 would be wrong.
    try:
        await holder.send(bytes(LENGTH - STALLED_AT))
    except ConnectionError:
        pass  # the server may have closed it already
    return Takeover(seconds, answer, await asyncio.wait_for(holder.answer(), 5), url)


async def finish(server: RunningServer, takeover: Takeover, method: str) -> None:
    """The late bytes changed nothing: the upload is deleted, or completes from the reported offset."""
    if method == "DELETE":
        assert head(server, takeover.url)[0] == 404
        assert not (server.data_dir / "uploads" / upload_id(takeover.url)).exists()
        return
    offset = takeover.newcomer.offset
    assert offset is not None
    assert head(server, takeover.url)[1]["upload-offset"] == str(offset)
    data = content(1, LENGTH)
    answer = await request("PATCH", takeover.url, patch_headers(offset), data[offset:])
    assert (answer.status, answer.offset) == (204, LENGTH)
    assert_stored(server, takeover.url, data)


EXPECTED = {"HEAD": (200, STALLED_AT), "PATCH": (204, ANSWERED_AT), "DELETE": (204, None)}


async def many(
    server: RunningServer, method: str, tries: int, pairs: AsyncIterator[tuple[Connection, Connection]]
) -> float:
    """``tries`` takeovers, each with the expected answers; returns the median wait in seconds."""
    waits = []
    async for holder, newcomer in pairs:
        takeover = await take_over(server, method, holder, newcomer)
        assert (takeover.newcomer.status, takeover.newcomer.offset) == EXPECTED[method]
        # Not one that tus-js-client retries (409, 423): two open tabs would interrupt each other endlessly.
        assert 400 <= takeover.holder.status < 500
        assert takeover.holder.status not in (409, 423)
        await finish(server, takeover, method)
        waits.append(takeover.seconds)
        holder.close()
        newcomer.close()
    assert len(waits) == tries
    print(f"{method}: median {statistics.median(waits) * 1000:.1f} ms, at most {max(waits) * 1000:.1f} ms")
    return statistics.median(waits)


SIZES = pytest.mark.parametrize("tries", [TRIES, pytest.param(TRIES_LONG, marks=pytest.mark.long)])


@pytest.mark.parametrize("method", ["HEAD", pytest.param("PATCH", marks=quick_on_every_stack), "DELETE"])
@SIZES
@pytest.mark.anyio
async def test_takeover_within_one_process(start: Start, method: str, tries: int) -> None:
    """HEAD, PATCH and DELETE take over without waiting for a lease; the old request ends with a 4xx."""
    server = start()

    async def pairs() -> AsyncIterator[tuple[Connection, Connection]]:
        for _ in range(tries):
            yield await Connection.open(server.url), await Connection.open(server.url)

    assert await many(server, method, tries, pairs()) < MEDIAN_SECONDS


@pytest.mark.parametrize("method", EXPECTED)
@SIZES
@pytest.mark.anyio
async def test_takeover_between_two_processes(start: Start, method: str, tries: int) -> None:
    """The same when another process has the lock, whichever of the two it is."""
    server = start("--processes", "2")

    async def pairs() -> AsyncIterator[tuple[Connection, Connection]]:
        one, other = server_processes(server)
        for first, second in itertools.islice(itertools.cycle([(one, other), (other, one)]), tries):
            yield await accepted_by(first, server), await accepted_by(second, server)

    assert await many(server, method, tries, pairs()) < MEDIAN_SECONDS
