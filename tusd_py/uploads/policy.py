"""The operator's policy for uploads: limits, intervals, lifetimes, and which steps follow a complete upload."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache

from tusd_py.model.jobs import Subscription
from tusd_py.model.principal import Principal
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.rules import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPolicy:
    """Figures and switches from the settings. Every wait and every possible loss has a bound here.

    Lifetimes of 0 seconds mean "never", except for ``tombstone_seconds``.
    """

    limits: Limits = field(default_factory=Limits)
    save_interval_seconds: float = 1.0  # the record of a running body is saved this often,
    save_interval_bytes: int = 64 * 1024 * 1024  # or after this many bytes,
    save_small_bytes: int = 64 * 1024  # but fewer than this
    save_small_seconds: float = 10.0  # only this often
    durable_saves: bool = False  # fsync at every save, not only at completion
    progress_interval_seconds: float = 1.0  # post-receive is emitted this often, and at the end of each body
    lock_timeout_seconds: float = 10.0
    concatenate_at_once_bytes_max: int = 64 * 1024 * 1024
    unfinished_seconds: float = 604800.0
    finished_seconds: float = 0.0
    partial_seconds: float = 604800.0  # of complete partial uploads
    tombstone_seconds: float = 86400.0
    subscriptions: tuple[Subscription, ...] = ()  # which events are recorded and delivered
    forwarded_headers: frozenset[bytes] = frozenset()  # kept in events beside RECORDED_HEADERS, for hooks
    steps: tuple[str, ...] = ()  # processing steps of a complete upload, in order
    delete_rejected: bool = False  # delete the bytes of rejected uploads at once
    assemble_in_worker: bool = False  # a worker concatenates final uploads that are not concatenated at once
    delete_concatenated_parts: bool = False  # delete partial uploads once their final upload is complete

    def limits_for(self, principal: Principal | None) -> Limits:
        """The limits for requests of ``principal``, whose credentials may lower the length."""
        length_max = None if principal is None else principal.limits.length_max
        if length_max is None or 0 < self.limits.length_max <= length_max:
            return self.limits
        # 0 would mean "no limit".
        return replace(self.limits, length_max=max(length_max, 1))

    def new_expiry(self, now: datetime) -> datetime | None:
        """The ``expiry`` of an upload that is created ``now``, without a byte."""
        seconds = self.unfinished_seconds
        return now + _duration(seconds) if seconds else None

    def expiry(self, upload: Upload, now: datetime) -> datetime | None:
        """When maintenance must next look at ``upload`` if nothing happens to it after ``now``; ``None`` is never."""
        if upload.has_ended:
            seconds = self.tombstone_seconds
        elif not upload.is_complete:
            seconds = self.unfinished_seconds
        elif upload.kind is Kind.PARTIAL:
            seconds = self.partial_seconds
        else:
            seconds = self.finished_seconds
        if not seconds and not upload.has_ended:
            return None
        expires_at = now + _duration(seconds)
        if not upload.has_ended and not upload.is_complete and upload.expires_at is not None:
            # The client was told this time; the setting may have been lowered since.
            return max(expires_at, upload.expires_at)
        return expires_at


@lru_cache(maxsize=16)
def _duration(seconds: float) -> timedelta:
    # Cached, because every creation asks for the same.
    return timedelta(seconds=seconds)
