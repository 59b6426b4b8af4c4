"""The ``Upload`` value and its transitions. What is known of an upload lives here; where its bytes lie does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

#: What a store that keeps nothing of its own has in ``Upload.storage`` (JSON values: an S3 upload id, part numbers).
NO_STATE: Mapping[str, object] = MappingProxyType({})


#: What a step that found nothing out has in ``HistoryEntry.details``.
NO_DETAILS: Mapping[str, str] = MappingProxyType({})


class Kind(StrEnum):
    """Concatenation: a final upload is made of partial ones; everything else is regular."""

    REGULAR = "regular"
    PARTIAL = "partial"
    FINAL = "final"


class Status(StrEnum):
    """Where an upload stands in its life, for people and APIs. The last four are ends."""

    UPLOADING = "uploading"  # bytes are missing; of a final upload: parts are missing
    PROCESSING = "processing"  # every byte is there; hooks, and the joining of a final upload, are not done
    READY = "ready"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    TERMINATED = "terminated"


#: From a status, the statuses that may follow. The picture in the documentation is this table.
TRANSITIONS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.UPLOADING: frozenset({Status.PROCESSING, Status.FAILED, Status.EXPIRED, Status.TERMINATED}),
        Status.PROCESSING: frozenset({Status.READY, Status.REJECTED, Status.FAILED, Status.EXPIRED, Status.TERMINATED}),
        Status.READY: frozenset({Status.EXPIRED, Status.TERMINATED}),
        Status.REJECTED: frozenset({Status.EXPIRED, Status.TERMINATED}),
        Status.FAILED: frozenset({Status.EXPIRED, Status.TERMINATED}),
        Status.EXPIRED: frozenset(),
        Status.TERMINATED: frozenset(),
    }
)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One entry of an upload's history: since when it has had a status, and why where that needs a reason.

    ``name`` is the processing step that ended then, if one did (``validation``), and ``details`` its results (``type``,
    ``sha256``).
    """

    status: Status
    at: datetime
    reason: str = ""
    name: str = ""
    details: Mapping[str, str] = field(default_factory=lambda: NO_DETAILS)


