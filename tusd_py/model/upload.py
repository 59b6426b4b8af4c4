"""The ``Upload`` value and its transitions. The location of its bytes is known to the store only."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from tusd_py.model.frozen import frozen

#: ``Upload.storage`` of a store without private state. Otherwise JSON values, such as an S3 upload id.
NO_STATE: Mapping[str, object] = MappingProxyType({})

#: ``HistoryEntry.details`` of a step without results.
NO_DETAILS: Mapping[str, str] = MappingProxyType({})

#: In ``HistoryEntry.details``: where a hook has moved the bytes.
MOVED_TO = "moved_to"


class Kind(StrEnum):
    """Concatenation: a final upload consists of partial uploads; all other uploads are regular."""

    REGULAR = "regular"
    PARTIAL = "partial"
    FINAL = "final"


class Status(StrEnum):
    """The status of an upload."""

    UPLOADING = "uploading"  # bytes are missing; of a final upload: parts are unfinished
    PROCESSING = "processing"  # all bytes are stored; concatenation, hooks or steps are pending
    READY = "ready"
    MOVED = "moved"  # complete, but a hook has taken its bytes elsewhere
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    TERMINATED = "terminated"


#: The statuses that may follow each status. The diagram in the documentation shows this table.
TRANSITIONS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.UPLOADING: frozenset(
            {Status.PROCESSING, Status.REJECTED, Status.FAILED, Status.EXPIRED, Status.TERMINATED}
        ),
        Status.PROCESSING: frozenset(
            {Status.READY, Status.MOVED, Status.REJECTED, Status.FAILED, Status.EXPIRED, Status.TERMINATED}
        ),
        Status.READY: frozenset({Status.MOVED, Status.EXPIRED, Status.TERMINATED}),
        Status.MOVED: frozenset({Status.EXPIRED, Status.TERMINATED}),
        Status.REJECTED: frozenset({Status.EXPIRED, Status.TERMINATED}),
        Status.FAILED: frozenset({Status.EXPIRED, Status.TERMINATED}),
        Status.EXPIRED: frozenset(),
        Status.TERMINATED: frozenset(),
    }
)

#: The detail of the first entry of a history with the media types that the credentials of the creation allow.
ALLOWED_TYPES = "allowed_types"


@frozen()
class HistoryEntry:
    """One entry of the history of an upload: its status from ``at`` on, and the reason for a failure.

    ``name`` is the processing step that ended or reported progress (``validation``), if any; ``details`` are its
    results (``type``, ``sha256``).
    """

    status: Status
    at: datetime
    reason: str = ""
    name: str = ""
    details: Mapping[str, str] = field(default_factory=lambda: NO_DETAILS)


class History(Sequence[HistoryEntry]):
    """A history that is kept in another form, and takes an entry without being converted from it."""

    __slots__ = ()

    @abstractmethod
    def with_entry(self, entry: HistoryEntry) -> History:
        """This history with one more entry at its end."""


# No slots: copying the dictionary is seven times as fast as ``dataclasses.replace``, and a small upload is changed half
# a dozen times before it is saved.
@dataclass(frozen=True, kw_only=True)
class Upload:
    """The record of one upload. It is frozen: each transition returns a new value and asserts that it is allowed.

    ``offset`` is the number of bytes that exist; bytes that a store has beyond it do not count. ``token`` is the
    fencing token: it grows with every saved change, and a change can be saved only with the newest token.
    ``metadata_header`` and ``concat_header`` are as the client sent them, to be echoed byte for byte (Latin-1 text);
    only credentials in the URLs of ``concat_header`` are left out. ``grant`` is the link or the access code with which
    the upload was made (``link:ID``, ``code:ID``), empty if there was none; ``length_max`` is how many bytes a link
    allows, and reserves of the owner's quota, while the length is deferred.
    Times are aware, in UTC. ``expires_at`` is the time for the sweeper to act: the expiry of an unfinished upload, the
    end of the retention of a finished one, the deletion of the record of an ended one; ``None`` is never.
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
    grant: str = ""
    length_max: int | None = None  # bytes
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    completed_at: datetime | None = None
    status: Status = Status.UPLOADING
    history: Sequence[HistoryEntry] = ()
    pending_steps: tuple[str, ...] = ()  # processing steps left for the workers, in order
    storage: Mapping[str, object] = field(default_factory=lambda: NO_STATE)

    if not TYPE_CHECKING:

        def __init__(self, **fields: object) -> None:
            # For type checkers the generated one, which sets the fields of a frozen class one by one: 2 microseconds.
            self.__dict__.update(_DEFAULTS)
            self.__dict__.update(fields)

    @property
    def is_complete(self) -> bool:
        """All bytes are stored, and the last body ended at the length. Once reached, this stays true."""
        return self.completed_at is not None

    @property
    def allowed_types(self) -> tuple[str, ...] | None:
        """The media types that the credentials of the creation allow; ``None`` if they allow all."""
        allowed = self.history[0].details.get(ALLOWED_TYPES) if self.history else None
        return None if allowed is None else tuple(allowed.split())

    @property
    def has_ended(self) -> bool:
        """The upload is expired or terminated; only its record is left."""
        return self.status in (Status.EXPIRED, Status.TERMINATED)

    @property
    def is_handed_to_workers(self) -> bool:
        """The blocking hooks are done; only processing steps of the workers are left, if any."""
        return self.is_complete and (self.status in (Status.READY, Status.MOVED) or bool(self.pending_steps))

    def advance(self, offset: int, at: datetime, storage: Mapping[str, object] | None = None) -> Upload:
        """With bytes stored up to ``offset``, which is not below the current offset and not beyond the length."""
        assert offset >= self.offset, "an offset never falls"
        assert self.length is None or offset <= self.length, "bytes beyond the length"
        assert not self.is_complete, "a complete upload never changes"
        return self._with(offset=offset, updated_at=at, storage=self.storage if storage is None else storage)

    def truncate_to(self, offset: int, at: datetime) -> Upload:
        """With fewer bytes: a power loss destroyed some that the record had counted, or the upload is rejected."""
        assert offset < self.offset, "no bytes were lost"
        assert not self.is_complete, "a complete upload never changes"
        return self._with(offset=offset, updated_at=at)

    def declare_length(self, length: int) -> Upload:
        """With its deferred length now known (Creation, ``Upload-Defer-Length``)."""
        assert self.length in (None, length), "a length never changes"
        assert length >= self.offset, "a length below the offset"
        return self._with(length=length)

    def complete(self, at: datetime) -> Upload:
        """With all bytes stored. The status is ``PROCESSING`` until hooks and steps are done."""
        assert self.offset == self.length, "bytes are missing"
        assert not self.is_complete, "an upload completes once"
        after = self if self.status is Status.PROCESSING else self.with_status(Status.PROCESSING, at)
        return after._with(completed_at=at)

    def with_status(
        self, status: Status, at: datetime, reason: str = "", details: Mapping[str, str] = NO_DETAILS
    ) -> Upload:
        """In another status, with an entry in the history."""
        assert status in TRANSITIONS[self.status], f"{self.status} cannot become {status}"
        entry = HistoryEntry(status, at, reason, details=details)
        history = self.history
        longer = history.with_entry(entry) if isinstance(history, History) else (*history, entry)
        return self._with(status=status, updated_at=at, history=longer)

    def hand_to_workers(self, steps: tuple[str, ...], at: datetime) -> Upload:
        """After the blocking hooks: with ``steps`` for the workers, or ready if there are none."""
        assert self.is_complete and not self.is_handed_to_workers, "handed to the workers once, when complete"
        return self._with(pending_steps=steps, updated_at=at) if steps else self.with_status(Status.READY, at)

    def move(self, path: str, at: datetime) -> Upload:
        """After a hook has moved the bytes to ``path``, which is only recorded: no further steps run."""
        assert self.is_complete and Status.MOVED in TRANSITIONS[self.status], f"{self.status} cannot be moved"
        entry = HistoryEntry(Status.MOVED, at, "a hook has moved the bytes", details={MOVED_TO: path})
        return self._with(status=Status.MOVED, pending_steps=(), updated_at=at, history=(*self.history, entry))

    def complete_step(
        self, step: str, at: datetime, reason: str = "", details: Mapping[str, str] = NO_DETAILS
    ) -> Upload:
        """After a worker completed ``step``, the first pending step; ready if it was the last."""
        assert self.pending_steps[:1] == (step,), f"{step} is not the next step of {self.pending_steps}"
        entry = HistoryEntry(self.status, at, reason, step, details)
        after = self._with(pending_steps=self.pending_steps[1:], updated_at=at, history=(*self._before(step), entry))
        return after if after.pending_steps else after.with_status(Status.READY, at)

    def fail_step(
        self, step: str, status: Status, at: datetime, reason: str, details: Mapping[str, str] = NO_DETAILS
    ) -> Upload:
        """After ``step`` rejected the upload or failed; no further steps run."""
        assert status in (Status.REJECTED, Status.FAILED) and status in TRANSITIONS[self.status]
        entry = HistoryEntry(status, at, reason, step, details)
        return self._with(status=status, pending_steps=(), updated_at=at, history=(*self._before(step), entry))

    def report_step(self, step: str, at: datetime, details: Mapping[str, str]) -> Upload:
        """With the progress of the running ``step`` in ``details``; replaces its previous report."""
        entry = HistoryEntry(self.status, at, "", step, details)
        return self._with(updated_at=at, history=(*self._before(step), entry))

    def _before(self, step: str) -> Sequence[HistoryEntry]:
        """The history without the last progress report of ``step``, which a new entry replaces."""
        return self.history[:-1] if self.history and self.history[-1].name == step else self.history

    def expiring(self, expires_at: datetime | None) -> Upload:
        """With another time for the sweeper to act."""
        return self._with(expires_at=expires_at)

    def claimed_by(self, owner: str) -> Upload:
        """With an owner, for an upload that had none."""
        assert not self.owner, "an owner never changes"
        return self._with(owner=owner)

    def describe(self, metadata_header: str | None) -> Upload:
        """With the metadata of the client that fills it by a link."""
        assert not self.offset, "metadata never changes once there are bytes"
        return self._with(metadata_header=metadata_header)

    def with_storage(self, storage: Mapping[str, object]) -> Upload:
        """With the private state of its store."""
        return self if storage is self.storage else self._with(storage=storage)

    def with_token(self, token: int) -> Upload:
        """With the token of a save."""
        return self._with(token=token)

    def _with(self, **changes: object) -> Upload:
        """A copy with these fields changed, like ``dataclasses.replace`` but without calling ``__init__``."""
        changed = object.__new__(Upload)
        fields = changed.__dict__
        fields.update(self.__dict__)
        fields.update(changes)
        return changed


#: The fields that have a default.
_DEFAULTS: Mapping[str, object] = {
    each.name: each.default_factory() if callable(each.default_factory) else each.default
    for each in fields(Upload)
    if each.default is not MISSING or callable(each.default_factory)
}
