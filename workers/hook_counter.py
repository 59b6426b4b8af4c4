"""Counts the hooks that this worker delivers, and adds them to the totals in the database once a second at most."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from tusd_py.contracts.hook_counts import HookCount, HookCounts
from tusd_py.contracts.records import RecordsError
from tusd_py.model.hooks import Hook

log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 1.0


class HookCounter:
    """The counts since the last save. Belongs to one event loop."""

    def __init__(self, totals: HookCounts) -> None:
        self._totals = totals
        self._invocations: Counter[Hook] = Counter()
        self._errors: Counter[Hook] = Counter()
        self._saving: asyncio.Task[None] | None = None

    def count(self, hook: Hook, *, failed: bool) -> None:
        """Count one attempt to deliver ``hook``."""
        self._invocations[hook] += 1
        self._errors[hook] += failed
        if self._saving is None:
            self._saving = asyncio.create_task(self._save_later())

    async def close(self) -> None:
        """Save what is left."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.wait([self._saving])
            await self._save()

    async def _save_later(self) -> None:
        await asyncio.sleep(_INTERVAL_SECONDS)
        self._saving = None
        await self._save()

    async def _save(self) -> None:
        invocations, errors = self._invocations, self._errors
        self._invocations, self._errors = Counter(), Counter()
        try:
            for hook, count in invocations.items():
                await self._totals.add(hook, HookCount(count, errors[hook]))
        except RecordsError as error:
            # Metrics never stop a worker.
            log.warning("could not record counts of hooks", extra={"reason": str(error)})
