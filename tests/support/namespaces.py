"""Runs a node in a network of its own, whose cables to the other services can be pulled."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

import pytest

_numbers = itertools.count()
_RELAY_BYTES = 64 * 1024

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Cable:
    """A pair of virtual interfaces: ``outside`` is the address of this machine, ``inside`` that of the node."""

    interface: str
    outside: str
    inside: str

    def pull(self) -> None:
        """Let nothing through any more: no answer, no refusal, no end of a connection."""
        _run("ip", "link", "set", self.interface, "down")

    def plug_in(self) -> None:
        """Let everything through again, also what connections still repeat."""
        _run("ip", "link", "set", self.interface, "up")


@dataclass(frozen=True)
class Network:
    """A network namespace. It ends with the process that holds it."""

    holder: int

    @property
    def program(self) -> tuple[str, ...]:
        """What runs a command in this network."""
        return ("nsenter", "-t", str(self.holder), "-n")

    def add_cable(self) -> Cable:
        """Connect it with this machine."""
        number = (os.getpid() * 7 + next(_numbers)) % 4096
        # Of the block for tests of devices in networks (RFC 2544), which no real network uses.
        outside, inside = (f"198.18.{number // 16}.{number % 16 * 16 + last}" for last in (1, 2))
        name = f"tus{number}"
        _run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}n", "netns", str(self.holder))
        _run("ip", "addr", "add", f"{outside}/30", "dev", name)
        _run("ip", "link", "set", name, "up")
        _run(*self.program, "ip", "addr", "add", f"{inside}/30", "dev", f"{name}n")
        _run(*self.program, "ip", "link", "set", f"{name}n", "up")
        return Cable(name, outside, inside)


@contextmanager
def separate_network() -> Iterator[Network]:
    """A new network namespace with a loopback. Without the right to make one the test is skipped."""
    if (reason := _obstacle()) is not None:
        pytest.skip(reason)
    command = ["unshare", "-n", "sh", "-c", "echo ready; exec sleep 3600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert b"ready\n" == holder.stdout.readline()
            network = Network(holder.pid)
            _run(*network.program, "ip", "link", "set", "lo", "up")
            yield network
        finally:
            holder.kill()


class Relay:
    """Listens on an address of a cable, and passes connections on to a service of this machine."""

    def __init__(self, connect: Callable[[], Awaitable[Opened]]) -> None:
        self._connect = connect
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, address: str) -> None:
        self._server = await asyncio.start_server(self._accept, address, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_service, to_service = await self._connect()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pass_on(reader, to_service))
                    group.create_task(_pass_on(from_service, writer))
            finally:
                to_service.transport.abort()
        except* OSError:
            pass
        finally:
            writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_RELAY_BYTES):
        writer.write(piece)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()


@cache
def _obstacle() -> str | None:
    """Why no network namespace can be made here; ``None`` if one can."""
    if shutil.which("ip") is None or shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "ip, unshare and nsenter are not installed (Debian: iproute2, util-linux)"
    tried = subprocess.run(
        ["unshare", "-n", "ip", "link", "add", "tus", "type", "veth", "peer", "name", "tusn"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if tried.returncode == 0 else f"network namespaces cannot be made here: {tried.stderr.strip()}"


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
