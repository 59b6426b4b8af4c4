"""What backends offer for a creation without a task: calls that report their end to a callback, on the event loop.

A task and the futures that it waits for cost a small creation more than the database does. Backends without these
methods are used by tasks only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from tusd_py.model.jobs import Effects
from tusd_py.model.upload import Upload

#: Called once, later, with ``None`` or the failure. It must not raise.
OnDone = Callable[[BaseException | None], None]


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
        """Write the first bytes of a new upload, whose id the server has generated; a failure may leave some of them.

        Nothing has to be reserved for such an upload. With ``durable`` they survive a loss of power.
        """
        ...
