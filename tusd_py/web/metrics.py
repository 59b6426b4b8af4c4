"""Prometheus metrics: counters with the names that tusd gives them, so that its dashboards work, and histograms."""

from __future__ import annotations

import logging
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import Job
from tusd_py.model.upload import Upload
from tusd_py.protocol.access_errors import QuotaReached
from tusd_py.protocol.errors import TusError
from tusd_py.web.plain_metrics import PlainCounter, PlainGauge, PlainHistograms
from tusd_py.web.shared_metrics import SHARED_DIRECTORY, UNREADABLE, identifier

log = logging.getLogger(__name__)

_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")
#: These counters of tusd have no suffix "_total", which prometheus_client always adds.
_BARE = re.compile(
    rb"^((?:# (?:HELP|TYPE) )?tusd_(?:bytes_received|uploads_(?:created|finished|terminated)))_total\b", re.M
)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BYTES = tuple(4**power for power in range(5, 21))
_OTHER = "other"
_OPEN = ("tusd_connections_open", "Requests in progress.")
_REQUESTS = ("tusd_requests", "Requests answered, by method.")
_DURATION = ("tusd_py_request_duration_seconds", "Time from the head of a request to the end of its response.")
_UPLOAD_BYTES = ("tusd_py_upload_bytes", "Sizes of completed uploads.")

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library types only what it collects


class Observer(Protocol):
    """A histogram."""

    def observe(self, amount: float, /) -> None: ...


