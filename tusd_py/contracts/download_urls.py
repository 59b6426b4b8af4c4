"""The contract of download URLs: clients download from the object store itself instead of through this server."""

from __future__ import annotations

from typing import Protocol

from tusd_py.model.upload import Upload


class DownloadUrls(Protocol):
    """Makes URLs of complete uploads that need no other credentials and are valid for a short time."""

    async def url(self, upload: Upload) -> str:
        """The URL of the bytes of the complete ``upload``. Raises ``StoreUnavailable``."""
        ...

    async def close(self) -> None:
        """Release all resources."""
        ...
