"""Connections shared out between processes: by how many each has, and never left waiting for one that does not come."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

import pytest
import uvloop

from tusd_py.serving.acceptor import NO_PROCESS, Acceptor, ConnectionCounts

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
LOOPS = pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


class Connections(set[asyncio.Transport]):
    """What a server keeps of its connections."""

    def protocol(self) -> asyncio.Protocol:
        everyone = self

        class Greeting(asyncio.Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as it is
                everyone.add(transport)
                assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                transport.write(b"hello")

        return Greeting()


def visit(listener: socket.socket) -> socket.socket:
    visitor = socket.create_connection(listener.getsockname(), timeout=5)
    visitor.setblocking(False)
    return visitor


async def greeted(visitor: socket.socket) -> None:
    async with asyncio.timeout(5):
        assert await asyncio.get_running_loop().sock_recv(visitor, 5) == b"hello"
    visitor.close()


def test_who_has_more() -> None:
    """Only those count that are there; one's own number is noted for the others."""
    numbers = [NO_PROCESS, 5, 9]
    assert not ConnectionCounts(numbers, 0).has_more_than_another(5)
    assert ConnectionCounts(numbers, 2).has_more_than_another(6)
    assert numbers == [5, 5, 6]
    assert not ConnectionCounts([7], 0).has_more_than_another(8)
    assert not ConnectionCounts([NO_PROCESS, NO_PROCESS], 1).has_more_than_another(3)


def run(loop_factory: LoopFactory, numbers: list[int], listener: socket.socket, count: int) -> None:
    """``count`` visitors come at once, and all are taken in and greeted."""

    async def main() -> None:
        connections = Connections()
        acceptor = Acceptor(listener, connections.protocol, None, ConnectionCounts(numbers, 0), connections)
        await asyncio.gather(*[greeted(visit(listener)) for _ in range(count)])
        assert len(connections) == count
        acceptor.close()
        await acceptor.wait_closed()
        late = visit(listener)
        await asyncio.sleep(0.01)
        assert len(connections) == count
        late.close()
        for transport in connections:
            transport.abort()

    with listener, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


@LOOPS
@pytest.mark.parametrize("others", [NO_PROCESS, 0, 1000])
def test_all_are_taken_in(loop_factory: LoopFactory, others: int) -> None:
    """Whether the other process has less, more, or hangs: whoever comes is taken in by somebody."""
    numbers = [NO_PROCESS, others]
    run(loop_factory, numbers, socket.create_server(("127.0.0.1", 0)), 50)
    assert numbers[1] == others
    assert numbers[0] >= 0


@LOOPS
def test_the_other_process_gets_its_turn(loop_factory: LoopFactory) -> None:
    """Two take turns: each ends up with half, though one alone could have had all."""

    async def main() -> None:
        numbers = [NO_PROCESS, NO_PROCESS]
        listener = socket.create_server(("127.0.0.1", 0))
        both = [Connections(), Connections()]
        acceptors = [
            Acceptor(listener.dup(), mine.protocol, None, ConnectionCounts(numbers, slot), mine)
            for slot, mine in enumerate(both)
        ]
        await asyncio.gather(*[greeted(visit(listener)) for _ in range(40)])
        assert min(map(len, both)) >= 15
        for acceptor, mine in zip(acceptors, both, strict=True):
            acceptor.close()
            acceptor._listener.close()
            for transport in mine:
                transport.abort()
        listener.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ECONNABORTED])
def test_what_accept_may_say(number: int, caplog: pytest.LogCaptureFixture) -> None:
    """Without descriptors it is told and tried again; a visitor that left before is nobody's business."""

    class Refusing(socket.socket):
        refusals = 2

        def accept(self) -> tuple[socket.socket, object]:
            if self.refusals:
                self.refusals -= 1
                raise OSError(number, "so")
            return super().accept()

    listener = Refusing(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    run(asyncio.new_event_loop, [NO_PROCESS], listener, 3)
    assert ("no connection can be taken in" in caplog.text) is (number == errno.EMFILE)
