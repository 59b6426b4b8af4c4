"""Decides when the record of an upload is saved while its body arrives. Pure: the caller passes the time."""

from __future__ import annotations

from tusd_py.uploads.policy import UploadPolicy

#: A body need not be looked at for fewer new bytes than this, until its save is due: each look costs a wake-up.
GATHERED_BYTES = 16 * 1024


class SaveSchedule:
    """When the next save of one body is due. ``now`` is a time of the event loop.

    A client repeats after a crash what was not saved. So many bytes are saved soon, and a thousand clients that bring
    100 bytes a second are not a thousand saves a second. With ``reports_progress`` they are: saves emit post-receive.
    """

    __slots__ = ("_is_slow_allowed", "_policy", "_saved_at")

    def __init__(self, policy: UploadPolicy, now: float, reports_progress: bool) -> None:
        self._policy = policy
        self._saved_at = now
        self._is_slow_allowed = not reports_progress

    def saved(self, now: float) -> None:
        """Note that the record was saved at ``now``."""
        self._saved_at = now

    def wait_seconds(self, unsaved: int, now: float) -> float | None:
        """How long the save of ``unsaved`` bytes may wait; ``None`` if there are none."""
        policy = self._policy
        if not unsaved:
            return None
        if unsaved >= policy.save_interval_bytes:
            return 0.0
        seconds = policy.save_interval_seconds
        if self._is_slow_allowed and unsaved < policy.save_small_bytes:
            seconds = max(seconds, policy.save_small_seconds)
        return max(0.0, self._saved_at + seconds - now)

    def bytes_min(self, unsaved: int) -> int:
        """How many more bytes may arrive before ``wait_seconds`` must be asked again; at least one."""
        if not unsaved:
            return 1
        policy = self._policy
        more = policy.save_interval_bytes - unsaved
        if unsaved < policy.save_small_bytes:
            more = min(more, policy.save_small_bytes - unsaved)
        return max(1, min(more, GATHERED_BYTES))
