"""The contract of a publisher, which makes finished uploads available under readable names."""

from __future__ import annotations

from typing import Protocol

from tusd_py.contracts.store import Store
from tusd_py.model.upload import Upload


class PublishFailed(Exception):
    """The target cannot accept the upload now: it is full, unreachable or unsuitable. The message is for operators."""


class Publisher(Protocol):
    """Publishes uploads atomically. Publishing an upload again has no further effect."""

    async def prepare(self, upload: Upload, store: Store) -> None:
        """Bring the bytes of ``upload`` to the target, where no one sees them yet. This may take long.

        Raises ``PublishFailed`` or ``StoreError``.
        """
        ...

    async def place(self, upload: Upload) -> str:
        """Publish the prepared ``upload`` and return its path in the target; the same path if it is published already.

        The publisher remembers the path until ``cleanup``, even after a crash. Takes little time. Raises
        ``PublishFailed`` or ``StoreError``.
        """
        ...

    async def withdraw(self, upload: Upload, path: str) -> None:
        """Undo ``place``, which returned ``path``; to be called before ``cleanup``.

        Raises ``PublishFailed`` or ``StoreError``.
        """
        ...

    async def cleanup(self, upload: Upload) -> None:
        """Delete what was kept for a retry; called once the path is recorded or the upload is gone.

        Raises ``PublishFailed`` or ``StoreError``.
        """
        ...

    async def close(self) -> None:
        """Release all resources."""
        ...
