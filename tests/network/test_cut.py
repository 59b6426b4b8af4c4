"""Requests that are cut in their body: every byte that reached the server is kept, however the connection ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.client import Connection, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.server import RunningServer
from tests.support.sockets import all_read, server_side
from tests.support.stacks import every_stack
from tests.support.stored import assert_stored, assert_zero_copy
from tests.support.waiting import eventually

pytestmark = [pytest.mark.timeout(180), every_stack]

LENGTH = 24 * MIB


@pytest.mark.parametrize("start", ["zero-copy", "read"], indirect=True)
@pytest.mark.parametrize("end", ["close", "half-close", "reset"])
@pytest.mark.anyio
async def test_aborted_append_keeps_every_byte(
    start: Callable[..., RunningServer], is_zero_copy: bool, end: str
) -> None:
    """The next HEAD returns exactly what was sent before the end, from one byte to many MiB in one write."""
    server = start()
    data = content(60, LENGTH)
    cuts = [1, 1000, 65_536, 300_000, MIB + 1, 5 * MIB, 20 * MIB + 7]

    async def cut(bytes_sent: int) -> tuple[str, int | None]:
        url = await create(server.url, LENGTH)
        connection = await Connection.open(url)
        await connection.send_head("PATCH", url, patch_headers(0, LENGTH))
        await connection.send(data[:bytes_sent])
        if end == "reset":
            # A reset discards the bytes that still wait in the server's socket.
            await all_read(server.port, connection.own_port)
        await connection.end(half=end == "half-close", reset=end == "reset")
        # An earlier HEAD would be a takeover, which need not wait for bytes that are still under way.
        await eventually(
            lambda: server_side(server.port, connection.own_port) is None, "the server ends the connection"
        )
        return url, (await request("HEAD", url)).offset

    ends = [await cut(bytes_sent) for bytes_sent in cuts]
    assert [offset for _, offset in ends] == cuts
    for (url, _), offset in zip(ends, cuts, strict=True):
        answer = await request("PATCH", url, patch_headers(offset), data[offset:])
        assert (answer.status, answer.offset) == (204, LENGTH)
    for url in [url for url, _ in ends]:
        assert_stored(server, url, data)
    assert_zero_copy(server, is_zero_copy)
