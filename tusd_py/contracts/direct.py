"""The contracts of direct requests, which run without a task: calls that report to a callback on the event loop.

A task and the futures that it waits for cost a small request more than the database does. Backends without these
methods are used by tasks only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from tusd_py.contracts.locker import Lock
from tusd_py.model.jobs import Effects
from tusd_py.model.upload import Upload

#: Called once, later, with ``None`` or the failure. It must not raise.
OnDone = Callable[[BaseException | None], None]

#: Called once, later, with the upload (``None`` if it is not recorded) and ``None``, or with ``None`` and the failure.
#: It must not raise.
OnFound = Callable[[Upload | None, BaseException | None], None]


@runtime_checkable
class DirectRecords(Protocol):
    """Records that insert without a task."""

    def begin_insert(self, upload: Upload, effects: Effects, on_done: OnDone) -> None:
        """As ``Records.insert``, for an upload without parts. Raises ``RecordsUnavailable`` if too many calls wait."""
        ...


@runtime_checkable
class DirectStore(Protocol):
    """A store that writes a small body without a task."""

    def begin_write(self, upload: Upload, pieces: Sequence[bytes], on_done: OnDone, *, durable: bool) -> None:
        """Write bytes at the offset of an upload; a failure may leave some of them. Its state in the store is the same.

        A new upload must have an id that the server has generated: nothing has to be reserved for it. With ``durable``
        the bytes survive a loss of power.
        """
        ...


@runtime_checkable
class DirectRecordChanges(Protocol):
    """Records that find and update without a task."""

    def begin_find(self, upload_id: str, on_found: OnFound) -> None:
        """As ``Records.find``. Raises ``RecordsUnavailable`` if too many calls wait."""
        ...

    def begin_update(self, before: Upload, after: Upload, effects: Effects, on_done: OnDone) -> Upload:
        """As ``Records.update``; return the upload as it will be recorded. Raises ``RecordsUnavailable`` like it."""
        ...


#: Takes the upload that was found, without its parts, and returns the upload to record, with the effects of the change.
#: It runs in another thread, perhaps twice: the last call counts. The exception that it raises is the failure.
Decide = Callable[[Upload | None], tuple[Upload, Effects]]

#: Called once, on the event loop, with the recorded upload and ``None``, or with ``None`` and the failure. It must not
#: raise.
OnChanged = Callable[[Upload | None, BaseException | None], None]


@runtime_checkable
class DirectTransitions(Protocol):
    """Records that can find and update an upload in one step."""

    def begin_transition(self, upload_id: str, decide: Decide, on_changed: OnChanged, *, durable: bool) -> bool:
        """Record what ``decide`` returns; return whether that has begun. It does not where two steps are faster.

        A ``durable`` change survives a loss of power. Raises ``RecordsUnavailable`` if too many calls wait.
        """
        ...


@runtime_checkable
class DirectDeletion(Protocol):
    """A store that deletes the bytes of an upload without a task."""

    def begin_delete(self, upload: Upload, on_done: OnDone) -> None:
        """As ``Store.delete``, for an upload whose id the server has generated."""
        ...


class DirectLock(Lock, Protocol):
    """A lock that is released without waiting."""

    def release_now(self) -> None:
        """As ``release``."""
        ...


@runtime_checkable
class DirectLocker(Protocol):
    """A locker that locks without waiting. Its locks are never abandoned."""

    def try_acquire_now(self, upload_id: str) -> DirectLock | None:
        """As ``Locker.try_acquire``."""
        ...
