"""Several processes accept about the same number of connections, and none waits for a process that hangs."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable

import pytest
import uvloop

from tests.support.waiting import eventually
from tusd_py.serving.acceptor import NO_PROCESS, Acceptor, ConnectionCounts
from tusd_py.serving.connection_limit import ConnectionLimit
from tusd_py.web.client_address import ClientAddresses

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
LOOPS = pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


class Connections(set[asyncio.Transport]):
    """The set of open connections, as a server keeps it."""

    def protocol(self) -> asyncio.Protocol:
        connections = self

        class Greeting(asyncio.Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as it is
                connections.add(transport)
                assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                transport.write(b"hello")

        return Greeting()


def connect(listener: socket.socket) -> socket.socket:
    client = socket.create_connection(listener.getsockname(), timeout=5)
    client.setblocking(False)
    return client


async def receive_hello(client: socket.socket) -> None:
    async with asyncio.timeout(5):
        assert await asyncio.get_running_loop().sock_recv(client, 5) == b"hello"
    client.close()


def test_connection_counts() -> None:
    """Slots without a process are ignored; the process's own number is stored for the others."""
    numbers = [NO_PROCESS, 5, 9]
    assert not ConnectionCounts(numbers, 0).has_more_than_another(5)
    assert ConnectionCounts(numbers, 2).has_more_than_another(6)
    assert numbers == [5, 5, 6]
    assert not ConnectionCounts([7], 0).has_more_than_another(8)
    assert not ConnectionCounts([NO_PROCESS, NO_PROCESS], 1).has_more_than_another(3)


def run(loop_factory: LoopFactory, numbers: list[int], listener: socket.socket, count: int) -> None:
    """``count`` clients connect at once, and all are accepted."""

    async def main() -> None:
        connections = Connections()
        acceptor = Acceptor(listener, connections.protocol, None, ConnectionCounts(numbers, 0), connections)
        await asyncio.gather(*[receive_hello(connect(listener)) for _ in range(count)])
        assert len(connections) == count
        acceptor.close()
        await acceptor.wait_closed()
        late = connect(listener)
        await asyncio.sleep(0.01)
        assert len(connections) == count
        late.close()
        for transport in connections:
            transport.abort()

    with listener, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


@LOOPS
@pytest.mark.parametrize("others", [NO_PROCESS, 0, 1000])
def test_all_connections_are_accepted(loop_factory: LoopFactory, others: int) -> None:
    """Every connection is accepted, whether the other process has fewer connections, more, or hangs."""
    numbers = [NO_PROCESS, others]
    run(loop_factory, numbers, socket.create_server(("127.0.0.1", 0)), 50)
    assert numbers[1] == others
    assert numbers[0] >= 0


@LOOPS
def test_two_processes_get_half_each(loop_factory: LoopFactory) -> None:
    """Two processes accept in turns: each gets about half of the connections."""

    async def main() -> None:
        numbers = [NO_PROCESS, NO_PROCESS]
        listener = socket.create_server(("127.0.0.1", 0))
        per_process = [Connections(), Connections()]
        acceptors = [
            Acceptor(listener.dup(), own.protocol, None, ConnectionCounts(numbers, slot), own)
            for slot, own in enumerate(per_process)
        ]
        await asyncio.gather(*[receive_hello(connect(listener)) for _ in range(40)])
        assert min(map(len, per_process)) >= 15
        for acceptor, own in zip(acceptors, per_process, strict=True):
            acceptor.close()
            acceptor._listener.close()
            for transport in own:
                transport.abort()
        listener.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ECONNABORTED])
def test_error_of_accept(number: int, caplog: pytest.LogCaptureFixture) -> None:
    """Running out of descriptors is logged and retried; a client that has left is not logged."""

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
    assert ("could not accept a connection" in caplog.text) is (number == errno.EMFILE)


@LOOPS
def test_connections_in_a_handshake_count(loop_factory: LoopFactory) -> None:
    """Of an address that begins handshakes and does not end them, those beyond the limit are closed at once."""

    async def main() -> None:
        connections = Connections()
        limit = ConnectionLimit(3, ClientAddresses())
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        acceptor = Acceptor(listener, connections.protocol, tls, None, connections, limit)
        clients = [connect(listener) for _ in range(10)]
        closed = 0
        for client in clients[3:]:
            async with asyncio.timeout(5):
                closed += await asyncio.get_running_loop().sock_recv(client, 1) == b""
        assert closed == 7
        assert sum(acceptor._handshakes.values()) == 3
        for client in clients:
            client.close()
        await eventually(lambda: not acceptor._handshakes)
        acceptor.close()

    with socket.create_server(("127.0.0.1", 0)) as listener, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
