"""A store that records checksums of its bytes, and whose service may keep some too."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from tusd_py.model.upload import Upload


class RunningChecksum(Protocol):
    """The checksum of the bytes of one upload, while they are read in order."""

    def update(self, piece: bytes) -> None:
        """Add the next bytes. Computes, and blocks for as long as that takes."""
        ...

    def is_right(self) -> bool:
        """Whether the bytes so far have the recorded checksum."""
        ...


@runtime_checkable
class ChecksumStore(Protocol):
    """Beside ``Store``."""

    async def compare_checksums(self, upload: Upload) -> bool | None:
        """Whether the checksums that the service keeps are those of the record. Reads no bytes.

        ``None`` if one of the two has none. Raises ``StoreError``.
        """
        ...

    def running_checksum(self, upload: Upload) -> RunningChecksum | None:
        """A checksum of all bytes of ``upload``, to be compared with the record; ``None`` if that has none."""
        ...

    def limit_requests(self, per_second: float) -> None:
        """Send at most so many requests a second to the service from now on."""
        ...
