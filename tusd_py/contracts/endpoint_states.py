"""The contract of endpoint states: which webhook endpoints are closed, so that nothing is delivered to them."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from tusd_py.model.jobs import ClosedEndpoint


class EndpointStates(Protocol):
    """Keeps closed endpoints by name; every other endpoint is open. Changes are durable when the call returns."""

    async def find_closed(self, name: str) -> ClosedEndpoint | None:
        """The endpoint if it is closed, else ``None``."""
        ...

    async def list_closed(self) -> list[ClosedEndpoint]:
        """All closed endpoints, by name."""
        ...

    async def close_endpoint(self, name: str, reason: str, now: datetime) -> None:
        """Close an endpoint. One that is closed already keeps its first reason and time."""
        ...

    async def open_endpoint(self, name: str) -> bool:
        """Open a closed endpoint; False if it is not closed."""
        ...
