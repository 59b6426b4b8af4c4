"""The periodic tasks of a server: recovery after a crash, the sweeper, pruning, and the gauges of the job queue."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from tusd_py.contracts.hook_counts import HookCount
from tusd_py.contracts.locker import Lock, LocksUnavailable
from tusd_py.contracts.store import StoreError
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import JobState
from tusd_py.settings import Settings
from tusd_py.threads import in_executor
from tusd_py.uploads.abandoned import remove_abandoned
from tusd_py.uploads.background import TaskKind, task_key
from tusd_py.uploads.expire import prune, prune_dead, recover, sweep
from tusd_py.uploads.leftovers import remove_leftovers
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.sessions import prune_sessions
from tusd_py.web.metrics import ServerMetrics
from tusd_py.wiring.stores import describe_bucket, shortcomings, store_failure

# Charges count for the month of their upload; the month before is kept for reports.
_CHARGES_KEPT = timedelta(days=31)

log = logging.getLogger(__name__)

# The process that holds this lock does the maintenance for all processes; no upload can have this id.
_LEADER = task_key(TaskKind.SWEEPER)
_JOBS_COUNTED_MAX = 1000
# Asking a network file system for its space may block for long.
_space_threads = ThreadPoolExecutor(1, "space")
# The time between two searches for leftovers, as a fraction of their age: a search examines every file in the store.
_LEFTOVERS_INTERVAL = 0.25


class Maintenance:
    """Runs the periodic tasks in one of the processes that share the data; another takes over when it exits.

    A pass runs at the start and every ``expiration.sweep_interval_seconds``.
    """

    def __init__(self, ports: Ports, settings: Settings, metrics: ServerMetrics) -> None:
        self._ports = ports
        self._settings = settings
        self._metrics = metrics
        self._leadership: Lock | None = None
        self._hook_totals: Mapping[Hook, HookCount] | None = None  # None before the first pass
        self._is_deposed = False
        self._leftovers_at = ports.opened_at + timedelta(seconds=settings.expiration.leftover_seconds)
        self._tasks = [asyncio.create_task(self._run())]
        if settings.storage.kind == "s3":
            self._tasks.append(asyncio.create_task(self._warn_of_bucket()))

    @property
    def is_leader(self) -> bool:
        """Whether this process does the maintenance."""
        return self._leadership is not None and not self._is_deposed

    async def stop(self) -> None:
        """Cancel the current pass, wait for it, and give up the leadership."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        if self._leadership is not None:
            await self._leadership.release()
            self._leadership = None

    async def _warn_of_bucket(self) -> None:
        """Log once, in every process, that uploads will fail. The server still starts: S3 may come back."""
        if failure := await store_failure(self._ports.store):
            advice = f"{describe_bucket(self._settings)}: {failure}"
            log.warning("uploads cannot be stored", extra={"advice": advice})
            return
        try:
            for each in await shortcomings(self._ports.store):
                advice = f"{describe_bucket(self._settings)}: {each}"
                log.warning("the object store lacks a function", extra={"advice": advice})
        except StoreError as failure:
            advice = f"{describe_bucket(self._settings)}: {failure}"
            log.warning("it is unknown what the object store can do", extra={"advice": advice})

    async def _run(self) -> None:
        while True:
            try:
                if self._is_deposed and self._leadership is not None:
                    leadership, self._leadership = self._leadership, None
                    await leadership.release()
                if self._leadership is None:
                    self._is_deposed = False
                    self._leadership = await self._ports.locker.try_acquire(_LEADER)
                    if self._leadership is not None:
                        # No process requests its release: this is called if another machine has taken it over.
                        self._leadership.on_release_requested(self._lose_leadership)
                if self._leadership is not None:
                    await self._run_once()
            except LocksUnavailable as error:
                log.warning("no locks: uploads cannot be changed, and maintenance waits", extra={"reason": str(error)})
            except Exception:
                # The outermost handler of this task: it must survive a database that is unavailable for a minute.
                log.exception("maintenance failed, retrying")
            await asyncio.sleep(self._settings.expiration.sweep_interval_seconds)

    def _lose_leadership(self) -> None:
        log.warning("another server may do the maintenance from now on")
        self._is_deposed = True

    async def _run_once(self) -> None:
        await recover(self._ports)
        swept = await sweep(self._ports)
        self._metrics.expired.inc(swept.expired)
        await prune_sessions(self._ports)
        await prune(self._ports, self._settings.events.keep_seconds)
        self._metrics.jobs_dead_pruned.inc(await prune_dead(self._ports, self._settings.events.keep_dead_seconds))
        if self._ports.quota_ledger is not None and self._ports.quotas is not None:
            oldest = self._ports.quotas.periods(self._ports.clock() - _CHARGES_KEPT).month
            await self._ports.quota_ledger.prune(oldest)
        await self._remove_leftovers()
        await self._measure_jobs()
        await self._measure_hooks()
        await self._measure_space()

    async def _remove_leftovers(self) -> None:
        """Remove bytes that no record names, at first when this process is as old as such bytes must be.

        Until then an operator can notice that the records are the wrong ones, or are not restored yet.
        """
        seconds = self._settings.expiration.leftover_seconds
        # Records in memory do not have the uploads of earlier processes: their bytes would all look like leftovers.
        if not seconds or not self._settings.has_database:
            return
        now = self._ports.clock()
        if now >= self._leftovers_at:
            self._leftovers_at = now + timedelta(seconds=seconds * _LEFTOVERS_INTERVAL)
            before = now - timedelta(seconds=seconds)
            try:
                await remove_leftovers(self._ports, before)
                await remove_abandoned(self._ports, before)
            except StoreError as failure:
                # What follows in this pass does not need the store.
                log.warning("bytes that no record names could not be removed, retrying later: %s", failure)

    async def _measure_jobs(self) -> None:
        job_queue = self._ports.job_queue
        if job_queue is None:
            return
        due = await job_queue.next_due()
        late_seconds = 0.0 if due is None else max(0.0, (self._ports.clock() - due).total_seconds())
        self._metrics.jobs_late_seconds.set(late_seconds)
        dead = await job_queue.list_jobs(states=(JobState.DEAD,), limit=_JOBS_COUNTED_MAX)
        self._metrics.jobs_dead.set(len(dead))
        states = (JobState.WAITING, JobState.RUNNING)
        self._metrics.jobs(await job_queue.list_jobs(states=states, limit=_JOBS_COUNTED_MAX), self._ports.clock())

    async def _measure_hooks(self) -> None:
        """Count the hooks that workers have delivered since the last pass. They are other processes, or machines."""
        if self._ports.hook_counts is None:
            return
        totals = await self._ports.hook_counts.totals()
        if self._hook_totals is not None:
            for hook, (invocations, errors) in totals.items():
                before = self._hook_totals.get(hook, HookCount(0, 0))
                self._metrics.hooks(hook, invocations - before.invocations, errors - before.errors)
        self._hook_totals = totals

    async def _measure_space(self) -> None:
        if self._settings.storage.kind == "disk":
            usage = await in_executor(_space_threads, shutil.disk_usage, self._settings.storage.data_dir)
            self._metrics.storage_free_bytes.set(usage.free)
