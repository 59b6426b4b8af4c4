"""The client and the proxy of the network tests, tested against lying servers and an echo server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.client import PatientUpload
from tests.support.content import common_prefix, content
from tests.support.proxy import FaultyProxy, Kind, Plan

pytestmark = pytest.mark.timeout(30)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def with_server(handler: Handler, use: Callable[[int], Awaitable[None]]) -> None:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        await use(server.sockets[0].getsockname()[1])


@pytest.mark.parametrize("offsets", [[10], [0, 3000, 2000]], ids=["more than was sent", "backwards"])
@pytest.mark.anyio
async def test_client_detects_wrong_offsets(offsets: list[int]) -> None:
    """An upload fails as soon as its server reports an impossible offset."""
    reported = iter(offsets)

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            writer.write(b"HTTP/1.1 201 Created\r\nLocation: /files/a\r\nContent-Length: 0\r\n\r\n")
        elif head.startswith(b"HEAD"):
            writer.write(b"HTTP/1.1 200 OK\r\nUpload-Offset: %d\r\n\r\n" % next(reported))
        else:
            await reader.read(3000)
        writer.close()

    async def upload(port: int) -> None:
        with pytest.raises(AssertionError, match=r"reported \d+ after \d+"):
            await PatientUpload(f"http://127.0.0.1:{port}/files/", content(1, 5000)).run()

    await with_server(lie, upload)


@pytest.mark.anyio
async def test_proxy_injects_every_fault() -> None:
    """Through the proxy an echo arrives complete, cut short, or not at all, as the plan says for the connection."""
    data = bytes(content(2, 20_000))
    plan = Plan(1, 10_000)
    faults = [plan.fault(number) for number in range(22)]

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(1000):
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass  # what a reset does
        writer.close()

    async def receive_echo(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        received = b""
        try:
            writer.write(data)
            while len(received) < len(data) and (piece := await reader.read(1000)):
                received += piece
        except ConnectionError:
            pass  # a fault
        writer.transport.abort()
        return received

    async def use(port: int) -> None:
        async with FaultyProxy(port, plan) as proxy:
            echoed = [await asyncio.wait_for(receive_echo(proxy.port), 5) for _ in faults]
            assert set(proxy.struck) == set(Kind) - {Kind.CLEAN}
            assert proxy.unanswered == 0
        for fault, received in zip(faults, echoed, strict=True):
            assert data.startswith(received)
            if fault.kind in (Kind.CLEAN, Kind.DELAY, Kind.TRICKLE):
                assert received == data
            elif fault.kind is Kind.HALF_CLOSE:
                assert len(received) == fault.after_bytes
            else:
                assert len(received) <= fault.after_bytes

    await with_server(echo, use)


@pytest.mark.parametrize("same", [0, 1, 999, 1000])
def test_common_prefix(same: int) -> None:
    """The length up to the first byte that differs."""
    left = content(3, 1000)
    right = bytes(left[:same]) + bytes(byte ^ 255 for byte in left[same:])
    assert common_prefix(left, right) == same
