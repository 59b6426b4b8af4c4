"""The contract of endpoint states: which webhook endpoints are closed, so that nothing is delivered to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tusd_py.model.audit import AuditEntry
from tusd_py.model.jobs import ClosedEndpoint

#: The name under which workers report that they cannot dispatch jobs. No endpoint can have it.
DISPATCH = "worker.broker"


class EndpointStates(Protocol):
    """Keeps closed endpoints by name; every other endpoint is open. Changes are durable when the call returns."""

    async def find_closed(self, name: str) -> ClosedEndpoint | None:
        """The endpoint if it is closed, else ``None``."""
        ...

    async def list_closed(self) -> list[ClosedEndpoint]:
        """All closed endpoints, by name."""
        ...

    async def close_endpoint(self, name: str, reason: str, now: datetime) -> bool:
        """Close an endpoint; False if it is closed already: then it keeps its first reason and time."""
        ...

    async def report_failure(self, name: str, reason: str, now: datetime) -> None:
        """Record that ``name`` fails; a failure that lasts keeps its time and gets the new reason."""
        ...

    async def clear_failure(self, name: str) -> None:
        """Record that ``name`` does not fail."""
        ...

    async def find_failure(self, name: str) -> ClosedEndpoint | None:
        """The failure of ``name``, if it fails."""
        ...

    async def open_endpoint(self, name: str, audit: Sequence[AuditEntry] = ()) -> bool:
        """Open a closed endpoint; False if it is not closed. ``audit`` is written with the change."""
        ...