# No slots: a dictionary is copied seven times as fast as ``dataclasses.replace`` makes a new value, and a small upload
# is changed half a dozen times before it is saved.
@dataclass(frozen=True, kw_only=True)
class Upload:
    """All that is known of one upload. Frozen: every change makes a new value and refuses what its state forbids.

    ``offset`` says how many bytes exist; whatever a store holds beyond it does not exist. ``token`` is the fencing
    token: it grows with every saved change, and a change is saved only by who has seen the newest one.
    ``metadata_header`` and ``concat_header`` are what the client sent, to be echoed byte for byte (Latin-1 text).
    Times are aware, in UTC. ``expires_at`` is when the sweeper shall look at it: for an unfinished upload its expiry,
    for a finished one the end of its retention, for an ended one the time to forget it; ``None`` is never.
    """

    id: str
    kind: Kind = Kind.REGULAR
    length: int | None  # bytes; None while deferred
    offset: int = 0  # bytes
    token: int = 0
    metadata_header: str | None = None
    concat_header: str | None = None
    parts: tuple[str, ...] = ()  # ids of a final upload's partial uploads, in order
    owner: str = ""
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    completed_at: datetime | None = None
    status: Status = Status.UPLOADING
    history: tuple[HistoryEntry, ...] = ()
    pending_steps: tuple[str, ...] = ()  # steps of its processing that workers have still to do, in order
    storage: Mapping[str, object] = field(default_factory=lambda: NO_STATE)

    @property
    def is_complete(self) -> bool:
        """Every byte is stored and the body that brought the last one ended there: reached once, never left."""
        return self.completed_at is not None

    @property
    def has_ended(self) -> bool:
        """Only a tombstone is left: expired or terminated."""
        return self.status in (Status.EXPIRED, Status.TERMINATED)

    @property
    def is_handed_to_workers(self) -> bool:
        """The server has done its part: nobody has to be asked any more, what is left is the workers'."""
        return self.is_complete and (self.status is Status.READY or bool(self.pending_steps))

    def advance(self, offset: int, at: datetime, storage: Mapping[str, object] | None = None) -> Upload:
        """The upload with bytes stored up to ``offset``; never fewer than before, never more than its length."""
        assert offset >= self.offset, "an offset never falls"
        assert self.length is None or offset <= self.length, "bytes beyond the length"
        assert not self.is_complete, "a complete upload never changes"
        return self._with(offset=offset, updated_at=at, storage=self.storage if storage is None else storage)

    def truncate_to(self, offset: int, at: datetime) -> Upload:
        """The upload after a power loss took bytes that its record had claimed: the only way an offset falls."""
        assert offset < self.offset, "nothing was lost"
        assert not self.is_complete, "a complete upload never changes"
        return self._with(offset=offset, updated_at=at)

    def declare_length(self, length: int) -> Upload:
        """The upload with its deferred length now known (Creation, ``Upload-Defer-Length``)."""
        assert self.length in (None, length), "a length never changes"
        assert length >= self.offset, "a length below the offset"
        return self._with(length=length)

    def complete(self, at: datetime) -> Upload:
        """The upload with every byte stored; the hooks that must follow are ``PROCESSING``, as joining was."""
        assert self.offset == self.length, "bytes are missing"
        assert not self.is_complete, "an upload completes once"
        after = self if self.status is Status.PROCESSING else self.with_status(Status.PROCESSING, at)
        return after._with(completed_at=at)

    def with_status(self, status: Status, at: datetime, reason: str = "") -> Upload:
        """The upload in another status, the step written into its history."""
        assert status in TRANSITIONS[self.status], f"{self.status} cannot become {status}"
        return self._with(status=status, updated_at=at, history=(*self.history, HistoryEntry(status, at, reason)))

    def hand_to_workers(self, steps: tuple[str, ...], at: datetime) -> Upload:
        """The complete upload as the server leaves it: with ``steps`` for the workers, or ready if there are none."""
        assert self.is_complete and not self.is_handed_to_workers, "handed over once, when it is complete"
        return self._with(pending_steps=steps, updated_at=at) if steps else self.with_status(Status.READY, at)

    def complete_step(
        self, step: str, at: datetime, reason: str = "", details: Mapping[str, str] = NO_DETAILS
    ) -> Upload:
        """The upload after a worker has done ``step``, which was the next; ready if it was the last."""
        assert self.pending_steps[:1] == (step,), f"{step} is not the next step of {self.pending_steps}"
        entry = HistoryEntry(self.status, at, reason, step, details)
        after = self._with(pending_steps=self.pending_steps[1:], updated_at=at, history=(*self._before(step), entry))
        return after if after.pending_steps else after.with_status(Status.READY, at)

    def fail_step(
        self, step: str, status: Status, at: datetime, reason: str, details: Mapping[str, str] = NO_DETAILS
    ) -> Upload:
        """The upload that ``step`` has rejected or failed at; no further step is done."""
        assert status in (Status.REJECTED, Status.FAILED) and status in TRANSITIONS[self.status]
        entry = HistoryEntry(status, at, reason, step, details)
        return self._with(status=status, pending_steps=(), updated_at=at, history=(*self._before(step), entry))

    def report_step(self, step: str, at: datetime, details: Mapping[str, str]) -> Upload:
        """The upload while ``step`` is being done: ``details`` say how far, and replace those of the last report."""
        entry = HistoryEntry(self.status, at, "", step, details)
        return self._with(updated_at=at, history=(*self._before(step), entry))

    def _before(self, step: str) -> tuple[HistoryEntry, ...]:
        """The history without the word that ``step`` is under way: what came of it takes that place."""
        return self.history[:-1] if self.history and self.history[-1].name == step else self.history

    def expiring(self, expires_at: datetime | None) -> Upload:
        """The upload with another time at which the sweeper shall look at it."""
        return self._with(expires_at=expires_at)

    def with_storage(self, storage: Mapping[str, object]) -> Upload:
        """The upload with what its store wants to keep of it."""
        return self if storage is self.storage else self._with(storage=storage)

    def with_token(self, token: int) -> Upload:
        """The upload as its record has it, with the token of that save."""
        return self._with(token=token)

    def _with(self, **changes: object) -> Upload:
        """A copy with these fields changed: what ``dataclasses.replace`` does, past ``__init__``."""
        changed = object.__new__(Upload)
        fields = changed.__dict__
        fields.update(self.__dict__)
        fields.update(changes)
        return changed
