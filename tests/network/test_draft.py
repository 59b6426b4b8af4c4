"""An optimistic creation that is aborted, taken over or killed: the client resumes at the URL of the 104."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from urllib.parse import urljoin

import pytest

from tests.support.client import Answer, Connection
from tests.support.content import MIB, content
from tests.support.draft import Draft, receive_responses
from tests.support.server import RunningServer
from tests.support.sockets import accepted_by, server_processes, server_side
from tests.support.stacks import every_stack
from tests.support.stored import assert_stored, assert_zero_copy
from tests.support.waiting import eventually

pytestmark = [pytest.mark.timeout(120), every_stack]

LENGTH = 24 * MIB
OFTEN = {"UPLOADS__SAVE_INTERVAL_BYTES": "1MiB"}


def is_over(server_port: int, client_port: int) -> bool:
    return server_side(server_port, client_port) is None


async def begun(draft: Draft, connection: Connection, **more: str) -> str:
    """Begin an optimistic creation. Return the URL that the server sends before it has any of the body."""
    headers = draft.creation(LENGTH, completes=True, content_length=str(LENGTH), **more)
    await connection.send_head("POST", draft.endpoint, headers)
    first = await connection.answer(interim=True)
    assert first.status == 104
    return urljoin(draft.endpoint, first.headers["location"])


async def finished(draft: Draft, url: str, data: memoryview) -> int:
    """Get the offset, send the rest, and return the offset."""
    state = await draft.head(url)
    assert (state.status, state.headers["upload-complete"]) == (204, "?0")
    offset = int(state.headers["upload-offset"])
    last = await draft.append(url, offset, data[offset:])
    assert (last.status, last.headers["upload-complete"]) == (201, "?1"), last
    return offset


@pytest.mark.parametrize("start", ["zero-copy", "read"], indirect=True)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.anyio
async def test_aborted_creation_is_resumed(start: Callable[..., RunningServer], is_zero_copy: bool, count: int) -> None:
    """Every byte that was sent before the abort counts, and only the rest is sent again."""
    server = start("--processes", str(count))
    draft = Draft(server.url)
    data = content(80, LENGTH)
    for bytes_sent in (1, 300_000, 20 * MIB + 7):
        connection = await Connection.open(server.url)
        url = await begun(draft, connection)
        await connection.send(data[:bytes_sent])
        await connection.end()
        # An earlier request would be a takeover, which need not wait for bytes that are still under way.
        await eventually(partial(is_over, server.port, connection.own_port), "the server ends the connection")
        assert await finished(draft, url, data) == bytes_sent
        assert_stored(server, url, data)
    assert_zero_copy(server, is_zero_copy)


@pytest.mark.parametrize("start", ["zero-copy", "read"], indirect=True)
@pytest.mark.anyio
async def test_interim_responses_report_progress(start: Callable[..., RunningServer], is_zero_copy: bool) -> None:
    """Growing offsets while the body runs, each within what was sent; then the response, on the same connection."""
    server = start(**OFTEN)
    draft = Draft(server.url)
    data = content(81, LENGTH)
    connection = await Connection.open(server.url)
    url = await begun(draft, connection)
    answer = await receive_responses(connection, data)
    assert answer.status == 201
    assert answer.progress == sorted(set(answer.progress))
    assert len(answer.progress) >= 4
    assert answer.progress[-1] <= LENGTH
    assert answer.announced == []
    await connection.send_head("HEAD", url, draft.named)
    assert (await connection.answer()).headers["upload-complete"] == "?1"
    connection.close()
    assert_stored(server, url, data)
    assert_zero_copy(server, is_zero_copy)


@pytest.mark.parametrize("start", ["zero-copy", "read"], indirect=True)
@pytest.mark.anyio
async def test_takeover_by_another_process(start: Callable[..., RunningServer]) -> None:
    """R16: the offset that is reported while the creation still runs in another process can be used at once."""
    server = start("--processes", "2")
    draft = Draft(server.url)
    data = content(82, LENGTH)
    one, other = server_processes(server)
    first = await accepted_by(one, server)
    url = await begun(draft, first)
    await first.send(data[: 3 * MIB])
    second = await accepted_by(other, server)
    await second.send_head("HEAD", url, draft.named)
    state = await second.answer()
    offset = int(state.headers["upload-offset"])
    assert (state.status, state.headers["upload-complete"]) == (204, "?0")
    await second.send_head("PATCH", url, draft.patch(offset, completes=True, content_length=str(LENGTH - offset)))
    assert (await receive_responses(second, data[offset:])).headers["upload-complete"] == "?1"
    assert (await receive_responses(first)).status == 400
    for connection in (first, second):
        connection.close()
    assert_stored(server, url, data)


@pytest.mark.parametrize("start", ["zero-copy", "read"], indirect=True)
@pytest.mark.parametrize("is_digested", [False, True])
@pytest.mark.anyio
async def test_reported_offsets_survive_kill_9(start: Callable[..., RunningServer], is_digested: bool) -> None:
    """After ``kill -9`` the upload is where the 104 said, and has at least the bytes that the last 104 reported."""
    server = start(**OFTEN)
    draft = Draft(server.url)
    data = content(83, LENGTH)
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    connection = await Connection.open(server.url)
    url = await begun(draft, connection, **({"repr_digest": f"sha-256=:{digest}:"} if is_digested else {}))
    await connection.send(data[: 9 * MIB])
    interims: list[Answer] = []
    while not interims or int(interims[-1].headers["upload-offset"]) < 4 * MIB:
        interims.append(await asyncio.wait_for(connection.answer(interim=True), 15))
    server.kill()
    with suppress(ConnectionError):
        while True:
            interims.append(await connection.answer(interim=True))
    connection.close()
    safe = int(interims[-1].headers["upload-offset"])
    again = start(port=server.port)
    assert safe <= await finished(draft, url, data) <= 9 * MIB
    assert_stored(again, url, data)


@pytest.mark.anyio
async def test_shutdown_during_a_creation_503(start: Callable[..., RunningServer]) -> None:
    """The response has the offset, and the next server continues the creation."""
    server = start()
    draft = Draft(server.url)
    data = content(84, LENGTH)
    connection = await Connection.open(server.url)
    url = await begun(draft, connection)
    await connection.send(data[: 2 * MIB])
    stopping = asyncio.ensure_future(asyncio.to_thread(server.stop))
    answer = await receive_responses(connection)
    assert (answer.status, answer.problem["code"]) == (503, "ERR_SERVER_SHUTDOWN")
    assert answer.headers["upload-complete"] == "?0"
    offset = int(answer.headers["upload-offset"])
    connection.close()
    await stopping
    again = start(port=server.port)
    assert await finished(draft, url, data) == offset
    assert_stored(again, url, data)
