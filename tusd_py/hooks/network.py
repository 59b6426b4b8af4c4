"""Name resolution and connections of the HTTP client of hooks.

Names are resolved in threads that belong to one client. The default executor of an event loop is shared: a name server
that does not answer would occupy all its threads, and everything else that uses it would wait.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address

import httpcore2

from tusd_py.cancellation import wait_until_done
from tusd_py.threads import ThreadPool

Resolve = Callable[[str], Awaitable[Sequence[str]]]

#: Names that are resolved at once by one client; there is one lookup for a name at a time.
LOOKUPS_MAX = 16
# RFC 8305, 5: "Connection Attempt Delay [...] a recommended value for a default delay of 250 milliseconds".
_ATTEMPT_DELAY_SECONDS = 0.25


class Resolver:
    """Resolves names in threads of its own. Belongs to one event loop.

    Requests for a name that is being resolved wait for the same lookup. So a name whose lookup hangs occupies one
    thread, however many requests there are for it.
    """

    def __init__(self) -> None:
        self._threads = ThreadPool(LOOKUPS_MAX, "resolve")
        self._lookups: dict[str, asyncio.Future[list[str]]] = {}

    async def resolve(self, host: str) -> Sequence[str]:
        """The addresses of ``host``, which may be a name or an address in any spelling. Raises ``OSError``.

        Raises ``UnicodeError`` if ``host`` cannot be a name.
        """
        if _is_address(host):
            return [host]
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = self._lookups[host] = self._threads.submit(_addresses, host)
            lookup.add_done_callback(lambda done: self._forget(host, done))
        # Not cancelled with one of the requests that wait for it: the thread cannot be interrupted.
        return await asyncio.shield(lookup)

    def close(self) -> None:
        """End the threads, each as soon as its lookup ends. Does not wait."""
        self._threads.abandon()

    def _forget(self, host: str, lookup: asyncio.Future[list[str]]) -> None:
        del self._lookups[host]
        if not lookup.cancelled():
            lookup.exception()  # no request may be left to retrieve it


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _addresses(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class ResolvingBackend(httpcore2.AsyncNetworkBackend):
    """Connects like the HTTP library itself, but resolves names by ``resolve``, by default in its own threads."""

    def __init__(self, resolve: Resolve | None = None) -> None:
        self._backend = httpcore2.AnyIOBackend()
        self._resolver = Resolver()
        self._resolve = resolve or self._resolver.resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to an address of ``host`` that accepts; the first ones are tried first."""
        try:
            addresses = await self._resolve(host)
        except UnicodeError as error:
            raise httpcore2.UnsupportedProtocol(f"{host} cannot be the name of a host") from error
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} cannot be resolved: {error.strerror}") from error
        if not addresses:
            raise httpcore2.ConnectError(f"{host} has no address")
        self.check(host, addresses)

        async def connect(address: str) -> httpcore2.AsyncNetworkStream:
            return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)

        return await (connect(addresses[0]) if len(addresses) == 1 else _first_connection(addresses, connect))

    def check(self, host: str, addresses: Sequence[str]) -> None:
        """Raise an error of the HTTP library if ``host`` must not be connected to."""

    def close(self) -> None:
        """End the threads without waiting for lookups."""
        self._resolver.close()


async def _first_connection(
    addresses: Sequence[str], connect: Callable[[str], Awaitable[httpcore2.AsyncNetworkStream]]
) -> httpcore2.AsyncNetworkStream:
    """Start an attempt for each address, a moment apart, and keep the first connection (RFC 8305, 5)."""
    attempts: list[asyncio.Future[httpcore2.AsyncNetworkStream]] = []
    kept: asyncio.Future[httpcore2.AsyncNetworkStream] | None = None
    try:
        for address in addresses:
            attempts.append(asyncio.ensure_future(connect(address)))
            is_last = len(attempts) == len(addresses)
            while kept is None and (running := [each for each in attempts if not each.done()]):
                done, _ = await asyncio.wait(
                    running,
                    timeout=None if is_last else _ATTEMPT_DELAY_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not done and not is_last:
                    break
                kept = next((each for each in attempts if each.done() and each.exception() is None), None)
            if kept is not None:
                break
    finally:
        losers = [attempt for attempt in attempts if attempt is not kept]
        for attempt in losers:
            attempt.cancel()
        for attempt in losers:
            await _discard(attempt)
    return (kept or attempts[-1]).result()


async def _discard(attempt: asyncio.Future[httpcore2.AsyncNetworkStream]) -> None:
    """Wait for the end of a cancelled attempt, and close its connection if it has one all the same."""
    await wait_until_done(attempt)
    if not attempt.cancelled() and attempt.exception() is None:
        await attempt.result().aclose()
