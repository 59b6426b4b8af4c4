"""What is counted, under tusd's names so that its dashboards carry over, with histograms of our own beside them."""

from __future__ import annotations

import os
import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.errors import TusError

_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")
#: The variable by which several worker processes share their counts; the command line sets it before they start.
SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
#: tusd's counters bear no "_total", which this library always adds.
_BARE = re.compile(
    rb"^((?:# (?:HELP|TYPE) )?tusd_(?:bytes_received|uploads_(?:created|finished|terminated)))_total\b", re.M
)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BYTES = tuple(4**power for power in range(5, 21))

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library types only what it collects


class Metrics:
    """One set of counts an application. Of several worker processes each counts for itself, and any tells all."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        requests = Counter("tusd_requests", "Requests, by method.", ["method"], registry=registry)
        self._requests = {method: requests.labels(method) for method in _METHODS}
        self._requests[""] = requests.labels("other")
        self._errors = Counter(
            "tusd_errors", "Answers that refused, by status and code.", ["status", "code"], registry=registry
        )
        self.bytes_received = Counter("tusd_bytes_received", "Bytes of upload bodies received.", registry=registry)
        self.bytes_poured = Counter(
            "tusd_py_bytes_poured", "Of these, bytes taken from socket to file past the event loop.", registry=registry
        )
        self.bytes_sent = Counter("tusd_py_download_bytes", "Bytes of uploads given to clients.", registry=registry)
        self.bytes_sent_poured = Counter(
            "tusd_py_download_bytes_poured", "Of these, bytes moved from a file within the kernel.", registry=registry
        )
        self.created = Counter("tusd_uploads_created", "Uploads created.", registry=registry)
        self.finished = Counter("tusd_uploads_finished", "Uploads whose last byte was stored.", registry=registry)
        self.terminated = Counter("tusd_uploads_terminated", "Uploads ended by a client.", registry=registry)
        self.open = Gauge(
            "tusd_connections_open", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )
        self._hooks = Counter("tusd_hook_invocations", "Hooks asked or told.", ["hooktype"], registry=registry)
        self._hook_errors = Counter("tusd_hook_errors", "Hooks that failed.", ["hooktype"], registry=registry)
        seconds = Histogram(
            "tusd_py_request_duration_seconds",
            "From the head of a request to the end of its answer.",
            ["method"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._seconds = {method: seconds.labels(method) for method in _METHODS}
        self._seconds[""] = seconds.labels("other")
        self.upload_bytes = Histogram(
            "tusd_py_upload_bytes", "Length of complete uploads.", buckets=_BYTES, registry=registry
        )
        self.expired = Counter("tusd_py_uploads_expired", "Uploads the sweeper expired.", registry=registry)
        # Whoever sweeps sets them; the others have nothing to say.
        self.jobs_late_seconds = Gauge(
            "tusd_py_jobs_late_seconds",
            "How long the job that is due longest has waited for a worker.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.jobs_dead = Gauge(
            "tusd_py_jobs_dead", "Jobs given up, at most 1000.", registry=registry, multiprocess_mode="livemax"
        )

    def request(self, method: str, seconds: float, error: TusError | None) -> None:
        """Count one request that was answered."""
        known = method if method in self._requests else ""
        self._requests[known].inc()
        self._seconds[known].observe(seconds)
        if error is not None:
            self._errors.labels(str(error.status), error.code).inc()

    def complete(self, upload: Upload) -> None:
        """Count one upload whose last byte was recorded."""
        self.finished.inc()
        self.upload_bytes.observe(upload.offset)

    def hook(self, hook: Hook, failed: bool) -> None:
        """Count one hook that was asked or told."""
        self._hooks.labels(hook.value).inc()
        if failed:
            self._hook_errors.labels(hook.value).inc()

    def exposition(self) -> bytes:
        """All counts in Prometheus' text format; reads files when several processes share them."""
        registry = self._registry
        if _is_shared():
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return _BARE.sub(rb"\1", generate_latest(registry))

    def close(self) -> None:
        """This process counts no more: what it has open is no longer added up."""
        if _is_shared():
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


def _is_shared() -> bool:
    # Not a setting: the library itself looks there, when it is imported.
    return SHARED_DIRECTORY in os.environ  # noqa: TID251
