"""Limits the rate at which bodies are read: of each upload, and of all uploads of one owner together. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: A body takes about what the rate permits in this time, then waits: some wake-ups a second for each slow body.
_TURN_SECONDS = 0.25
#: Less is not worth a wake-up, also where many bodies share a slow rate.
_TURN_BYTES_MIN = 64 * 1024
_TURN_BYTES_MAX = 4 * 1024 * 1024
#: Pacers that nothing uses are forgotten when there are this many, once what they have let through is paid.
_IDLE_MAX = 1000


class Pacer:
    """A rate that some bodies share. All times are those of the event loop.

    Bytes are let through first and paid with time afterwards. Each body waits until the time at which its own bytes
    are paid, so that bodies which take equal turns get equal shares, and a slow one leaves its share to the others.
    """

    __slots__ = ("_free_at", "rate", "users")

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.users = 0
        self._free_at = -math.inf

    def charge(self, count: int, now: float) -> float:
        """Note that ``count`` bytes were taken; return when they are paid."""
        self._free_at = max(now, self._free_at) + count / self.rate
        return self._free_at

    def is_idle(self, now: float) -> bool:
        """Whether it can be forgotten: nothing uses it, and everything is paid."""
        return not self.users and self._free_at <= now

    @property
    def turn_bytes(self) -> int:
        """How much one body may take in one turn."""
        share = int(self.rate * _TURN_SECONDS / max(1, self.users))
        return min(_TURN_BYTES_MAX, max(_TURN_BYTES_MIN, share))


class BodyPace:
    """How fast one body may be read: as fast as all of its pacers permit."""

    __slots__ = ("_pacers", "_paid_at")

    def __init__(self, pacers: Sequence[Pacer]) -> None:
        self._pacers = pacers
        self._paid_at = -math.inf
        for pacer in pacers:
            pacer.users += 1

    def charge(self, count: int, now: float) -> None:
        """Note that ``count`` bytes of the body have arrived."""
        self._paid_at = max((pacer.charge(count, now) for pacer in self._pacers), default=self._paid_at)

    def wait_seconds(self, now: float) -> float:
        """How long no more of the body may be read."""
        return max(0.0, self._paid_at - now)

    @property
    def turn_bytes(self) -> int:
        """How much of the body may be read before the next wait."""
        return min(pacer.turn_bytes for pacer in self._pacers)

    def close(self) -> None:
        """The body is not read any more. What it has taken still counts for the others."""
        for pacer in self._pacers:
            pacer.users -= 1
        self._pacers = ()


class Bandwidth:
    """The limits of one process, in bytes per second; 0 is none. At least one of them is set."""

    def __init__(self, per_upload: int = 0, per_owner: int = 0) -> None:
        self._per_upload = per_upload
        self._per_owner = per_owner
        self._pacers: dict[str, Pacer] = {}
        self._forget_above = _IDLE_MAX

    def pace(self, subject: str, upload_id: str, now: float) -> BodyPace:
        """The pace of a body for this upload (empty: a new one) of this subject. Close it in any case."""
        pacers = []
        if self._per_upload:
            pacers.append(self._pacer(f"upload:{upload_id}" if upload_id else "", self._per_upload, now))
        if self._per_owner:
            pacers.append(self._pacer(subject, self._per_owner, now))
        return BodyPace(pacers)

    def _pacer(self, key: str, rate: int, now: float) -> Pacer:
        pacer = self._pacers.get(key)
        if pacer is None:
            pacer = Pacer(rate)
            if key:
                if len(self._pacers) >= self._forget_above:
                    self._pacers = {each: kept for each, kept in self._pacers.items() if not kept.is_idle(now)}
                    self._forget_above = max(_IDLE_MAX, 2 * len(self._pacers))
                self._pacers[key] = pacer
        return pacer
