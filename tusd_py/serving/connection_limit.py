"""Limits how many connections one address may have to one server process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tusd_py.web.client_address import ClientAddresses

_log = logging.getLogger("tusd_py.serving")
#: A flood must not fill the log.
_LOG_SECONDS = 60.0


class ConnectionLimit:
    """Counts the open connections of each address: IPv6 by its /64; trusted proxies and unix sockets are not counted.

    ``connections_max`` of 0 is no limit. ``on_refused`` is called for each connection that is refused.
    """

    def __init__(self, connections_max: int, addresses: ClientAddresses) -> None:
        self._connections_max = connections_max
        self._addresses = addresses
        self._counts: dict[str, int] = {}
        self._logged_at = -_LOG_SECONDS
        self.on_refused: Callable[[], None] = lambda: None

    def key(self, peer: object) -> str:
        """What connections from ``peer``, an address as sockets give it, count as; empty if they are not counted."""
        if not self._connections_max or not isinstance(peer, tuple):
            return ""
        return self._addresses.connection_key(str(peer[0]))

    def allows(self, key: str, more: int = 0) -> bool:
        """Whether another connection may be added, with ``more`` that are about to be. Counts and logs a refusal."""
        if not key or self._counts.get(key, 0) + more < self._connections_max:
            return True
        self.on_refused()
        now = time.monotonic()
        if now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            _log.warning(
                "connections refused: too many from one address; name it in server.trusted_proxies if it is a proxy, "
                "or raise server.connections_per_address_max",
                extra={"address": key, "connections": self._connections_max},
            )
        return False

    def add(self, key: str) -> None:
        if key:
            self._counts[key] = self._counts.get(key, 0) + 1

    def remove(self, key: str) -> None:
        if not key:
            return
        count = self._counts[key] - 1
        if count:
            self._counts[key] = count
        else:
            del self._counts[key]
