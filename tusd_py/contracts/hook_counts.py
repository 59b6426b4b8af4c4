"""The contract of hook counts: how often workers delivered each ``post-`` hook, and failed to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from tusd_py.model.hooks import Hook


class HookCount(NamedTuple):
    """Attempts to deliver one hook, and those of them that failed."""

    invocations: int
    errors: int


class HookCounts(Protocol):
    """Totals of all workers since the database was created."""

    async def add(self, hook: Hook, count: HookCount) -> None:
        """Add ``count`` to the totals of ``hook``. Raises ``RecordsError``."""
        ...

    async def totals(self) -> Mapping[Hook, HookCount]:
        """The totals of every hook that was ever counted. Raises ``RecordsError``."""
        ...