class ServerMetrics:
    """The metrics of one application. Each server process counts for itself; every process can expose the sum."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        # Plain numbers are not seen by other processes.
        is_shared = _is_shared()
        counter: Callable[..., Counter | PlainCounter] = Counter if is_shared else PlainCounter
        self._errors = Counter(
            "tusd_errors", "Requests refused, by status and error code.", ["status", "code"], registry=registry
        )
        self.bytes_received = counter("tusd_bytes_received", "Bytes of upload bodies received.", registry=registry)
        self.bytes_zero_copy = Counter(
            "tusd_py_zero_copy_received_bytes",
            "Bytes of upload bodies that went from socket to file, or to an S3 part, without passing the event loop.",
            registry=registry,
        )
        self.bytes_sent = Counter("tusd_py_download_bytes", "Bytes of uploads sent to clients.", registry=registry)
        self.bytes_sent_zero_copy = Counter(
            "tusd_py_zero_copy_sent_bytes",
            "Bytes of uploads that were sent from file to socket within the kernel.",
            registry=registry,
        )
        self.created = counter("tusd_uploads_created", "Uploads created.", registry=registry)
        self.finished = counter("tusd_uploads_finished", "Uploads completed.", registry=registry)
        self.terminated = Counter("tusd_uploads_terminated", "Uploads terminated by a client.", registry=registry)
        self.open: Gauge | PlainGauge
        if is_shared:
            self.open = Gauge(*_OPEN, registry=registry, multiprocess_mode="livesum")
        else:
            self.open = PlainGauge(*_OPEN, registry=registry)
        self.connections_refused = Counter(
            "tusd_py_connections_refused",
            "Connections refused because their address had too many (server.connections_per_address_max).",
            registry=registry,
        )
        self._quota_refusals = Counter(
            "tusd_py_quota_refusals", "Requests refused because of a quota, by its name.", ["quota"], registry=registry
        )
        self._hooks = Counter("tusd_hook_invocations", "Hooks invoked, by type.", ["hooktype"], registry=registry)
        self._hook_errors = Counter("tusd_hook_errors", "Hooks that failed, by type.", ["hooktype"], registry=registry)
        for hook in Hook:
            # As in tusd: a dashboard shows 0, and a rate from the first failure on.
            self._hooks.labels(hook.value)
            self._hook_errors.labels(hook.value)
        self._seconds: Mapping[str, Observer]
        self._requests: Mapping[str, Counter] = {}  # where ``_seconds`` does not count them
        self.upload_bytes: Observer
        if is_shared:
            self._add_shared_histograms(registry)
        else:
            self._add_plain_histograms(registry)
        self._job_names: frozenset[str] = frozenset()
        self.audit_dropped = Counter(
            "tusd_py_audit_dropped", "Refused requests left out of the audit log, which bounds them.", registry=registry
        )
        self.expired = Counter("tusd_py_uploads_expired", "Uploads expired.", registry=registry)
        self._add_job_metrics(registry)
        self._add_schedule_metrics(registry)
        self._add_process_metrics(registry)

    def _add_plain_histograms(self, registry: CollectorRegistry) -> None:
        seconds = PlainHistograms(
            *_DURATION, "method", [*_METHODS, _OTHER], _SECONDS, registry, counter=(_REQUESTS[0], _REQUESTS[1])
        )
        self._seconds = {method: seconds.labels(method) for method in (*_METHODS, _OTHER)}
        self.upload_bytes = PlainHistograms(*_UPLOAD_BYTES, "", [""], _BYTES, registry).labels("")

    def _add_shared_histograms(self, registry: CollectorRegistry) -> None:
        requests = Counter(*_REQUESTS, ["method"], registry=registry)
        self._requests = {method: requests.labels(method) for method in (*_METHODS, _OTHER)}
        seconds = Histogram(*_DURATION, ["method"], buckets=_SECONDS, registry=registry)
        self._seconds = {method: seconds.labels(method) for method in (*_METHODS, _OTHER)}
        self.upload_bytes = Histogram(*_UPLOAD_BYTES, buckets=_BYTES, registry=registry)

    def _add_process_metrics(self, registry: CollectorRegistry) -> None:
        self._hook_seconds = Histogram(
            "tusd_py_hook_duration_seconds",
            "Time that requests waited for hooks, by type.",
            ["hooktype"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.storage_free_bytes = Gauge(
            "tusd_py_storage_free_bytes",
            "Free space in the data directory.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        build = Gauge(
            "tusd_py_build_info",
            "1, with the version of the server and of Python.",
            ["version", "python"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        build.labels(version("tusd-py"), platform.python_version()).set(1)
        ProcessCollector(registry=registry)

    def _add_job_metrics(self, registry: CollectorRegistry) -> None:
        # Only the process that runs the maintenance tasks sets these gauges.
        self.jobs_late_seconds = Gauge(
            "tusd_py_jobs_late_seconds",
            "How long the longest overdue job has waited for a worker.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.jobs_dead_pruned = Counter(
            "tusd_py_jobs_dead_pruned",
            "Dead jobs of ended uploads that were deleted (events.keep_dead_seconds).",
            registry=registry,
        )
        self.jobs_dead = Gauge(
            "tusd_py_jobs_dead", "Dead jobs, counted up to 1000.", registry=registry, multiprocess_mode="livemax"
        )
        self._jobs = {
            name: Gauge(f"tusd_py_jobs_{name}", help, ["task"], registry=registry, multiprocess_mode="livemax")
            for name, help in (
                ("waiting", "Jobs that have not ended, by webhook endpoint or step, counted up to 1000."),
                ("retrying", "Of these, jobs that have failed at least once."),
                ("oldest_seconds", "The age of the oldest of these."),
            )
        }

    def _add_schedule_metrics(self, registry: CollectorRegistry) -> None:
        self._schedules = {
            name: Gauge(f"tusd_py_schedule_{name}", help, ["schedule"], registry=registry, multiprocess_mode="livemax")
            for name, help in (
                ("failed", "1 if the last run of a schedule has failed."),
                ("late_seconds", "How long a schedule has been due, or has run, without an end."),
                ("ended_timestamp_seconds", "When the last run of a schedule ended, in seconds since 1970."),
            )
        }

    def schedule(self, name: str, *, failed: bool, late_seconds: float, ended_at: datetime | None) -> None:
        """Set the gauges of one schedule."""
        self._schedules["failed"].labels(name).set(failed)
        self._schedules["late_seconds"].labels(name).set(late_seconds)
        if ended_at is not None:
            self._schedules["ended_timestamp_seconds"].labels(name).set(ended_at.timestamp())

    def jobs(self, unfinished: Sequence[Job], now: datetime) -> None:
        """Set the gauges of jobs that have not ended."""
        counts: dict[str, list[float]] = {name: [0, 0, 0] for name in self._job_names}
        for job in unfinished:
            count = counts.setdefault(job.subscription or job.actor, [0, 0, 0])
            count[0] += 1
            count[1] += job.attempt > 1 or bool(job.error)
            count[2] = max(count[2], (now - job.created_at).total_seconds())
        # Names that have no jobs any more stay, with 0.
        self._job_names = frozenset(counts)
        for name, values in counts.items():
            for gauge, value in zip(self._jobs.values(), values, strict=True):
                gauge.labels(name).set(value)

    def request(self, method: str, seconds: float, error: TusError | None, status: int = 0) -> None:
        """Count one answered request. A hook may have answered an ``error`` with another ``status`` than its own."""
        known = method if method in self._seconds else _OTHER
        self._seconds[known].observe(seconds)
        if self._requests:
            self._requests[known].inc()
        if error is not None:
            self._errors.labels(str(status or error.status), error.code).inc()
            if isinstance(error, QuotaReached):
                self._quota_refusals.labels(error.quota).inc()

    def complete(self, upload: Upload) -> None:
        """Count one completed upload."""
        self.finished.inc()
        self.upload_bytes.observe(upload.offset)

    def hook(self, hook: Hook, failed: bool) -> None:
        """Count one invocation of a hook."""
        self._hooks.labels(hook.value).inc()
        if failed:
            self._hook_errors.labels(hook.value).inc()

    def hooks(self, hook: Hook, invocations: int, errors: int) -> None:
        """Count hooks that workers have delivered."""
        self._hooks.labels(hook.value).inc(max(0, invocations))
        self._hook_errors.labels(hook.value).inc(max(0, errors))

    def hook_seconds(self, hook: Hook, seconds: float) -> None:
        """Record how long a request waited for a hook."""
        self._hook_seconds.labels(hook.value).observe(seconds)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format. Reads files if several processes share their metrics.

        If these files were removed, the metrics are those of this process.
        """
        return _BARE.sub(rb"\1", self._shared() or generate_latest(self._registry))

    def _shared(self) -> bytes:
        """The sum of all processes; empty if it cannot be read."""
        if not _is_shared():
            return b""
        registry = CollectorRegistry()
        try:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            ProcessCollector(registry=registry)
            return generate_latest(registry)
        except UNREADABLE as error:
            log.warning("the metrics of other processes cannot be read: %s", error)
            return b""

    def close(self) -> None:
        """Remove the open requests of this process from the sum of all processes. Nothing may be counted afterwards."""
        if _is_shared():
            with suppress(OSError):
                mark_process_dead(identifier())  # type: ignore[no-untyped-call]


def _is_shared() -> bool:
    # Not a setting: prometheus_client itself reads this variable when it is imported.
    return SHARED_DIRECTORY in os.environ  # noqa: TID251
