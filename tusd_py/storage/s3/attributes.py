"""The attributes of objects: storage class, tags, type and name for downloads, encryption."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlencode

from tusd_py.model.upload import Upload
from tusd_py.protocol.downloads import content_headers, declared_type

#: What the service accepts in the value of a tag, beside letters and digits of any script.
_NOT_IN_TAGS = re.compile(r"[^\w +\-=.:/@]")
_TAG_CHARACTERS_MAX = 256

#: The text of a pattern such as ``{owner}/{yyyy}`` for one upload.
Expand = Callable[[str, Upload], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectAttributes:
    """The attributes of all objects; some have a value of their own for each upload.

    ``content_type`` "download" is the type that a download through the server has, "client" the one that the client
    declares. ``tags`` are patterns by key, which ``expand`` makes to values.
    """

    storage_class: str = ""
    cache_control: str = ""
    content_type: Literal["", "download", "client"] = ""
    content_disposition: bool = False
    inline_types: Set[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)
    expand: Expand = lambda pattern, _: pattern
    encryption: str = ""
    kms_key_id: str = ""
    bucket_key: bool = False

    def of_object(self, upload: Upload) -> dict[str, Any]:
        """The arguments of ``put_object`` and ``create_multipart_upload`` for the object of ``upload``."""
        found = self.of_bytes()
        if self.storage_class:
            found["StorageClass"] = self.storage_class
        if self.cache_control:
            found["CacheControl"] = self.cache_control
        if self.content_type or self.content_disposition:
            found |= self._content(upload)
        if self.tags:
            found["Tagging"] = urlencode(self.tag_values(upload), quote_via=quote)
        return found

    def of_bytes(self) -> dict[str, Any]:
        """The arguments for an object that exists for a short time, such as a tail: its encryption."""
        if not self.encryption:
            return {}
        found: dict[str, Any] = {"ServerSideEncryption": self.encryption}
        if self.kms_key_id:
            found["SSEKMSKeyId"] = self.kms_key_id
        if self.bucket_key:
            found["BucketKeyEnabled"] = True
        return found

    def of_sample(self) -> dict[str, Any]:
        """The arguments for an object that shows whether the service accepts the attributes."""
        found = self.of_bytes()
        if self.storage_class:
            found["StorageClass"] = self.storage_class
        if self.tags:
            found["Tagging"] = urlencode(dict.fromkeys(self.tags, "probe"), quote_via=quote)
        return found

    def tag_values(self, upload: Upload) -> dict[str, str]:
        """The tags of ``upload``. What S3 does not accept in a value is replaced by ``_``."""
        return {
            key: _NOT_IN_TAGS.sub("_", self.expand(pattern, upload))[:_TAG_CHARACTERS_MAX]
            for key, pattern in self.tags.items()
        }

    def _content(self, upload: Upload) -> dict[str, str]:
        headers = dict(content_headers(upload, self.inline_types))
        found = {}
        if self.content_disposition:
            found["ContentDisposition"] = headers[b"content-disposition"].decode("ascii")
        if self.content_type == "download":
            found["ContentType"] = headers[b"content-type"].decode("ascii")
        elif self.content_type == "client":
            found["ContentType"] = declared_type(upload) or "application/octet-stream"
        return found
