"""Names are resolved in threads of the client, and the first address that accepts is used."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpcore2
import pytest

from tests.support.receiver import receiving
from tests.support.waiting import eventually
from tusd_py.hooks.http_client import HttpClient, RequestFailed, RequestInvalid, tls_context
from tusd_py.hooks.network import LOOKUPS_MAX, Resolver, ResolvingBackend

pytestmark = pytest.mark.anyio

REAL = socket.getaddrinfo


class Hanging:
    """``socket.getaddrinfo`` whose name servers do not answer for names that begin with "hang"."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.go_on = threading.Event()

    def __call__(self, host: str, *args: Any, **more: Any) -> Any:
        if not host.startswith("hang"):
            return REAL(host, *args, **more)
        self.hosts.append(host)
        self.go_on.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    double = Hanging()
    monkeypatch.setattr(socket, "getaddrinfo", double)
    yield double
    double.go_on.set()


def threads_of(resolver: Resolver) -> list[threading.Thread]:
    return list(resolver._threads._threads)


async def test_a_hanging_name_occupies_one_thread_and_delays_nothing_else(hanging: Hanging) -> None:
    """A hundred requests to it; requests to another host of the same client, and the default executor, go on."""
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2].partition("/")[0]
        client = HttpClient(tls_context(receiver.url, verifies=True))

        async def post(url: str, seconds: float) -> object:
            return await client.post(url, [], b'{"type":"t"}', timeout_seconds=seconds, response_bytes_max=10)

        stuck = [asyncio.create_task(post("http://hang.example/h", 1.0)) for _ in range(100)]
        await eventually(lambda: hanging.hosts != [])
        before = time.monotonic()
        await asyncio.wait_for(post(f"http://localhost:{port}/h", 20), 20)
        await asyncio.wait_for(asyncio.to_thread(lambda: None), 20)
        assert time.monotonic() - before < 10
        for failure in await asyncio.gather(*stuck, return_exceptions=True):
            assert isinstance(failure, RequestFailed) and "took more than 1 seconds" in str(failure)
        assert hanging.hosts == ["hang.example"]
        await asyncio.wait_for(client.close(), 5)


async def test_lookups_are_bounded(hanging: Hanging) -> None:
    """More names than threads wait for one; closing waits for none, and the threads end with their lookups."""
    resolver = Resolver()
    lookups = [asyncio.ensure_future(resolver.resolve(f"hang{number}.example")) for number in range(50)]
    await eventually(lambda: len(hanging.hosts) == LOOKUPS_MAX)
    threads = threads_of(resolver)
    assert len(threads) == LOOKUPS_MAX
    hanging.go_on.set()
    for failure in await asyncio.gather(*lookups, return_exceptions=True):
        assert isinstance(failure, socket.gaierror)
    hanging.go_on.clear()
    last = asyncio.ensure_future(resolver.resolve("hang.example"))
    await eventually(lambda: hanging.hosts[-1] == "hang.example")
    resolver.close()
    hanging.go_on.set()
    await asyncio.gather(last, return_exceptions=True)
    await eventually(lambda: not any(thread.is_alive() for thread in threads))


async def test_a_lookup_is_not_kept() -> None:
    """The next request resolves the name again; addresses need no thread."""
    resolver = Resolver()
    assert await resolver.resolve("10.1.2.3") == ["10.1.2.3"]
    assert await resolver.resolve("::1") == ["::1"]
    assert threads_of(resolver) == []
    assert set(await resolver.resolve("localhost")) <= {"127.0.0.1", "::1"}
    assert resolver._lookups == {}
    resolver.close()


async def test_a_name_that_cannot_be_one_is_final() -> None:
    """A label is too long for DNS: it is never resolved, so another attempt is useless."""
    client = HttpClient(tls_context("http://x/", verifies=True))
    for url in (f"http://{'a' * 64}.example/", "http://a:99999/", f"http://{'ä' * 70}.example/"):
        with pytest.raises(RequestInvalid, match="was not called"):
            await client.post(url, [], b"", timeout_seconds=5, response_bytes_max=10)
    await client.close()


class Connected(httpcore2.AsyncNetworkStream):
    """A connection, or the lack of one, after a while."""

    def __init__(self, address: str, closed: list[str]) -> None:
        self.address, self.closed = address, closed

    async def aclose(self) -> None:
        self.closed.append(self.address)


class Attempts(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses in ``accepting``; those in ``silent`` do not answer; the others refuse."""

    def __init__(self, accepting: set[str], silent: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.accepting, self.silent = accepting, silent
        self.tried: list[str] = []
        self.cancelled: list[str] = []
        self.closed: list[str] = []

    async def connect_tcp(self, host: str, *_: Any, **__: Any) -> Any:
        self.tried.append(host)
        if host in self.silent:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.append(host)
        if host not in self.accepting:
            raise httpcore2.ConnectError(f"{host} refused")
        return Connected(host, self.closed)


async def connect(attempts: Attempts, *addresses: str) -> Any:
    async def resolve(_: str) -> list[str]:
        return list(addresses)

    backend = ResolvingBackend(resolve)  # it starts no threads
    backend._backend = attempts  # type: ignore[assignment]
    return await asyncio.wait_for(backend.connect_tcp("host.example", 80), 10)


async def test_the_first_address_that_accepts_is_used() -> None:
    """A refusal starts the next attempt at once, silence after a moment; other attempts are cancelled."""
    attempts = Attempts({"a", "b"})
    assert (await connect(attempts, "a", "b")).address == "a"
    assert attempts.tried == ["a"]
    attempts = Attempts({"c"}, silent={"b"})
    assert (await connect(attempts, "a", "b", "c", "d")).address == "c"
    assert (attempts.tried, attempts.cancelled) == (["a", "b", "c"], ["b"])


async def test_the_last_failure_is_raised() -> None:
    """If no address accepts; a slow address may still be the one that does."""
    with pytest.raises(httpcore2.ConnectError, match="b refused"):
        await connect(Attempts(set()), "a", "b")
    with pytest.raises(httpcore2.ConnectError, match="only refused"):
        await connect(Attempts(set()), "only")


async def test_a_cancelled_connection_cancels_its_attempts() -> None:
    """The time of a hook is over while no address answers."""
    attempts = Attempts(set(), silent={"a", "b"})
    task = asyncio.ensure_future(connect(attempts, "a", "b"))
    await eventually(lambda: attempts.tried == ["a", "b"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sorted(attempts.cancelled) == ["a", "b"]
