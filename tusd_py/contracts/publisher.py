"""The contract of a publisher: finished uploads appear elsewhere, under names for people."""

from __future__ import annotations

from typing import Protocol

from tusd_py.contracts.store import Store
from tusd_py.model.upload import Upload


class PublishFailed(Exception):
    """The place would not take the upload now: it is full, out of reach, or not fit for it. Its text is for people."""


class Publisher(Protocol):
    """Puts uploads in place, whole or not at all, once each however often it is asked."""

    async def publish(self, upload: Upload, store: Store) -> str:
        """Put ``upload`` in place and return its path there; the same one if it is in place already.

        Until ``settle`` it is known which place is its own. Raises ``PublishFailed`` or ``StoreError``.
        """
        ...

    async def cleanup(self, upload: Upload) -> None:
        """Forget what was kept for another try: the path is recorded, or the upload gone. Raises ``PublishFailed``."""
        ...
