"""Presigned URLs: clients download from S3 itself. The permission was checked before; the URL holds the signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from tusd_py.model.upload import Upload
from tusd_py.protocol.downloads import content_headers
from tusd_py.storage.s3.client import S3Client

#: Like that of a download through the server: shared caches do not know which clients can read it.
_CACHE_CONTROL = "private, no-cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresignedDownloads:
    """Signs GET requests of ``client``, whose endpoint is the one that clients reach.

    S3 answers them with the type and the name that a download through the server has. These are part of what is
    signed, so a client cannot have a file displayed that is not of one of ``inline_types``.
    """

    client: S3Client
    locate: Callable[[Upload], Mapping[str, str]]  # ``Store.location``
    seconds: int
    inline_types: Set[str]

    async def url(self, upload: Upload) -> str:
        """See ``DownloadUrls.url``."""
        headers = dict(content_headers(upload, self.inline_types))
        return await self.client.presigned_url(
            "get_object",
            self.seconds,
            Key=self.locate(upload)["Key"],
            ResponseContentType=headers[b"content-type"].decode("ascii"),
            ResponseContentDisposition=headers[b"content-disposition"].decode("ascii"),
            ResponseCacheControl=_CACHE_CONTROL,
        )

    async def close(self) -> None:
        """See ``DownloadUrls.close``."""
        await self.client.close()
