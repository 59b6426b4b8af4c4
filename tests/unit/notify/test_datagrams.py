"""Messages between the endpoints of one directory."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from tusd_py.notify.datagrams import DatagramEndpoint, is_endpoint_name

pytestmark = pytest.mark.anyio


async def test_send_to_one_and_broadcast(tmp_path: Path) -> None:
    """A broadcast reaches every other endpoint, a message to a name only that one; messages arrive in order."""
    received: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    endpoints = [DatagramEndpoint(tmp_path, received[number].append) for number in received]
    (tmp_path / "uploads-0.lock").touch()
    endpoints[0].broadcast(b"to all")
    endpoints[1].send(endpoints[2].name, b"to one")
    await eventually(lambda: received == {0: [], 1: [b"to all"], 2: [b"to all", b"to one"]})
    for endpoint in endpoints:
        endpoint.close()
    assert list(tmp_path.glob("*.sock")) == []


async def test_full_queue_drops_messages_without_blocking(tmp_path: Path) -> None:
    """Sending more than the receiver's queue holds returns at once; what was queued arrives in order."""
    received: list[bytes] = []
    sender, receiver = DatagramEndpoint(tmp_path, received.append), DatagramEndpoint(tmp_path, received.append)
    for number in range(5000):
        sender.send(receiver.name, b"%d" % number)
    await asyncio.sleep(0)
    await eventually(lambda: len(received) >= 10)
    sender.close()
    receiver.close()
    assert received == [b"%d" % number for number in range(len(received))]


async def test_socket_of_dead_process_is_removed(tmp_path: Path) -> None:
    """The socket of a process that died is unlinked by the first message to it."""
    dead = tmp_path / "12345-0123456789abcdef.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(str(dead))
    endpoint = DatagramEndpoint(tmp_path, lambda message: None)
    endpoint.broadcast(b"ping")
    assert not dead.exists()
    endpoint.send(dead.name, b"gone already")
    endpoint.close()


async def test_file_system_without_sockets_loses_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no socket can be created the endpoint opens all the same, and others cannot reach it."""
    monkeypatch.setattr(DatagramEndpoint, "_address", lambda self, name: "x" * 200)
    endpoint = DatagramEndpoint(tmp_path, lambda message: None)
    assert list(tmp_path.glob("*.sock")) == []
    endpoint.send("1-0123456789abcdef.sock", b"lost")
    endpoint.close()


@pytest.mark.parametrize("name", ["", "x.sock", "../1-0123456789abcdef.sock", "1-0123456789abcdef.sock/", "1-0.sock"])
def test_only_generated_names_are_addresses(name: str) -> None:
    """Only names of the form that endpoints generate are addresses."""
    assert not is_endpoint_name(name)
    assert is_endpoint_name("1-0123456789abcdef.sock")


async def test_flood_does_not_block_other_work(tmp_path: Path) -> None:
    """An endpoint with more messages than it reads in one turn continues in the next; other work runs between."""
    received: list[bytes] = []

    def on_message(message: bytes) -> None:
        received.append(message)
        sender.send(endpoint.name, b"again")  # so that there is always one more to read

    endpoint = DatagramEndpoint(tmp_path, on_message)
    sender = DatagramEndpoint(tmp_path, received.append)
    sender.send(endpoint.name, b"first")
    turns = 0

    def other_work() -> bool:
        nonlocal turns
        turns += 1
        return len(received) >= 500

    await eventually(other_work)
    assert turns >= 3
    endpoint.close()
    sender.close()
