"""A store whose objects can be listed one by one, each with the upload that it was made for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from tusd_py.model.upload import Upload


class ObjectKind(StrEnum):
    """The kind of an object in the bucket."""

    OBJECT = "object"  # all bytes of an upload
    TAIL = "tail"  # the last bytes of an unfinished upload
    MULTIPART = "multipart upload"  # its whole parts


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, or a multipart upload with its parts. ``size`` is 0 for a multipart upload."""

    upload_id: str
    kind: ObjectKind
    key: str
    multipart_id: str
    size: int
    made_at: datetime


@runtime_checkable
class ObjectList(Protocol):
    """Beside ``Store``. It finds only what this store certainly has made: other programs may use the same bucket."""

    def list_objects(self, before: datetime) -> AsyncIterator[Sequence[StoredObject]]:
        """Everything that was made before ``before``, in batches. Raises ``StoreUnavailable``."""
        ...

    def is_named(self, upload: Upload, stored: StoredObject) -> bool:
        """Whether the record of ``upload`` names it, so that its bytes may be needed."""
        ...

    async def remove_object(self, stored: StoredObject) -> None:
        """Remove it, with all parts. Removing one that is gone is not an error. Raises ``StoreUnavailable``."""
        ...
