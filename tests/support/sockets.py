"""Reads the TCP connections of a local server from /proc: their unread bytes and the processes that own them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .client import Connection
from .server import RunningServer

_LISTEN = 10


@dataclass(frozen=True)
class ServerSide:
    """The accepted end of a connection to a local server."""

    unread_bytes: int
    inode: int


def server_side(server_port: int, client_port: int) -> ServerSide | None:
    """The server's end of the connection from ``client_port``; None if it is closed."""
    for local, remote, _, unread_bytes, inode in _connections():
        if (local, remote) == (server_port, client_port):
            return ServerSide(unread_bytes, inode)
    return None


def bytes_in_the_kernel(server_port: int, client_port: int) -> int:
    """The number of bytes that this client has sent and the server has not read, at most."""
    # The client's side first: bytes that arrive meanwhile are counted twice instead of not at all.
    unsent = next((unsent for *ports, unsent in _unsent() if ports == [client_port, server_port]), 0)
    side = server_side(server_port, client_port)
    return unsent + (0 if side is None else side.unread_bytes)


async def all_read(server_port: int, client_port: int, timeout_seconds: float = 5.0) -> ServerSide:
    """Wait until the server has read every byte that was sent on this connection."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        side = server_side(server_port, client_port)
        # Inode 0: the connection is established, but no process has accepted it yet.
        if side is not None and side.inode and side.unread_bytes == 0:
            return side
        await asyncio.sleep(0.002)
    raise TimeoutError(f"the server has not read all from port {client_port}: {server_side(server_port, client_port)}")


def processes(leader: int) -> list[int]:
    """The running processes of a process group: a server and all processes it started."""
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue  # the process has exited
        # After the name in brackets: state, parent, group.
        state, _, group = stat.rsplit(")", 1)[1].split()[:3]
        if int(group) == leader and state != "Z":
            members.append(int(entry.name))
    return sorted(members)


def server_processes(server: RunningServer) -> list[int]:
    """The processes that accept connections for a server started with ``--processes``."""
    listening = next(inode for port, _, state, _, inode in _connections() if port == server.port and state == _LISTEN)
    return [pid for pid in processes(server.process.pid) if pid != server.process.pid and _has_open(pid, listening)]


def owner(inode: int, candidates: list[int]) -> int | None:
    """The process of ``candidates`` that has the socket with this inode open; None if none has."""
    return next((pid for pid in candidates if _has_open(pid, inode)), None)


@contextmanager
def alone(process_id: int, server: RunningServer) -> Iterator[None]:
    """Stop the other server processes during the block, so that this one accepts every connection."""
    others = [pid for pid in server_processes(server) if pid != process_id]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


async def accepted_by(process_id: int, server: RunningServer) -> Connection:
    """A connection that this server process has accepted."""
    with alone(process_id, server):
        connection = await Connection.open(server.url)
        side = await all_read(server.port, connection.own_port)
    assert owner(side.inode, [process_id]) == process_id
    return connection


def _connections() -> Iterator[tuple[int, int, int, int, int]]:
    """Local port, remote port, state, unread bytes and inode of every IPv4 connection."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = [int(address.split(":")[1], 16) for address in fields[1:3]]
        yield ports[0], ports[1], int(fields[3], 16), int(fields[4].split(":")[1], 16), int(fields[9])


def _unsent() -> Iterator[tuple[int, int, int]]:
    """Local port, remote port, and bytes that the other end has not acknowledged, of every IPv4 connection."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = [int(address.split(":")[1], 16) for address in fields[1:3]]
        yield ports[0], ports[1], int(fields[4].split(":")[0], 16)


def _has_open(pid: int, inode: int) -> bool:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False  # the process has exited
    for descriptor in descriptors:
        try:
            if os.readlink(descriptor) == f"socket:[{inode}]":
                return True
        except OSError:
            continue  # the descriptor was closed
    return False
